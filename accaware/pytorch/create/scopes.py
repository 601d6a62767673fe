"""The scopes of a section, as the modules of a model."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from accaware.pytorch.model.scopes import Scopes


class ScopedSection(Protocol):
    """A section of a config that says which modules it is for."""

    @property
    def ignored_scopes(self) -> tuple[str, ...]:
        """Patterns of modules that it is not for."""

    @property
    def target_scopes(self) -> tuple[str, ...] | None:
        """Patterns of modules that it is for; None for all."""

    @property
    def validate_scopes(self) -> bool:
        """Whether a pattern that means no module is an error."""


def scopes_of(model: nn.Module, section: ScopedSection) -> Scopes:
    """The modules of the model that a section is for.

    Raises:
        UsageError: a pattern means no module, or isn't a regular expression.
    """
    return Scopes(
        model, section.target_scopes, section.ignored_scopes, validate=section.validate_scopes
    )
