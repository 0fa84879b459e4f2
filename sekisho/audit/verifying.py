"""One log held against itself and against the heads that were signed of it: what its owner is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from sekisho.audit.chain import Finding, Head, Link, verify
from sekisho.audit.keeper import trusted
from sekisho.audit.reading import heads, links

FINDINGS_MAX: Final = 100
"""A log that was written anew has a flaw in every entry; so many tell it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out."""

    entries: int
    """That were looked at."""
    signed: int
    """Signed heads of this log that it was held against."""
    signed_up_to: int
    """The entry that the last of them vouches for; 0: there is none yet."""
    findings: Sequence[Finding]
    """The first ``FINDINGS_MAX``; none: the log is what it was."""
    public_key: str
    """Whose signatures counted."""


def verify_log(tx: Connection, chain: int, heads_file: Path, public_key: str) -> Verdict:
    """Walk one log from its first entry; some 20 µs of work for each, in a thread.

    Raises signed.BadHead or OSError when the file of heads cannot be taken for what it should be.
    """
    mine = [head for head in own_heads(heads_file, public_key) if head.chain == chain]
    # The log's own note of its end is no proof, but whoever cuts only the entries is caught by it.
    ends = [head for head in heads(tx) if head.chain == chain]
    walk = _Counted(links(tx, chain))
    findings = list(islice(verify(chain, walk, [*mine, *ends]), FINDINGS_MAX))
    up_to = max((head.seq for head in mine), default=0)
    return Verdict(walk.count, len(mine), up_to, findings, public_key)


def own_heads(path: Path, public_key: str) -> Iterable[Head]:
    """Read the server's own file; before the first hour there is none. Raises as ``keeper.trusted`` does."""
    return trusted(path, public_key) if path.exists() else ()


class _Counted:
    def __init__(self, walk: Iterator[Link]) -> None:
        self._walk: Final = walk
        self.count = 0

    def __iter__(self) -> Iterator[Link]:
        for link in self._walk:
            self.count += 1
            yield link
