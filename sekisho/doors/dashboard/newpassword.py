"""A password that somebody chooses in a form: judged, and made into what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sekisho import users
from sekisho.doors.dashboard.deps import Parts
from sekisho.doors.dashboard.forms import Form
from sekisho.languages import N_
from sekisho.users import Weakness

FIELD: Final = "password"

WEAK: Final = {
    Weakness.LENGTH: N_("A password has 8 to 256 characters."),
    Weakness.COMMON: N_("This password is one of those that are tried first: choose another."),
    Weakness.GUESSABLE: N_(
        "This password is too easy to guess: some words that have nothing to do with each other make a good one."
    ),
}


async def digest_of(parts: Parts, form: Form, about: Sequence[str]) -> str | Weakness:
    """Judge and hash what was typed; ``about`` is what others know of the person."""
    password = form.secret(FIELD)

    def judge() -> str | Weakness:
        return users.weakness_of(password, about=about) or users.hash_password(password)

    return await parts.hasher.run(judge)
