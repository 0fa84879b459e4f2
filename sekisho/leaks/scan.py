"""Find what may be the text of an API key in a message: as it is, in base64, in quoted-printable, across line breaks.

It is there against accidents (a configuration file attached, a log mailed to a list), not against people who hide a
key on purpose; those have other ways. So it undoes what programs do to mail, and nothing else: base64 of any line
length in whatever MIME part or none, quoted-printable but for letters that are escaped without need, encoded words of
header fields. Archives and compressed files are not opened.

Two passes of C over the content find almost nothing almost always: 12 µs for 10 KiB of text, 20 for base64. ``SG.``
looks in base64 like one of three runs, depending on where it begins in a group of three octets:

    SG.   U0cu
    xSG.  .NHL
    xxSG. ...TRy

Line ends and ``=`` are left out and ``S U N T``, ``G 0 H R`` and ``. c L y`` made the same three signs, so that all
four (and ``SG=2E``, a full stop that quoted-printable escaped) are one run to search for. What stands there is looked
at by its own rules.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CANDIDATES_MAX: Final = 20
"""Texts per message that are looked up; who mails more keys than that has one among them that is in force, or none."""

PIECE_BYTES: Final = 256 * 1024
"""Of a large body read at a time."""

RUNS_MAX: Final = 3000
"""Looked at in a body, or in a piece of one: 5 ms. 256 KiB of base64 have 64; only what was made for it has more."""

_OVERLAP: Final = 4096
"""Of two pieces: more than a key is long in whatever dress, each of its characters on a line of its own."""

_KEY: Final = re.compile(rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}")
_KEY_BYTES: Final = 69

_CLASSES: Final = bytes.maketrans(b"SUNTG0HR.cLy2", b"\x01\x01\x01\x01\x02\x02\x02\x02\x03\x03\x03\x03\x03")
_BLANKED: Final = bytes(
    _CLASSES[octet] if octet in b"SUNTG0HR.cLy2" else 0x04 if octet in b"\x01\x02\x03" else octet
    for octet in range(256)
)
_RUN: Final = b"\x01\x02\x03"
_LEFT_OUT: Final = b"\r\n="

_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]*")

# What stands at the run: with it, how many characters its group of four began before it, and what comes next.
_PLAIN: Final = b"SG."
_ESCAPED: Final = b"SG2"
_GROUPS: Final = {b"U0c": (0, b"u"), b"NHL": (2, b"ijklmn"), b"TRy": (3, b"45")}

_ENCODED_WORD: Final = re.compile(rb"=\?[^?\s]{1,60}\?([BbQq])\?([^?\s]*)\?=(?:[ \t\r\n]+(?==\?))?")


def candidates(content: bytes) -> tuple[bytes, ...]:
    """List the different texts in a body, or in a piece of one, that have the form of a key; at most CANDIDATES_MAX."""
    classes = content.translate(_BLANKED, _LEFT_OUT)
    at = classes.find(_RUN)
    if at < 0:
        return ()
    found: dict[bytes, None] = {}
    joined = content.translate(None, _LEFT_OUT)
    is_escaped = False
    runs = 0
    while at >= 0 and len(found) < CANDIDATES_MAX and runs < RUNS_MAX:
        runs += 1
        run = joined[at : at + 3]
        if run in {_PLAIN, _ESCAPED}:
            # A character further on may be escaped all the same.
            is_escaped = True
            if (key := _KEY.match(joined, at)) is not None:
                found[key[0]] = None
        elif (
            (group := _GROUPS.get(run)) is not None
            and joined[at + 3 : at + 4] in group[1]
            and (decoded := _from_base64(joined, at - group[0])) is not None
        ):
            found[decoded] = None
        at = classes.find(_RUN, at + 1)
    if is_escaped and b"=" in content:
        for key in _KEY.finditer(binascii.a2b_qp(content).translate(None, b"\r\n")):
            found[key[0]] = None
    return tuple(found)[:CANDIDATES_MAX]


def candidates_in_header(header: bytes) -> tuple[bytes, ...]:
    """Do the same for a header block, its encoded words (RFC 2047) undone."""
    found = candidates(header)
    if b"?=" in header:
        found += candidates(_ENCODED_WORD.sub(_word, header))
    return tuple(dict.fromkeys(found))[:CANDIDATES_MAX]


def candidates_in_file(path: Path) -> tuple[bytes, ...]:
    """Do the same for a large body. Blocks; raises OSError."""
    found: dict[bytes, None] = {}
    for piece in _pieces(path):
        found.update(dict.fromkeys(candidates(piece)))
        if len(found) >= CANDIDATES_MAX:
            break
    return tuple(found)[:CANDIDATES_MAX]


def _pieces(path: Path) -> Iterator[bytes]:
    rest = b""
    with path.open("rb", buffering=0) as file:
        while part := file.read(PIECE_BYTES):
            piece = rest + part
            yield piece
            rest = piece[-_OVERLAP:]


def _from_base64(joined: bytes, begin: int) -> bytes | None:
    """Decode what a key takes from the group of four that it begins in; None when it is none."""
    if begin < 0:
        return None
    # Two octets before it at most.
    whole = _BASE64.match(joined, begin, begin + (_KEY_BYTES + 2 + 2) // 3 * 4)
    text = b"" if whole is None else whole[0]
    missing = -len(text) % 4
    if missing == 3:  # one character is no octet
        text, missing = text[:-1], 0
    decoded = binascii.a2b_base64(text.translate(_FROM_URL_SAFE) + b"=" * missing)
    key = _KEY.search(decoded, 0, _KEY_BYTES + 2)
    return None if key is None else key[0]


def _word(word: re.Match[bytes]) -> bytes:
    try:
        if word[1] in b"Bb":
            return binascii.a2b_base64(word[2])
        return binascii.a2b_qp(word[2], header=True)
    except binascii.Error:
        return word[0]
