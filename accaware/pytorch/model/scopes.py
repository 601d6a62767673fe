"""Which layers of a model the config's scopes choose."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from accaware.config.model.scopes import class_lineage, matches
from accaware.errors import UsageError
from accaware.wording import did_you_mean


class Scopes:
    """Chooses layers by name; accaware.config.model.scopes says what a pattern may be.

    Args:
        model: whose modules the patterns mean.
        target: only these layers; None for all.
        ignored: never these.
        validate: whether a pattern that means no module is an error.

    Raises:
        UsageError: a pattern means no module, or isn't a regular expression.
    """

    def __init__(
        self,
        model: nn.Module,
        target: Sequence[str] | None,
        ignored: Sequence[str],
        *,
        validate: bool = True,
    ) -> None:
        classes = {name: type(module).__name__ for name, module in model.named_modules()}
        self._lineages = {name: class_lineage(classes, name) for name in classes if name}
        self._target = target
        self._ignored = ignored
        for key, patterns in (("target_scopes", target or ()), ("ignored_scopes", ignored)):
            for pattern in patterns:
                self._check(key, pattern, validate)

    def why_excluded(self, name: str) -> str | None:
        """The reason why a layer isn't chosen, None if it is.

        Args:
            name: of a module; empty for the model itself, which no pattern means.
        """
        if not name:
            return None if self._target is None else "it is not in target_scopes"
        if any(self._means(pattern, name) for pattern in self._ignored):
            return "it is in ignored_scopes"
        if self._target is not None and not any(self._means(p, name) for p in self._target):
            return "it is not in target_scopes"
        return None

    def _means(self, pattern: str, name: str) -> bool:
        return matches(pattern, name, self._lineages[name])

    def _check(self, key: str, pattern: str, validate: bool) -> None:
        try:
            if any(self._means(pattern, name) for name in self._lineages) or not validate:
                return
        except re.error as error:
            raise UsageError(f"{key}: {pattern!r} is not a regular expression: {error}") from error
        hint = did_you_mean(pattern, self._lineages, quoted=repr)
        raise UsageError(f"{key}: {pattern!r} matches no module of the model{hint}")
