"""SMTP replies as values: print ours, read theirs, whatever they send.

Ours are composed of fixed texts. Theirs are hostile input: length, number of lines and total size are bounded, and
what cannot be a reply comes out as a ``ReplyFault``, never as an exception.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

LINE_KEPT_BYTES = 2048
"""RFC 5321 §4.5.3.1.5 allows 512; real servers write more. What is longer is cut off, not refused."""
LINES_MAX = 100
REPLY_MAX_BYTES = 65_536
"""One whole reply with what was cut off; beyond it the peer is not speaking SMTP."""

_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")


def printable(text: str) -> str:
    """Escape all that could move a cursor, break a line or turn text around; ordinary text passes unchanged."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, of one or more lines."""

    code: int
    enhanced: str
    """RFC 3463 status such as ``5.7.1``; empty when there is none (greeting, EHLO, old servers)."""
    lines: tuple[str, ...]
    """The text of each line, without code and enhanced status; never empty."""

    @property
    def is_positive(self) -> bool:
        """2xx: done."""
        return 200 <= self.code < 300

    @property
    def is_intermediate(self) -> bool:
        """3xx: go on."""
        return 300 <= self.code < 400

    @property
    def is_temporary(self) -> bool:
        """4xx: not now."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5xx: never."""
        return self.code >= 500

    @property
    def text(self) -> str:
        """All lines in one, control characters escaped."""
        return printable(" ".join(line for line in self.lines if line))

    def __str__(self) -> str:
        """One line fit for logs and events: ``550 5.1.1 No such user``."""
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    def __bytes__(self) -> bytes:
        """As transmitted; RFC 2034 §4: the status stands on every line."""
        status = f"{self.enhanced} " if self.enhanced else ""
        if len(self.lines) == 1:
            return f"{self.code} {status}{self.lines[0]}\r\n".encode("utf-8", "backslashreplace")
        *before, last = self.lines
        text = "".join(f"{self.code}-{status}{line}\r\n" for line in before) + f"{self.code} {status}{last}\r\n"
        return text.encode("utf-8", "backslashreplace")


def reply(code: int, enhanced: str, *lines: str) -> Reply:
    """Make a Reply of our own. The caller answers for there being no line break in a line."""
    return Reply(code, enhanced, lines or ("",))


class ReplyFault(enum.StrEnum):
    """What the peer sent is no reply; the connection is of no further use."""

    GARBAGE = "not an SMTP reply"
    MIXED_CODES = "an SMTP reply whose lines carry different codes"
    TOO_LONG = "an SMTP reply without end"


class ReplyParser:
    """Turns received bytes into replies; any chunking gives the same result.

    After a fault the parser is finished: it gives nothing more and keeps nothing.
    """

    __slots__ = ("_buffer", "_code", "_cut", "_failed", "_lines", "_taken")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._cut = False  # the line in the buffer is already longer than what is kept
        self._code = 0
        self._lines: list[str] = []
        self._taken = 0
        self._failed = False

    @property
    def has_partial(self) -> bool:
        """A reply has begun and not ended."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> list[Reply | ReplyFault]:
        """Read on; give the replies that became complete. A fault is always the last item."""
        found: list[Reply | ReplyFault] = []
        start = 0
        while not self._failed and start < len(data):
            end = data.find(b"\n", start)
            piece_end = len(data) if end < 0 else end + 1
            self._taken += piece_end - start
            if self._taken > REPLY_MAX_BYTES:
                found.append(self._fail(ReplyFault.TOO_LONG))
                break
            self._keep(data[start:piece_end])
            start = piece_end
            if end >= 0:
                item = self._line()
                if item is not None:
                    found.append(item)
        return found

    def _keep(self, piece: bytes) -> None:
        room = LINE_KEPT_BYTES + 2 - len(self._buffer)
        if len(piece) > room:
            self._cut = True
        self._buffer += piece[:room]

    def _line(self) -> Reply | ReplyFault | None:
        # A lone LF as line end is taken too: what is read here never becomes a command of anybody.
        raw = bytes(self._buffer[:LINE_KEPT_BYTES] if self._cut else self._buffer).rstrip(b"\r\n")
        self._buffer.clear()
        self._cut = False
        digits, mark = raw[:3], raw[3:4]
        if len(digits) != 3 or not digits.isdigit() or not b"2" <= digits[:1] <= b"5" or mark not in (b"", b" ", b"-"):
            return self._fail(ReplyFault.GARBAGE)
        code = int(digits)
        if self._lines and code != self._code:
            return self._fail(ReplyFault.MIXED_CODES)
        self._code = code
        self._lines.append(raw[4:].decode("utf-8", "backslashreplace"))
        if mark == b"-":
            return self._fail(ReplyFault.TOO_LONG) if len(self._lines) >= LINES_MAX else None
        lines, self._lines, self._taken = self._lines, [], 0
        return _assemble(code, lines)

    def _fail(self, fault: ReplyFault) -> ReplyFault:
        self._failed = True
        self._buffer.clear()
        self._lines.clear()
        return fault


def _assemble(code: int, lines: list[str]) -> Reply:
    match = _ENHANCED.match(lines[0])
    # RFC 2034 §4: the class of the status equals the first digit of the code; else it is just text.
    if match is None or int(match[1]) != code // 100:
        return Reply(code, "", tuple(lines))
    status = match[0]
    return Reply(code, status, tuple(_without(status, line) for line in lines))


def _without(status: str, line: str) -> str:
    # As a word of its own: 5.1.1 is not what a line with 5.1.10 begins with.
    word, _, rest = line.partition(" ")
    return rest.lstrip(" ") if word == status else line
