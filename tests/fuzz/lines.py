"""Command lines: however a stream is cut, the same lines come out of it, and a fault ends it at the same place.

A line that is too long and broken as well may be called either, by what of it was there.
"""

from __future__ import annotations

from sekisho.wire.smtp.framing import LineBuffer, LineFault
from tests.fuzz.drawing import Draw

TOKENS = (b"\r\n", b"\n", b"\r", b"\0", b"NOOP\r\n", b"x" * 8, b"x" * 9, b"\r\r\n", b"\n\r\n")

MAX_BYTES = 8


def target(data: bytes) -> None:
    chunks = Draw(data).chunks()
    buffer = LineBuffer()
    heard: list[bytes | LineFault] = []
    for chunk in chunks:
        buffer.append(chunk)
        while (line := buffer.line(MAX_BYTES)) is not None:
            heard.append(line)
            if isinstance(line, LineFault):
                break
        if heard and isinstance(heard[-1], LineFault):
            break
        assert len(buffer) <= MAX_BYTES + 1
    expected, ends_well = read_slowly(b"".join(chunks))
    assert [line for line in heard if not isinstance(line, LineFault)] == expected
    assert ends_well == (not heard or not isinstance(heard[-1], LineFault))


def read_slowly(stream: bytes) -> tuple[list[bytes], bool]:
    """Give the lines up to the first that is none, and whether there was no such."""
    heard: list[bytes] = []
    *lines, last = stream.split(b"\n")
    for line in lines:
        text = line.removesuffix(b"\r")
        if len(text) > MAX_BYTES or text == line or b"\r" in text or b"\0" in text:
            return heard, False
        heard.append(text)
    return heard, len(last.removesuffix(b"\r")) <= MAX_BYTES
