"""The chain: each entry's hash covers the one before it, so that none can be changed, removed or put in between.

Personal data (who, from which address, e-mail addresses) stand beside the chain. It covers only a commitment to them:
a digest keyed with a salt of the entry's own. Erasing them takes the salt along, after which the digest says nothing
about what it was of, and the chain is as valid as before.

Who can write the database can write a whole new chain. What tells is a head that was signed and put elsewhere before
(``signed``).
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

_PREFIX: Final = b"sekisho audit entry 1\0"
_PERSONAL: Final = b"sekisho audit personal 1\0"

GENESIS: Final = bytes(32)
"""Stands before the first entry."""

ERASURE: Final = "subuser.delete"
"""The action of the entry that tells of an erasure: of personal data in all entries before it, and in none behind."""


@dataclass(frozen=True, slots=True)
class Personal:
    """What can be erased."""

    actor: str
    address: str | None
    extra: str | None
    """JSON object: details with e-mail addresses in them."""


@dataclass(frozen=True, slots=True)
class Link:
    """One entry as it is stored: what its hash covers, and what it claims."""

    chain: int
    seq: int
    at_ms: int
    action: str
    subject: str
    details: str
    """JSON object, as it was written."""
    commitment: bytes
    hash: bytes
    salt: bytes | None
    """None: erased, and ``personal`` with it."""
    personal: Personal | None


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain at some time."""

    chain: int
    seq: int
    hash: bytes


def commit(salt: bytes, personal: Personal) -> bytes:
    """Digest the personal part under its salt."""
    text = msgspec.json.encode([personal.actor, personal.address, personal.extra])
    return hmac.digest(salt, _PERSONAL + text, hashlib.sha256)


def hash_of(previous: bytes, link: Link) -> bytes:
    """Compute what the entry's hash must be behind ``previous``."""
    covered = [
        link.chain,
        link.seq,
        link.at_ms,
        link.action,
        link.subject,
        link.details,
        link.commitment.hex(),
    ]
    return hashlib.sha256(_PREFIX + previous + msgspec.json.encode(covered)).digest()


class Flaw(enum.StrEnum):
    """What is wrong with a chain."""

    GAP = "gap"  # entries between two others, or the first ones, are missing
    CHANGED = "changed"  # an entry is not what it was when it was written
    PERSONAL_CHANGED = "personal.changed"  # its personal part is another than the one committed to
    PERSONAL_REMOVED = "personal.removed"  # it is not there, and no entry behind tells that it was erased
    CUT = "cut"  # entries at the end are missing that a head knows of
    REWRITTEN = "rewritten"  # another entry stands where a head was taken


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw and where it is."""

    flaw: Flaw
    chain: int
    seq: int
    text: str


def verify(chain: int, links: Iterable[Link], known: Iterable[Head] = ()) -> Iterator[Finding]:
    """Walk one chain from its first entry; ``known`` are heads of it that can be trusted, in any order.

    After a flaw the walk goes on from what stands there, so that one change is one finding.
    """
    # All of an entry's: one that was signed is not outdone by one that was not.
    wanted: dict[int, set[bytes]] = defaultdict(set)
    for head in known:
        if head.chain == chain:
            wanted[head.seq].add(head.hash)
    previous, last = GENESIS, 0
    erased: int | None = None
    for link in links:
        if link.seq != last + 1:
            yield Finding(Flaw.GAP, chain, last + 1, f"{_span(last + 1, link.seq - 1)} missing")
        elif hash_of(previous, link) != link.hash:
            yield Finding(Flaw.CHANGED, chain, link.seq, f"entry {link.seq} was changed, or the one before it")
        if (
            link.salt is not None
            and link.personal is not None
            and not hmac.compare_digest(commit(link.salt, link.personal), link.commitment)
        ):
            text = f"who did entry {link.seq}, or from where, was changed"
            yield Finding(Flaw.PERSONAL_CHANGED, chain, link.seq, text)
        if link.salt is None:
            erased = link.seq if erased is None else erased
        elif link.action == ERASURE:
            erased = None
        if wanted.pop(link.seq, set()) - {link.hash}:
            text = f"entry {link.seq} is not the one that a head was taken of: the chain was written anew"
            yield Finding(Flaw.REWRITTEN, chain, link.seq, text)
        previous, last = link.hash, link.seq
    if erased is not None:
        text = f"who did entry {erased}, and from where, was removed, and nothing behind it tells of an erasure"
        yield Finding(Flaw.PERSONAL_REMOVED, chain, erased, text)
    beyond = [seq for seq in wanted if seq > last]
    if beyond:
        yield Finding(Flaw.CUT, chain, last + 1, f"{_span(last + 1, max(beyond))} missing: cut off the end")


def _span(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
