"""Dot stuffing: cut anyhow it gives the same bytes, and a receiver finds one message in them, the one that was sent."""

from __future__ import annotations

from sekisho.wire.smtp.framing import ContentLimits, ContentReader
from sekisho.wire.smtp.stuffing import END, DotStuffer, stuffed
from tests.fuzz.content import read_slowly
from tests.fuzz.drawing import Draw

TOKENS = (b"\r\n", b".", b"\r\n.", b"\r\n.\r\n", b"..", b"\r", b"\n", b"A: b\r\n", b"\r\n\r\n", b"QUIT\r\n")

LIMITS = ContentLimits(1 << 20, 1 << 20, 1 << 20)


def target(data: bytes) -> None:
    chunks = Draw(data).chunks()
    content = b"".join(chunks)
    stuffer = DotStuffer()
    sent = b"".join(stuffer.feed(chunk) for chunk in chunks) + stuffer.end()
    ended = content if not content or content.endswith(b"\r\n") else content + b"\r\n"
    assert sent == stuffed(ended) + END
    assert len(sent) <= 2 * len(content) + len(END) + 3
    reader = ContentReader(LIMITS)
    # Nothing stands behind the end: no content becomes a command.
    assert reader.feed(sent) == b""
    heard = read_slowly(sent, LIMITS)
    assert heard is not None
    assert heard.rest == b""
    if reader.fault is None:
        taken = reader.content()
        whole = taken.header + (b"\r\n" if len(taken.header) < taken.size_bytes else b"") + taken.body
        assert whole == ended
