"""Parts that states have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Key:
    """Stands for one content; a new content gets a new key."""


@dataclass(frozen=True, eq=False)
class Shared:
    """A part of a state that other states hold too, and that doesn't change from one to the next.

    Attributes:
        kind: the name of its file, but for a number.
        content: tensors and plain values.
        key: what has the same key is the same content, and is written once.
    """

    kind: str
    content: Any
    key: Key = field(default_factory=Key)
