"""API keys as values: the text format, its digest, and what is known of a key without its secret."""

from __future__ import annotations

import base64
import enum
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sekisho.apikeys import scopes
from sekisho.identity import KeyPolicy
from sekisho.ids import AccountId, KeyId, random_text_id
from sekisho.secret import Secret

KEYS_MAX: Final = 100
"""In force at a time, per account and per subuser: the vendor's number."""

NAME_MAX: Final = 200

_FORM: Final = re.compile(rb"SG\.([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{43}")
_RANDOM_CHARACTERS: Final = 37
_CHECKSUM_CHARACTERS: Final = 6


class HoldReason(enum.StrEnum):
    """Why a key is held."""

    OPERATOR = "operator"  # somebody decided it
    LEAK = "leak"  # its text was seen where it should not be
    ANOMALY = "anomaly"  # it is used as it never was before


@dataclass(frozen=True, slots=True)
class Hold:
    """A key that opens nothing until its owner releases it."""

    since_ms: int
    reason: HoldReason
    text: str
    """One sentence for the owner."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as an administrator sees it."""

    id: KeyId
    account_id: AccountId
    subuser_id: AccountId | None
    name: str
    given: frozenset[str] | None
    """None = full access."""
    policy: KeyPolicy
    imported: bool
    created_ms: int
    revoked_ms: int | None
    compromised: bool
    hold: Hold | None = None
    let_go_ms: int | None = None
    """When the queued mail of a compromised key was let go."""
    canary: bool = False
    """It opens nothing, and its use alarms: put where only a thief looks."""
    maker_id: int | None = None
    """The number of the person who made it, or who made the key that made it; gone or not."""

    @property
    def scopes(self) -> frozenset[str]:
        """What it may do."""
        return scopes.effective(self.given, of_subuser=self.subuser_id is not None)

    def state(self, now_ms: int) -> str:
        """Say in one word whether it opens anything."""
        if self.revoked_ms is not None:
            return "compromised" if self.compromised else "revoked"
        if self.policy.expires_ms is not None and self.policy.expires_ms <= now_ms:
            return "expired"
        if self.canary:
            return "canary"
        return "active" if self.hold is None else "held"


def new_text() -> Secret[bytes]:
    """Make the text of a new key: 222 random bits and six characters that tell a scanner it is one of ours."""
    unsigned = f"SG.{random_text_id()}.{secrets.token_urlsafe(32)[:_RANDOM_CHARACTERS]}".encode("ascii")
    return Secret(unsigned + _checksum(unsigned))


def is_our_making(text: bytes) -> bool:
    """Whether the checksum fits: a hint for scanners of leaked text, never a rule for logging in."""
    return _FORM.fullmatch(text) is not None and text[-_CHECKSUM_CHARACTERS:] == _checksum(text[:-_CHECKSUM_CHARACTERS])


def key_id_of(text: bytes) -> KeyId | None:
    """Read the id out of a key's text; None when it does not have the form of one."""
    found = _FORM.fullmatch(text)
    return None if found is None else KeyId(found[1].decode("ascii"))


def digest_of(text: bytes) -> bytes:
    """Make what is stored: a digest of the characters, not of decoded bytes, which several spellings would share."""
    return hashlib.sha256(text).digest()


def _checksum(unsigned: bytes) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(unsigned).digest())[:_CHECKSUM_CHARACTERS]
