"""An exported log: one JSON line per entry with everything that its hash covers, so that anybody can verify it.

Or a table for people, which nobody can verify.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator
from itertools import chain as joined
from typing import Final

import msgspec

from sekisho.audit.chain import Link, Personal
from sekisho.audit.reading import as_entry


class Line(msgspec.Struct, frozen=True):
    """One entry. Binary values in hexadecimal; ``details`` and ``personal`` are the texts that were hashed."""

    chain: int
    seq: int
    at_ms: int
    action: str
    subject: str
    details: str
    commitment: str
    hash: str
    salt: str | None = None
    """None: the personal part was erased."""
    actor: str | None = None
    address: str | None = None
    personal: str | None = None


_decoder: Final = msgspec.json.Decoder(Line)


class BadExport(Exception):
    """A line is no exported entry."""


def encode_line(link: Link) -> bytes:
    """Print one entry, with its line end."""
    personal = link.personal
    line = Line(
        chain=link.chain,
        seq=link.seq,
        at_ms=link.at_ms,
        action=link.action,
        subject=link.subject,
        details=link.details,
        commitment=link.commitment.hex(),
        hash=link.hash.hex(),
        salt=None if link.salt is None else link.salt.hex(),
        actor=None if personal is None else personal.actor,
        address=None if personal is None else personal.address,
        personal=None if personal is None else personal.extra,
    )
    return msgspec.json.encode(line) + b"\n"


def read_lines(lines: Iterable[bytes]) -> tuple[int, Iterator[Link]]:
    """Read an export: which chain it is, and its entries as they are asked for.

    Raises BadExport, also from the iterator, naming the line.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    first = next(numbered, None)
    if first is None:
        message = "there is no entry in it"
        raise BadExport(message)
    chain = _read(*first).chain
    return chain, (_of(chain, number, line) for number, line in joined([first], numbered))


CSV_HEAD: Final = b"seq,at,action,subject,actor,address,details\r\n"


def encode_row(link: Link) -> bytes:
    """Print one entry as a row of a table (RFC 4180), in UTF-8."""
    entry = as_entry(link)
    at = dt.datetime.fromtimestamp(entry.at_ms / 1000, dt.UTC).isoformat(timespec="milliseconds")
    details = msgspec.json.encode(dict(entry.details), order="deterministic").decode()
    row = (str(entry.seq), at, entry.action, entry.subject, entry.actor or "", entry.address or "", details)
    out = io.StringIO()
    csv.writer(out).writerow(_harmless(cell) for cell in row)
    return out.getvalue().encode()


def _harmless(cell: str) -> str:
    """Keep spreadsheets from taking a text for a formula: names are others' words."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _of(chain: int, number: int, line: bytes) -> Link:
    link = _read(number, line)
    if link.chain != chain:
        message = f"line {number} is of another log"
        raise BadExport(message)
    return link


def _read(number: int, line: bytes) -> Link:
    try:
        found = _decoder.decode(line)
        salt = None if found.salt is None else bytes.fromhex(found.salt)
        return Link(
            chain=found.chain,
            seq=found.seq,
            at_ms=found.at_ms,
            action=found.action,
            subject=found.subject,
            details=found.details,
            commitment=bytes.fromhex(found.commitment),
            hash=bytes.fromhex(found.hash),
            salt=salt,
            personal=None if salt is None else Personal(found.actor or "", found.address, found.personal),
        )
    except ValueError as error:
        message = f"line {number} is no exported entry"
        raise BadExport(message) from error
