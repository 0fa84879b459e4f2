"""Message content: a slow and obvious reading of the whole stream says what the reader must make of any cutting of it.

The end is found where it is and nowhere else, what stands behind it comes back whole, a fault is one that is there,
and memory stays within the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.wire.smtp.framing import TEXT_LINE_MAX_BYTES, ContentFault, ContentLimits, ContentReader
from tests.fuzz.drawing import Draw

TOKENS = (
    b"\r\n", b".\r\n", b"\r\n.\r\n", b"\r\n..\r\n", b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"A: b\r\n",
    b" fold\r\n", b"\t", b"\r\n\r\n", b"\0", b"\xff", b"x" * 998, b".", b"\r", b"\n",
)  # fmt: skip

LIMITS = (ContentLimits(1 << 16, 1 << 12, 100), ContentLimits(60, 30, 3))


@dataclass(frozen=True)
class Reading:
    header: bytes
    body: bytes
    size_bytes: int
    faults: frozenset[ContentFault]
    rest: bytes


def target(data: bytes) -> None:
    draw = Draw(data)
    limits = LIMITS[draw.octet() % len(LIMITS)]
    takes_body = draw.flag()
    chunks = draw.chunks()
    expected = read_slowly(b"".join(chunks), limits)
    reader = ContentReader(limits)
    taken = b""
    later = iter(chunks)
    for chunk in later:
        rest = reader.feed(chunk)
        # A line and its dot and line end are held until they are judged.
        assert reader.held_bytes <= limits.size_bytes + TEXT_LINE_MAX_BYTES + 3
        if reader.fault is not None:
            assert reader.held_bytes <= 4
        if rest is not None:
            break
        if takes_body:
            taken += reader.take_body()
    else:
        assert expected is None
        return
    assert expected is not None
    assert rest + b"".join(later) == expected.rest
    if reader.fault is not None:
        assert reader.fault in expected.faults
        return
    assert not expected.faults
    content = reader.content()
    assert content.header == expected.header
    assert taken + content.body == expected.body
    assert content.size_bytes == expected.size_bytes
    assert content.eight_bit == (not (expected.header + expected.body).isascii())


def read_slowly(stream: bytes, limits: ContentLimits) -> Reading | None:
    """RFC 5321 §4.1.1.4 and §4.5.2 as they are written; None when the end is not there."""
    if stream.startswith(b".\r\n"):
        lines, rest = [], stream[3:]
    else:
        text, end, rest = stream.partition(b"\r\n.\r\n")
        if not end:
            return None
        lines = [line.removeprefix(b".") for line in text.split(b"\r\n")]
    faults = set()
    for line in lines:
        if b"\r" in line or b"\n" in line:
            faults.add(ContentFault.BARE_LINE_END)
        if b"\0" in line:
            faults.add(ContentFault.NUL)
        if len(line) > TEXT_LINE_MAX_BYTES:
            faults.add(ContentFault.LONG_LINE)
    head = lines.index(b"") if b"" in lines else len(lines)
    header = b"".join(line + b"\r\n" for line in lines[:head])
    body = b"".join(line + b"\r\n" for line in lines[head + 1 :])
    size_bytes = sum(len(line) + 2 for line in lines)
    if size_bytes > limits.size_bytes:
        faults.add(ContentFault.TOO_LARGE)
    if len(header) > limits.header_bytes:
        faults.add(ContentFault.HEADER_TOO_LARGE)
    if sum(not line.startswith((b" ", b"\t")) for line in lines[:head]) > limits.header_fields:
        faults.add(ContentFault.TOO_MANY_FIELDS)
    return Reading(header, body, size_bytes, frozenset(faults), rest)
