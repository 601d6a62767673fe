"""Where trained weights come from: a file, torchvision, an address."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from accaware.config.model.task import TaskConfig, is_address, is_file
from accaware.errors import TaskError
from accaware.pytorch.builtin.torchvision.faults import Faults
from accaware.wording import first_line

State = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "nncf_module.")
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_SHOWN = 3


def published(task: TaskConfig, model: str, faults: Faults) -> Any:
    """The weights of torchvision that a task asks for, a member of an enum; None for none."""
    if task.pretrained and task.weights is not None:
        faults.add("weights", f"{task.weights} is given besides pretrained; keep one of the two")
    choices = models.get_model_weights(model)
    if task.pretrained:
        # What "pretrained" has always meant, where a model has it.
        return getattr(choices, "IMAGENET1K_V1", choices.DEFAULT)
    if task.weights is None or is_file(task.weights) or is_address(task.weights):
        return None
    owner, _, name = task.weights.rpartition(".")
    known = [one.name for one in choices]
    if owner in ("", choices.__name__) and (name == "DEFAULT" or name in known):
        return choices[name]
    faults.add(
        "weights",
        f"{task.weights} is neither a file's name nor one of torchvision's for {model}, which are "
        f"DEFAULT, {', '.join(known)}",
    )
    return None


def check_weights_file(task: TaskConfig, faults: Faults) -> None:
    """A fault where the weights are a file's that isn't there."""
    weights = task.weights
    if weights is not None and is_file(weights) and not Path(weights).is_file():
        faults.add("weights", f"there is no file {weights}")


def read_state(weights: str) -> State:
    """The state dict of a file or an address, without the wrappings of training scripts.

    Raises:
        TaskError: it can't be read or fetched, or is no state dict.
    """
    if is_address(weights):
        found = _fetched(weights)
    else:
        try:
            found = torch.load(weights, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise _fault(f"{weights} can't be read: {first_line(error)}") from error
    for key in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise _fault(f"{weights} holds no state dict, but a {type(found).__name__}")
    for prefix in _PREFIXES:
        if found and all(key.startswith(prefix) for key in found):
            found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found


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
