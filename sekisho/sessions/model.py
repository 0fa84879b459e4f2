"""What a session is, and until when."""

from __future__ import annotations

import enum
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Row

from sekisho.ids import AccountId, UserId
from sekisho.secret import Secret

IDLE_MS: Final = 3_600_000
"""Without a request for so long, a session is over (OWASP: 15 to 30 minutes where risk is high, more elsewhere)."""

ABSOLUTE_MS: Final = 12 * 3_600_000
"""A working day; then both factors again."""

HALF_MS: Final = 15 * 60_000
"""What a log-in may take that is not complete."""

STEP_UP_MS: Final = 10 * 60_000
"""How long the second factor, shown once more, opens what asks for it."""

SEEN_EVERY_MS: Final = 60_000
"""``seen_ms`` is written so seldom: reading pages writes next to nothing."""

USER_AGENT_MAX: Final = 200
SCRATCH_MAX: Final = 8192

_TOKEN_BYTES: Final = 32


class Stage(enum.StrEnum):
    """How far the log-in has come."""

    VISITOR = "visitor"  # nobody yet: in the middle of a log-in that begins without a password
    PASSWORD = "password"  # noqa: S105  # the second factor is still to be shown
    ENROL = "enrol"  # there is no second factor: it may do nothing but enrol one
    FULL = "full"


class Method(enum.StrEnum):
    """By what the second factor was shown."""

    NONE = ""
    TOTP = "totp"
    PASSKEY = "passkey"
    RECOVERY = "recovery"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's log-in."""

    id: int
    user_id: UserId | None
    """None: a visitor's."""
    stage: Stage
    acting_for: AccountId | None
    """The subuser that a person of the parent account acts for."""
    method: Method
    created_ms: int
    seen_ms: int
    expires_ms: int
    stepped_up_ms: int | None
    address: str
    user_agent: str
    scratch: dict[str, Any]
    """What a dialogue in several steps remembers."""

    def lives(self, now_ms: int) -> bool:
        """Whether it is neither over nor forgotten. One from the future is: the clock was set back."""
        return self.created_ms <= now_ms < self.expires_ms and now_ms - self.seen_ms < IDLE_MS

    def is_stepped_up(self, now_ms: int) -> bool:
        """Whether the second factor was shown just now."""
        return self.stepped_up_ms is not None and 0 <= now_ms - self.stepped_up_ms < STEP_UP_MS


@dataclass(frozen=True, slots=True)
class Begun:
    """A session with its new token, which stands nowhere else."""

    session: Session
    token: Secret[str]


def new_token() -> Secret[str]:
    """Make what the cookie holds: 256 random bits."""
    return Secret(secrets.token_urlsafe(_TOKEN_BYTES))


def digest_of(token: Secret[str]) -> bytes:
    """Make what is stored of it: of so many random bits no slow digest is needed."""
    return hashlib.sha256(token.reveal().encode()).digest()


_scratch: Final = msgspec.json.Decoder(dict[str, Any])


def from_row(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        user_id=None if row.user_id is None else UserId(row.user_id),
        stage=Stage(row.stage),
        acting_for=None if row.acting_for is None else AccountId(row.acting_for),
        method=Method(row.method),
        created_ms=row.created_ms,
        seen_ms=row.seen_ms,
        expires_ms=row.expires_ms,
        stepped_up_ms=row.stepped_up_ms,
        address=row.address,
        user_agent=row.user_agent,
        scratch={} if row.scratch is None else _scratch.decode(row.scratch),
    )
