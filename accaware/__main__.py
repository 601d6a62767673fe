"""``python -m accaware``: the same as the command ``accaware``."""

from accaware.cli.app import main

if __name__ == "__main__":
    main()
