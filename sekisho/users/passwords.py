"""Passwords at rest: Argon2id (RFC 9106), never anything that can be read back."""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher, Type

from sekisho.secret import Secret

PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 256
"""Characters; the work does not grow with them, the request does."""

# OWASP's first choice for servers that also do something else: 19 MiB, two passes, one lane.
_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)


def password_fault(password: Secret[str]) -> str | None:
    """Say what is wrong with a new password; None when it can be one."""
    length = len(password.reveal())
    if not PASSWORD_MIN <= length <= PASSWORD_MAX:
        return f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters"
    return None


def hash_password(password: Secret[str]) -> str:
    """Make what is stored; some 30 ms of work: in a thread, outside of transactions."""
    return _hasher.hash(password.reveal())
