"""Start-up of the commands that need no torch: under 0.4 s each.

The baseline is a bare Python that imports nothing of accaware.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from measure import medians, show

CONFIG = Path(__file__).parent.parent / "configs" / "digits_filter_pruning.json"


def command(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    subjects = {
        "python": lambda: command("-c", "pass"),
        "help": lambda: command("-m", "accaware", "--help"),
        "validate": lambda: command("-m", "accaware", "validate-config", str(CONFIG)),
    }
    seconds = medians(subjects, repeats=11)
    show("accaware --help against bare Python (under 400 ms)", seconds["help"], seconds["python"])
    show("accaware validate-config (under 400 ms)", seconds["validate"], seconds["python"])


if __name__ == "__main__":
    main()
