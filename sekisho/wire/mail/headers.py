"""The raw header block: split into fields, judge its shape, drop fields, write new ones. Never decodes.

A block is what stands before the empty line: every line ends in CRLF, the last one too. What is kept is kept byte for
byte, so that a field we did not touch leaves as it came.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

LINE_LENGTH_MAX = 998
"""RFC 5322 §2.1.1, without the CRLF."""
FIELDS_MAX = 1000
"""Mail that travelled far and was filtered often has some 100 fields. Bounds the objects that one parse makes."""
FOLD_LENGTH = 78
"""RFC 5322 §2.1.1: where our own lines should end."""

SINGLE = frozenset(
    (
        b"from",
        b"sender",
        b"reply-to",
        b"to",
        b"cc",
        b"bcc",
        b"message-id",
        b"in-reply-to",
        b"references",
        b"subject",
        b"date",
        b"mime-version",
        b"content-type",
        b"content-transfer-encoding",
        b"content-disposition",
        b"content-id",
        b"content-description",
    )
)
"""Fields that may stand once (RFC 5322 §3.6, RFC 2045 §3). Of two, some readers take the first and some the last."""


@dataclass(frozen=True, slots=True)
class Field:
    """One header field as it stands in the message."""

    name: bytes
    """In lower case."""
    raw: bytes
    """All of it: name, colon, folds, and the CRLF at its end."""

    @property
    def value(self) -> bytes:
        """The body unfolded (RFC 5322 §2.2.3: only the line ends go) and stripped of outer blanks."""
        return self.raw[len(self.name) + 1 :].replace(b"\r\n", b"").strip(b" \t")


class Flaw(StrEnum):
    """What is wrong with a header block."""

    BAD_LINE_END = "a line does not end in CRLF alone"
    BLANK_LINE = "a line of nothing or only blanks"
    CONTINUES_NOTHING = "the first line is a continuation"
    LINE_TOO_LONG = "a line over 998 octets"
    NAME_BAD_CHARACTER = "a field name with a character that is not allowed"
    NAME_THEN_SPACE = "a blank between field name and colon"
    NO_COLON = "a line that is no header field"
    NUL = "a NUL octet"
    TOO_MANY_FIELDS = "too many header fields"
    VERTICAL_BLANK = "a vertical tab or form feed"


@dataclass(frozen=True, slots=True)
class HeaderFault:
    """Why a block is not read: the sender's fault, answered with 5xx."""

    flaw: Flaw
    name: bytes = b""
    """The field it is in, lower case and cut to a printable head; empty when there is none to name."""


_WSP = b" \t"
_NAME_CHARACTERS = bytes(octet for octet in range(33, 127) if octet != ord(":"))  # RFC 5322 §3.6.8, ftext
_NAME_SHOWN_MAX = 40


def parse(block: bytes, *, fields_max: int = FIELDS_MAX) -> tuple[Field, ...] | HeaderFault:
    """Split a header block into its fields, in order; joining their ``raw`` gives the block back.

    Strict where readers differ: what one takes for the end of the header or for a field of another name is a fault
    here, however the framing before it was done.
    """
    if not block:
        return ()
    lines = block.split(b"\r\n")
    if lines.pop() or block.count(b"\r") != len(lines) or block.count(b"\n") != len(lines):
        return HeaderFault(Flaw.BAD_LINE_END)
    if b"\0" in block:
        return HeaderFault(Flaw.NUL)
    if b"\v" in block or b"\f" in block:
        # No blanks to DKIM (RFC 6376 §2.8), but blanks to opendkim and, at the ends of a value, to dkimpy (seen with
        # 2.11 and 1.1): signed with one of them in a field, a message fails there. RFC 5322 §4.1 forbids sending them.
        return HeaderFault(Flaw.VERTICAL_BLANK)
    fields: list[Field] = []
    name = b""
    start = end = 0
    for line in lines:
        if len(line) > LINE_LENGTH_MAX:
            return HeaderFault(Flaw.LINE_TOO_LONG, _shown(line.partition(b":")[0] if line[0] not in _WSP else name))
        if line[:1] in _FOLD_MARKS:
            if not line.strip(_WSP):
                # Empty, or whitespace that some readers take for the empty line after the header.
                return HeaderFault(Flaw.BLANK_LINE, _shown(name))
            if not name:
                return HeaderFault(Flaw.CONTINUES_NOTHING)
        else:
            if name:
                fields.append(Field(name, block[start:end]))
                if len(fields) >= fields_max:
                    return HeaderFault(Flaw.TOO_MANY_FIELDS)
                start = end
            name, colon, _ = line.partition(b":")
            if not colon:
                return HeaderFault(Flaw.NO_COLON)
            if not name or name.translate(None, _NAME_CHARACTERS):
                blank = name.endswith((b" ", b"\t")) and not name.rstrip(_WSP).translate(None, _NAME_CHARACTERS)
                return HeaderFault(Flaw.NAME_THEN_SPACE if blank else Flaw.NAME_BAD_CHARACTER, _shown(name))
            name = name.lower()
        end += len(line) + 2
    fields.append(Field(name, block[start:end]))
    return tuple(fields)


_FOLD_MARKS = (b" ", b"\t", b"")


_SHOWN = bytes(octet if octet in _NAME_CHARACTERS else ord("?") for octet in range(256))


def _shown(name: bytes) -> bytes:
    """Cut a name that may be anything to what an error text can carry."""
    return name[:_NAME_SHOWN_MAX].rstrip(_WSP).lower().translate(_SHOWN)


def find_duplicate(fields: Iterable[Field], single: Collection[bytes] = SINGLE) -> bytes | None:
    """Return the name of the first field that stands twice though it may stand once; None when there is none."""
    seen: set[bytes] = set()
    for field in fields:
        name = field.name
        if name in single:
            if name in seen:
                return name
            seen.add(name)
    return None


class UnwritableHeaderError(ValueError):
    """A field that cannot be written safely; the message names the field, never its value."""

    def __init__(self, name: bytes, why: str) -> None:
        super().__init__(f"header field {_shown(name).decode('ascii')!r}: {why}")


# Tab is the one control character that a value may hold; CR and LF would start a field of somebody else's choice.
_has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_pieces = re.compile(rb"[\t ]*+[^\t ]++").findall


def format_field(name: bytes, value: bytes) -> bytes:
    """Write one field with its CRLF, folded before blanks so that lines stay within 78 octets where they can.

    Unfolding gives ``value`` back, apart from blanks at its ends. Raises UnwritableHeaderError for a bad name, a
    control character, or a run without blanks that no fold brings under 998 octets.
    """
    if not name or name.translate(None, _NAME_CHARACTERS):
        raise UnwritableHeaderError(name, "not a field name")
    if _has_control(value):
        raise UnwritableHeaderError(name, "a control character in the value")
    value = value.strip(_WSP)
    line = name + b": " + value
    if len(line) <= FOLD_LENGTH:
        return line + b"\r\n"
    lines: list[bytes] = []
    line = name + b":"
    for piece in _pieces(b" " + value):
        # No fold right after the colon: a first line without content is legal and read wrongly by some.
        if len(line) + len(piece) > FOLD_LENGTH and (lines or len(line) > len(name) + 1):
            lines.append(line)
            line = piece
        else:
            line += piece
    lines.append(line)
    if any(len(line) > LINE_LENGTH_MAX for line in lines):
        raise UnwritableHeaderError(name, "a run too long for one line")
    return b"\r\n".join(lines) + b"\r\n"
