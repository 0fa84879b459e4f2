"""One table: every page, how far a log-in must have come for it, and what its visitor must be allowed.

A route without a row here does not start (``app.build``), so none can be forgotten.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from sekisho.sessions import Stage


class Standing(enum.Enum):
    """The least that a visitor must have shown."""

    PUBLIC = enum.auto()  # nothing is looked at: files
    VISITOR = enum.auto()  # no log-in
    PASSWORD = enum.auto()  # the password, and nothing more: complete log-ins have no business there
    ENROL = enum.auto()  # the password, by somebody without a second factor
    FULL = enum.auto()  # both factors


STAGES: Final = {
    Standing.PASSWORD: Stage.PASSWORD,
    Standing.ENROL: Stage.ENROL,
    Standing.FULL: Stage.FULL,
}


@dataclass(frozen=True, slots=True)
class Place:
    """What it takes to get in."""

    standing: Standing = Standing.FULL
    scope: str | None = None
    """The one that the API's route for the same needs; None: whoever is logged in."""
    step_up: bool = False
    """The second factor must have been shown within the last ten minutes."""
    managers_only: bool = False
    """Owner and admins of the tenant."""
    not_for_subusers: bool = False
    """About the account at the top, or its subusers."""


PLACES: Final[dict[tuple[str, str], Place]] = {
    ("GET", "/"): Place(),
    ("POST", "/act-for"): Place(),
    ("POST", "/language"): Place(Standing.VISITOR),
    ("GET", "/login"): Place(Standing.VISITOR),
    ("POST", "/login"): Place(Standing.VISITOR),
    ("POST", "/logout"): Place(Standing.VISITOR),
    ("GET", "/sessions"): Place(),
    ("POST", "/sessions/others/end"): Place(),
    ("POST", "/sessions/{session_id}/end"): Place(),
    ("GET", "/static/{name}"): Place(Standing.PUBLIC),
    ("GET", "/step-up"): Place(),
    ("POST", "/step-up"): Place(),
}
