"""What must work without torch: searching, checking configs, loading plugins, inference."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_BLOCKED = """
import sys
for name in ("torch", "torchvision"):
    sys.modules[name] = None  # makes importing it fail
"""


def _python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parent.parent
    script = f"{_BLOCKED}\nsys.path.insert(0, {str(root)!r})\n{textwrap.dedent(code)}"
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_block_works(tmp_path: Path) -> None:
    ended = _python("import accaware.pytorch", tmp_path)
    assert ended.returncode != 0
    assert "torch" in ended.stderr


@pytest.mark.parametrize(
    "code",
    [
        """
        from tests.runners.fake import holds_up_to, search
        assert search(holds_up_to(0.62)).run().result.best.compression_rate == 0.6
        """,
        """
        from pathlib import Path
        from accaware import AccAwareConfig
        Path("c.json").write_text('''{
            "accuracy_aware_training": {
                "mode": "early_exit",
                "params": {"maximal_relative_accuracy_degradation": 1, "maximal_total_epochs": 200}
            },
            "compression": {"algorithm": "filter_pruning"},
        }''')
        assert AccAwareConfig.from_json("c.json").mode == "early_exit"
        """,
        """
        from pathlib import Path
        from accaware.plugins.load import load_plugin
        Path("p.py").write_text("def create_model(): pass\\ndef create_datasets(): return 1, 2")
        assert load_plugin("p.py", {}, Path()).call("create_datasets") == (1, 2)
        """,
        """
        import accaware
        slow = {"rich", "typer", "jsonschema", "accaware.config.load", "accaware.api"}
        assert not slow & set(sys.modules)
        assert all(getattr(accaware, name) for name in accaware.__all__)
        from pathlib import Path
        Path("run").mkdir()
        Path("run/events.jsonl").touch()
        assert accaware.status("run").can_resume
        assert accaware.write_report("run").is_file()
        assert not {"tensorboard", "mlflow"} & set(sys.modules)
        """,
        """
        from accaware.runtimes import RUNTIMES, runtime
        assert [runtime(name).name for name in RUNTIMES] == ["onnxruntime", "openvino"]
        """,
    ],
    ids=["search", "config", "plugins", "names, status and report", "runtimes"],
)
def test_works(code: str, tmp_path: Path) -> None:
    ended = _python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
