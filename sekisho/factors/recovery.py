"""Recovery codes, for whoever has lost every second factor: shown once, kept as digests, each good for one log-in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from typing import Final

from sekisho.secret import Secret

COUNT: Final = 10

_CODE_BYTES: Final = 10
"""80 bits: no list of digests can be searched for one, so a fast digest is enough."""
_GROUP: Final = 4


def make_codes() -> tuple[Secret[str], ...]:
    """Make a full set, each as ``ABCD-EFGH-IJKL-MNOP``: Base32, in which no 0 or 1 can be misread."""
    return tuple(_code() for _ in range(COUNT))


def digest(code: str) -> bytes | None:
    """Digest a code as it was typed (in any case, with or without its hyphens); None when it cannot be one."""
    plain = "".join(code.upper().replace("-", " ").split())
    try:
        raw = base64.b32decode(plain)
    except (binascii.Error, ValueError):
        return None
    return hashlib.sha256(raw).digest() if len(raw) == _CODE_BYTES else None


def _code() -> Secret[str]:
    plain = base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode()
    return Secret("-".join(plain[start : start + _GROUP] for start in range(0, len(plain), _GROUP)))
