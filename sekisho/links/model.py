"""What a link is for, how long it is good, and the value read from its row."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row

from sekisho.ids import AccountId, UserId

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS

TOKEN_MAX: Final = 100
"""Characters that are looked at; ours have 43."""


class Purpose(enum.StrEnum):
    """The one thing that a link lets its holder do."""

    SETUP = "setup"  # become the owner of an account that the operator made
    SIGNUP = "signup"  # open an account with an address that is the holder's
    INVITE = "invite"  # become a teammate
    RESET = "reset"  # choose a new password
    EMAIL = "email"  # prove a new address of an existing person


LIFETIME_MS: Final = {
    Purpose.SETUP: 7 * _DAY_MS,
    Purpose.SIGNUP: _DAY_MS,
    Purpose.INVITE: 7 * _DAY_MS,
    Purpose.RESET: _HOUR_MS,
    Purpose.EMAIL: _DAY_MS,
}


@dataclass(frozen=True, slots=True)
class Link:
    """One link, without its token: that is nowhere but in the link itself."""

    id: int
    purpose: Purpose
    email: str | None
    """Whoever has the link is taken to own this address."""
    user_id: UserId | None
    account_id: AccountId | None
    invitation_id: int | None
    created_ms: int
    expires_ms: int


def digest_of(token: str) -> bytes:
    """Make what is stored of a token; it has 256 random bits, so nothing slower is needed."""
    return hashlib.sha256(token.encode()).digest()


def from_row(row: Row[tuple[object, ...]]) -> Link:
    return Link(
        row.id,
        Purpose(row.purpose),
        row.email,
        None if row.user_id is None else UserId(row.user_id),
        None if row.account_id is None else AccountId(row.account_id),
        row.invitation_id,
        row.created_ms,
        row.expires_ms,
    )
