"""The X-SMTPAPI header: from its raw value to what the sender asks for.

Vendor sheet smtp.md §7. Three answers: instructions this version carries out; a key that it does not (the sender must
be told, never ignored in silence); or a value that is no valid X-SMTPAPI at all, which the vendor accepts and drops.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.header import Header
from typing import NoReturn

from sekisho.wire.mail import headers
from sekisho.wire.mail.address import Mailbox, parse_path

CATEGORIES_MAX = 10
"""Vendor's limit (sheet §5)."""
CATEGORY_LENGTH_MAX = 255
UNIQUE_ARGS_BYTES_MAX = 10_000
"""Vendor's limit over SMTP (sheet §5)."""
RECIPIENTS_MAX = 10_000
"""Vendor's hard limit of ``to`` (sheet §5)."""
ADDRESS_TEXT_MAX = 1_000
"""One entry of ``to``: an address is at most 254 octets, the rest is a name."""


@dataclass(frozen=True, slots=True)
class To:
    """One entry of ``to``: this mailbox gets an own copy whose To header is ``text``."""

    mailbox: Mailbox
    text: str


@dataclass(frozen=True, slots=True)
class Instructions:
    """What the header asks for. ``to`` is empty when the RCPT list stands."""

    to: tuple[To, ...] = ()
    categories: tuple[str, ...] = ()
    category_is_list: bool = False
    unique_args: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A key that a later version carries out, or that nobody knows; printable ASCII."""

    key: str


@dataclass(frozen=True, slots=True)
class BadAddress:
    """An entry of ``to`` that is no address; printable ASCII."""

    text: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not JSON, or JSON of another shape: accepted and dropped, as the vendor does."""


NOTHING_ASKED = Instructions()


class _WrongShapeError(Exception):
    """Some value has a type or size that the vendor's documentation excludes."""


def parse(value: bytes) -> Instructions | Unsupported | BadAddress | Malformed:
    """Read the unfolded value of the first X-SMTPAPI field. Never raises."""
    try:
        # JSON in this header is pure ASCII with \\u escapes; raw UTF-8 is the vendor's decode error (sheet §7).
        found = json.loads(value.decode("ascii"), parse_constant=_refuse_constant, object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        return Malformed()
    if not isinstance(found, dict):
        return Malformed()
    if (unknown := _unsupported(found)) is not None:
        return Unsupported(unknown)
    try:
        categories, is_list = _categories(found.get("category", ""))
        to = _recipients(found.get("to", []))
        if isinstance(to, BadAddress):
            return to
        _no_filters(found.get("filters", {}))
        return Instructions(to, categories, is_list, _unique_args(found.get("unique_args", {})))
    except _WrongShapeError:
        return Malformed()


def _refuse_constant(text: str) -> NoReturn:
    # NaN and Infinity are Python's invention, not JSON (RFC 8259 §6).
    raise ValueError(text)


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Of a key that stands twice readers take the first or the last: an instruction would vanish in silence.
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "a key stands twice"
        raise ValueError(message)
    return found


def _unsupported(found: Mapping[str, object]) -> str | None:
    for key, value in found.items():
        if key == "filters":
            if isinstance(value, dict) and value:
                return _printable(f"filters.{next(iter(value))}")
        elif key not in {"to", "category", "unique_args"}:
            return _printable(key)
    return None


def _no_filters(value: object) -> None:
    # PHP clients write an empty object as [].
    if value not in ({}, []):
        raise _WrongShapeError


def _printable(text: str) -> str:
    """Fit a sender's key for a reply line."""
    return "".join(c if " " < c < "\x7f" else "?" for c in text[:64])


def _categories(value: object) -> tuple[tuple[str, ...], bool]:
    if isinstance(value, str):
        return ((_category(value),) if value else ()), False
    if not isinstance(value, list) or len(value) > CATEGORIES_MAX:
        raise _WrongShapeError
    return tuple(_category(item) for item in value), True


def _category(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or len(value) > CATEGORY_LENGTH_MAX:
        raise _WrongShapeError
    return value


def _unique_args(value: object) -> tuple[tuple[str, str], ...]:
    if value == []:  # the same PHP habit
        return ()
    # Names differ, so all but one have an octet: more of them need not be looked at.
    if not isinstance(value, dict) or len(value) > UNIQUE_ARGS_BYTES_MAX + 1:
        raise _WrongShapeError
    pairs = tuple((_storable(name), _argument(argument)) for name, argument in value.items())
    if sum(len(name.encode()) + len(text.encode()) for name, text in pairs) > UNIQUE_ARGS_BYTES_MAX:
        raise _WrongShapeError
    if len({name for name, _ in pairs}) != len(pairs):
        # Names that differ only in what no UTF-8 can say: one would hide the other.
        raise _WrongShapeError
    return pairs


def _argument(value: object) -> str:
    """The documented type is string; numbers and booleans are common in the wild and mean their JSON text."""
    if isinstance(value, str):
        return _storable(value)
    # 1e999 is JSON, and infinite to us: there is no JSON text for that (RFC 8259 §6).
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    raise _WrongShapeError


def _storable(text: str) -> str:
    # A lone surrogate (\\ud800) can be written in JSON but never stored or shown as UTF-8.
    return text.encode("utf-8", "replace").decode()


def _recipients(value: object) -> tuple[To, ...] | BadAddress:
    if not isinstance(value, list) or len(value) > RECIPIENTS_MAX:
        raise _WrongShapeError
    found: list[To] = []
    for item in value:
        if not isinstance(item, str) or len(item) > ADDRESS_TEXT_MAX:
            raise _WrongShapeError
        one = _recipient(item)
        if one is None:
            return BadAddress(_printable(item))
        found.append(one)
    return tuple(found)


def _recipient(text: str) -> To | None:
    """Read ``addr`` or ``Name <addr>``; the To header is printed anew, so no part of the text reaches it unquoted."""
    text = text.strip()
    name = ""
    if text.endswith(">"):
        name, _, text = text[:-1].rpartition("<")
        name = name.strip()
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = name[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    mailbox = parse_path(text)
    if mailbox is None or any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in name):
        return None
    if name.isascii():
        printed = _named(name, mailbox)
    else:
        # RFC 2047 §2: words of at most 75 characters, with blanks between them where the header can be folded.
        words = Header(name, "utf-8", maxlinelen=75).encode(linesep="")
        printed = f"{words} <{mailbox}>"
    try:
        headers.format_field(b"To", printed.encode("ascii"))
    except headers.UnwritableHeaderError:
        return None
    return To(mailbox, printed)


_has_special = re.compile(r'[][\\()<>@,:;".]').search


def _named(name: str, mailbox: Mailbox) -> str:
    """Write as ``email.utils.formataddr`` does, which takes a second for a header full of quotes."""
    if not name:
        return str(mailbox)
    mark = '"' if _has_special(name) else ""
    name = name.replace("\\", "\\\\").replace('"', '\\"')
    return f"{mark}{name}{mark} <{mailbox}>"
