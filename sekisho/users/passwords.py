"""Passwords: which are good enough, and how they are kept: Argon2id (RFC 9106), never anything that can be read back.

Everything here takes from 5 to 200 ms of work: in a thread (``hashing.Hasher``), outside of transactions.
"""

from __future__ import annotations

import enum
import re
import secrets
import threading
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from sekisho.secret import Secret

PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 256
"""Characters; the work does not grow with them, the request does."""

SCORE_MIN: Final = 3
"""Of zxcvbn's 0 to 4: "safely unguessable: moderate protection from offline slow-hash scenario"."""

_JUDGED_MAX: Final = 72
"""Characters that zxcvbn is shown: its work grows with their square, and nobody needs more to be safe."""

# OWASP's first choice for servers that also do something else: 19 MiB, two passes, one lane.
_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)

# zxcvbn keeps what it is told of the person in a module's variable.
_judging: Final = threading.Lock()


class Weakness(enum.Enum):
    """What is wrong with a new password, and how that is said."""

    LENGTH = f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters"
    COMMON = "this password is one of those that are tried first: choose another"
    GUESSABLE = "this password is too easy to guess: some words that have nothing to do with each other make a good one"


def weakness_of(password: Secret[str], *, about: Sequence[str] = ()) -> Weakness | None:
    """Judge what a person chose; ``about`` is what others know of him: his address, his name, his account's."""
    if (found := weakness_by_vendor(password)) is not None:
        return found
    return None if _score(password, about) >= SCORE_MIN else Weakness.GUESSABLE


def weakness_by_vendor(password: Secret[str]) -> Weakness | None:
    """Judge what a program chose for somebody: the vendor's rule on length, and none that is tried first.

    Less than a person is asked for, since what the vendor takes must be taken; the second factor stands behind it.
    """
    if not PASSWORD_MIN <= len(password.reveal()) <= PASSWORD_MAX:
        return Weakness.LENGTH
    return Weakness.COMMON if password.reveal().lower() in _common() else None


def hash_password(password: Secret[str]) -> str:
    """Make what is stored."""
    return _hasher.hash(_prepared(password))


def verify(stored: str, given: Secret[str]) -> bool:
    """Whether a typed password is the one that is stored; the same work when nothing is (an empty text)."""
    # Whatever is too long is nobody's, and costs what all cost.
    possible = bool(stored) and len(given.reveal()) <= PASSWORD_MAX
    try:
        return _hasher.verify(stored if possible else _nobodys(), _prepared(given)) and possible
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(stored: str) -> bool:
    """Whether it was made when passwords cost less."""
    return _hasher.check_needs_rehash(stored)


def _prepared(password: Secret[str]) -> bytes:
    # RFC 8265 §4.2.2: one keyboard writes é as one character, another as two. Lone surrogates come from nowhere
    # but attacks; whatever they are, it is not an error of ours.
    return unicodedata.normalize("NFC", password.reveal()).encode(errors="surrogatepass")


@cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_hex())


@cache
def _common() -> frozenset[str]:
    # Late: its lists are megabytes that a relay worker has no use for.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    return frozenset(FREQUENCY_LISTS["passwords"])


def _score(password: Secret[str], about: Sequence[str]) -> int:
    from zxcvbn import zxcvbn  # noqa: PLC0415  # see above

    known = _words(about)
    whole = password.reveal()[:_JUDGED_MAX]
    # Once more without what is known: zxcvbn counts the ways in which known words can be put together, but few do.
    rest = re.sub("|".join(re.escape(one) for one in known if len(one) >= _TELLING_MIN), "", whole, flags=re.IGNORECASE)
    if not rest:
        return 0
    with _judging:
        return min(int(zxcvbn(one, user_inputs=known)["score"]) for one in {whole, rest})


def _words(about: Sequence[str]) -> list[str]:
    """What is known of somebody, whole and in its parts, the longest first."""
    texts = ("sekisho", *about)
    found = {one for text in texts for one in (text, *re.split(r"\W+", text)) if len(one) >= _PART_MIN}
    return sorted(found, key=lambda one: (-len(one), one))


_PART_MIN: Final = 3
_TELLING_MIN: Final = 4
"""Characters of a part that stands in no other word by chance."""
