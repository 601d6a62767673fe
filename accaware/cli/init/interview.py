"""Questions to whoever sits at a terminal, or one message where nobody does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import typer

from accaware.errors import UsageError
from accaware.wording import did_you_mean

T = TypeVar("T")


class Wrong(Exception):  # noqa: N818 - an answer is
    """An answer that can't be used; says why."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raises: KeyboardInterrupt, at Ctrl-C and where the input ends."""
    try:
        yield
    except typer.Abort:
        raise KeyboardInterrupt from None


def somebody_is_there() -> bool:
    """Whether there is a terminal to ask at."""
    return sys.stdin is not None and sys.stdin.isatty()


class Interview:
    """Gets an answer for each option: what it was given, what is typed, or its default.

    At a terminal a wrong answer is asked for again. Elsewhere it ends the command, and so does
    what is missing, all of it in one message.
    """

    def __init__(self) -> None:
        self.at_terminal = somebody_is_there()
        self._missing: list[str] = []

    def answer(
        self,
        option: str,
        given: str | None,
        question: str,
        read: Callable[[str], T],
        *,
        default: str | None = None,
    ) -> T | None:
        """What the option is to be; None where it is missing, which ``complete`` tells.

        Args:
            read: of what was typed; raises Wrong.
            default: None where there is none, and an empty string for "nothing".
        """
        answer = given
        while True:
            if answer is None and self.at_terminal:
                answer = self.typed(question, default)
            if answer is None and default is None:
                self._missing.append(option)
                return None
            try:
                return read(default or "" if answer is None else answer)
            except Wrong as wrong:
                self.refuse(option, str(wrong))
                answer = None

    def choice(
        self,
        option: str,
        given: str | None,
        question: str,
        offered: Sequence[str],
        *,
        default: str | None = None,
    ) -> str | None:
        """One of several names."""

        def read(answer: str) -> str:
            if answer in offered:
                return answer
            hint = did_you_mean(answer, offered) or f"; it is one of {', '.join(offered)}"
            raise Wrong(f"{answer!r} is none of them{hint}")

        names = ", ".join(offered)
        return self.answer(option, given, f"{question} ({names})", read, default=default)

    def typed(self, question: str, default: str | None = None) -> str:
        """What is typed, or the default."""
        with _interruptible():
            return str(typer.prompt(question, default=default, show_default=bool(default)))

    def agrees(self, question: str) -> bool:
        """Whether they agree, which they do by the enter key alone."""
        with _interruptible():
            return typer.confirm(question, default=True)

    def refuse(self, option: str, why: str) -> None:
        """Tell what is wrong with an answer, to ask again; where nobody can be asked, end.

        Raises:
            UsageError: there is no terminal.
        """
        if not self.at_terminal:
            raise UsageError(f"{option}: {why}")
        typer.echo(f"  {why}", err=True)

    def complete(self) -> None:
        """See that nothing is missing.

        Raises:
            UsageError: something is, and there was nobody to ask.
        """
        if self._missing:
            raise UsageError(
                f"there is no terminal to ask at; name {' and '.join(self._missing)} "
                "(accaware init --help tells of them)"
            )
