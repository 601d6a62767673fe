"""What the docs tell their readers to do works: every command, config and line of Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.blocks import Page
from tests.docs.conftest import DOCS, YOUR_MODEL, checkpoint, flowers

pytestmark = [
    # Of so few data.
    pytest.mark.filterwarnings("ignore:the budget is:accaware.errors.AccAwareWarning"),
]

README = DOCS.parent / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]

SMALL = {
    '"num_workers": 4': '"num_workers": 0',
    '"model": "resnet18"': '"model": "resnet18", "input_info": {"sample_size": [1, 3, 32, 32]}',
    "resnet18": "squeezenet1_1",
}
SETTINGS = {"start/first-run.md": ("plugin_args.width=8", "plugin_args.epochs=1")}
INSTEAD = {
    "guides/python.md": {
        'output_dir="runs/x")': (
            'output_dir="runs/x", overrides={"device": "cpu", '
            '"accuracy_aware_training.params.maximal_total_epochs": 2})'
        ),
        'format="onnx"': 'format="state-dict"',
    },
    "start/first-run.md": {"width=48": "width=8", "--format onnx": "--format state-dict"},
    "start/library-models.md": SMALL,
    "README.md": {**SMALL, "--format onnx": "--format state-dict"},
}


BEFORE: dict[str, Callable[[], object]] = {
    "start/library-models.md": lambda: (flowers(), checkpoint()),
    "README.md": flowers,
}


def name_of(path: Path) -> str:
    return "README.md" if path == README else path.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_all_of_it_works(path: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    name = name_of(path)
    if name != "guides/deploying.md":  # elsewhere files for them would take longest
        request.getfixturevalue("no_inference_runtimes")
    if name == "start/your-model.md":
        assert (folder / "runs" / "mine-1" / "report.html").is_file()  # read by ``folder``
        return
    BEFORE.get(name, lambda: None)()
    Page(path, SETTINGS.get(name, ()), INSTEAD.get(name)).run()


def test_the_page_of_a_model_of_ones_own_has_blocks() -> None:
    assert len(YOUR_MODEL.blocks) > 5
