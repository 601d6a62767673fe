"""Trained weights that come from a file, a folder or an address."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from accaware.config.model.task import TaskConfig, is_address, is_file
from accaware.errors import MissingExtraError, TaskError
from accaware.extras import import_extra
from accaware.pytorch.builtin.classification.faults import Faults
from accaware.wording import first_line

State = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "nncf_module.")
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_SHOWN = 3


_IN_FOLDER = ("model.safetensors", "pytorch_model.bin")
"""What a folder holds that was downloaded from, or saved for, the Hugging Face hub."""


def check_weights_file(task: TaskConfig, faults: Faults, *, folders: bool = False) -> None:
    """A fault where the weights are a file's that isn't there.

    Args:
        folders: whether they may be a folder's as well.
    """
    weights = task.weights
    if task.pretrained and weights is not None:
        faults.add("weights", f"{weights} is given besides pretrained; keep one of the two")
        return
    if weights is None or not is_file(weights):
        return
    path = Path(weights)
    if not path.is_file() and not (folders and path.is_dir()):
        faults.add("weights", f"there is no file {'or folder ' if folders else ''}{weights}")


def read_state(weights: str) -> State:
    """The state dict of a file, a folder or an address, without what training scripts wrap it in.

    Raises:
        TaskError: it can't be read or fetched, or is no state dict.
    """
    found = _fetched(weights) if is_address(weights) else _read(_file_of(Path(weights)))
    for key in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise _fault(f"{weights} holds no state dict, but a {type(found).__name__}")
    for prefix in _PREFIXES:
        if found and all(key.startswith(prefix) for key in found):
            found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found


def _file_of(path: Path) -> Path:
    """The file itself, or that of a folder which holds the weights.

    Raises:
        TaskError: the folder has none.
    """
    if not path.is_dir():
        return path
    for name in _IN_FOLDER:
        if (path / name).is_file():
            return path / name
    raise _fault(f"{path} holds neither {' nor '.join(_IN_FOLDER)}")


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return import_extra("safetensors.torch", "timm").load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except MissingExtraError:
        raise
    except Exception as error:  # safetensors has exceptions of its own
        raise _fault(f"{path} can't be read: {first_line(error)}") from error


def misfits(state: State, model: nn.Module) -> list[str]:
    """Where a state dict and a model differ, a few words each; none where it can be loaded."""
    own, found = model.state_dict(), []
    for key, value in own.items():
        if key not in state:
            found.append(f"{key} is missing")
        elif state[key].shape != value.shape:
            shapes = f"{list(state[key].shape)}, the model's {list(value.shape)}"
            found.append(f"{key} is {shapes}")
    surplus = [key for key in state if key not in own and not key.startswith(_AUXILIARY)]
    return found + [f"{key} is none of the model's" for key in surplus]


def load_state(state: State, model: nn.Module, weights: str) -> None:
    """Load a state dict whole; auxiliary heads, which serve training from nothing, aside.

    Raises:
        TaskError: it doesn't fit.
    """
    wrong = misfits(state, model)
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise _fault(
            f"{weights} doesn't fit {type(model).__name__}: {'; '.join(wrong[:_SHOWN])}{more}"
        )
    model.load_state_dict({key: state[key] for key in model.state_dict()})


def _fetched(address: str) -> Any:
    try:
        return torch.hub.load_state_dict_from_url(
            address, map_location="cpu", progress=False, weights_only=True
        )
    except (URLError, OSError) as error:
        raise unreachable(address, error) from error
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise _fault(f"what {address} gives can't be read: {error}") from error


def unreachable(what: str, error: Exception) -> TaskError:
    """Weights that the network doesn't give."""
    reason = getattr(error, "reason", error)
    return _fault(
        f"{what} can't be fetched ({reason}); where there is no network, fetch the file "
        'elsewhere and name it: --set weights="file.pth"'
    )


def _fault(message: str) -> TaskError:
    return TaskError([("weights", message)])
