"""``accaware validate-config``: one file under 0.4 s, 1,000 files under 5 s, torch never imported.

The baseline is Python reading the same files with json.load, and checking nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import medians, show

CONFIG = Path(__file__).parent.parent / "configs" / "digits_filter_pruning.json"
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from accaware.cli.app import main; main()"
READ = "import json, sys; [json.load(open(name, encoding='utf-8')) for name in sys.argv[1:]]"
FILES = 1000


def python(code: str, *words: str) -> None:
    command = [sys.executable, "-c", code, *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    # A copy without comments, which json.load can read, in files that are all different.
    from accaware import AccAwareConfig

    content = AccAwareConfig.from_json(CONFIG).to_dict()
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number in range(FILES):
            file = Path(folder) / f"{number}.json"
            file.write_text(json.dumps({**content, "seed": number}, indent=2), encoding="utf-8")
            files.append(str(file))
        one = medians(
            {
                "validate": lambda: python(WITHOUT_TORCH, "validate-config", files[0]),
                "json": lambda: python(READ, files[0]),
            },
            repeats=11,
        )
        many = medians(
            {
                "validate": lambda: python(WITHOUT_TORCH, "validate-config", *files),
                "json": lambda: python(READ, *files),
            },
            repeats=3,
            warmup=1,
        )
    show("validate-config on one file against json.load (under 400 ms)", *one.values())
    show("validate-config on 1,000 files against json.load (under 5000 ms)", *many.values())


if __name__ == "__main__":
    main()
