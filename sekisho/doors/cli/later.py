"""Commands that the contract names and this version does not have: they exist, and refuse by name."""

from __future__ import annotations

import typer

_TAKES_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


class NotYet(Exception):
    """A command of a later release: one line on stderr, exit status 2."""


def add(app: typer.Typer, name: str, title: str, brings: str) -> None:
    """Put a command called ``name`` there; ``title`` is how the contract writes it."""

    @app.command(name, context_settings=_TAKES_ANYTHING, help=f"Not in this version; {brings}.", hidden=True)
    def refuse(context: typer.Context) -> None:  # noqa: ARG001 - takes whatever follows the name
        message = f"{title}: not in this version; {brings}"
        raise NotYet(message)
