"""What ``scripts/coverage.py`` is made of: models of libraries, and what is done with each."""
