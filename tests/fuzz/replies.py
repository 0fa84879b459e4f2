"""Replies of other hosts: any cutting gives the same, a slow reading agrees, memory is bounded, and every text is one
line that can be shown and, printed again, reads the same.
"""

from __future__ import annotations

import re

from sekisho.wire.smtp.reply import (
    LINE_KEPT_BYTES,
    LINES_MAX,
    REPLY_MAX_BYTES,
    Reply,
    ReplyFault,
    ReplyParser,
)
from tests.fuzz.drawing import Draw

TOKENS = (
    b"250 2.0.0 Ok\r\n", b"250-mx.example\r\n", b"250 8BITMIME\r\n", b"354 go\r\n", b"550 5.1.1 no\r\n", b"421 bye\r\n",
    b"550-5.1.1 a\r\n", b"550 5.1.10 b\r\n", b"5.1.1", b"2.\xd9\xa1.\xd9\xa1", b"\r", b"\n", b"\r\n", b"-", b" ", b"\0",
    b"\x1b[2J", b"\xe2\x80\xae", b"\xff", b"\x85", b"x" * 2050, b"250-x\r\n" * 100, b"\xd9\xa2\xd9\xa5\xd9\xa0", b"220",
)  # fmt: skip

_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


def target(data: bytes) -> None:
    chunks = Draw(data).chunks()
    parser = ReplyParser()
    found: list[Reply | ReplyFault] = []
    for chunk in chunks:
        found += parser.feed(chunk)
        # The line at hand and the lines of the reply at hand; an octet that is no UTF-8 takes four characters.
        assert len(parser._buffer) <= LINE_KEPT_BYTES + 2
        assert len(parser._lines) < LINES_MAX
        assert sum(map(len, parser._lines)) <= 4 * REPLY_MAX_BYTES
        if found and isinstance(found[-1], ReplyFault):
            assert not parser.has_partial
            break
    assert found == _read_slowly(b"".join(chunks))
    for item in found:
        if isinstance(item, Reply):
            _check(item)


def _check(reply: Reply) -> None:
    assert 200 <= reply.code <= 599
    assert sum((reply.is_positive, reply.is_intermediate, reply.is_temporary, reply.is_permanent)) == 1
    assert not reply.enhanced or _ENHANCED.fullmatch(reply.enhanced)
    assert not reply.enhanced or reply.enhanced.startswith(str(reply.code)[0])
    assert str(reply).isprintable()
    assert str(reply).encode("utf-8")
    # A blank that stood in front of a line without the status would stand behind the status now.
    if all(len(line.encode()) < LINE_KEPT_BYTES - 20 and not line.startswith(" ") for line in reply.lines):
        (again,) = ReplyParser().feed(bytes(reply))
        assert again == reply


def _read_slowly(stream: bytes) -> list[Reply | ReplyFault]:
    found: list[Reply | ReplyFault] = []
    lines: list[str] = []
    taken = first = 0
    *whole, rest = stream.split(b"\n")
    for line in whole:
        taken += len(line) + 1
        if taken > REPLY_MAX_BYTES:
            return [*found, ReplyFault.TOO_LONG]
        shown = (line + b"\n")[: LINE_KEPT_BYTES if len(line) + 1 > LINE_KEPT_BYTES + 2 else None].rstrip(b"\r\n")
        if re.fullmatch(rb"[2-5][0-9]{2}(?:[ -].*)?", shown, re.DOTALL) is None:
            return [*found, ReplyFault.GARBAGE]
        code = int(shown[:3])
        if lines and code != first:
            return [*found, ReplyFault.MIXED_CODES]
        first = code
        lines.append(shown[4:].decode("utf-8", "backslashreplace"))
        if shown[3:4] == b"-":
            if len(lines) == LINES_MAX:
                return [*found, ReplyFault.TOO_LONG]
            continue
        found.append(_reply(code, lines))
        lines, taken = [], 0
    return [*found, ReplyFault.TOO_LONG] if taken + len(rest) > REPLY_MAX_BYTES else found


def _reply(code: int, lines: list[str]) -> Reply:
    status, _, _ = lines[0].partition(" ")
    if not _ENHANCED.fullmatch(status) or status[0] != str(code)[0]:
        return Reply(code, "", tuple(lines))
    # RFC 2034 §4: it stands on every line, as a word of its own.
    texts = [rest.lstrip(" ") if word == status else line for line in lines for word, _, rest in [line.partition(" ")]]
    return Reply(code, status, tuple(texts))
