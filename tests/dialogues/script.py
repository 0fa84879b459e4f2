r"""Read ``*.smtp`` files: transcripts that are played against the server's session, in memory and over a socket.

    # comment                 C: a line of the client, CRLF added
    TLS                       TLS starts (first in a file: before the greeting, port 465)
    R: raw octets\r\n\0       the same without CRLF, with escapes
    S: the server's next line, exactly; a final * takes any rest
    CLOSED                    the server has closed; nothing more was said
    WHOLE                     this story depends on what comes in one piece: never cut it up
    nx C: line                n times
    {b64:text}, {plain:user:password}, {x*n}   in what the client says

Consecutive C and R lines are sent in one write: that is pipelining.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parent


@dataclass(frozen=True)
class Send:
    data: bytes


@dataclass(frozen=True)
class Expect:
    text: str
    line: int

    def fits(self, heard: str) -> bool:
        return heard.startswith(self.text[:-1]) if self.text.endswith("*") else heard == self.text


@dataclass(frozen=True)
class Tls:
    pass


@dataclass(frozen=True)
class Closed:
    pass


@dataclass(frozen=True)
class Whole:
    pass


Step = Send | Expect | Tls | Closed | Whole
_WORDS: dict[str, type[Tls | Closed | Whole]] = {"TLS": Tls, "CLOSED": Closed, "WHOLE": Whole}


def scripts() -> list[Path]:
    return sorted(DIRECTORY.glob("*.smtp"))


def steps(path: Path) -> list[Step]:
    found: list[Step] = []
    for step in _steps(path.read_text("utf-8")):
        last = found[-1] if found else None
        if isinstance(step, Send) and isinstance(last, Send):
            found[-1] = Send(last.data + step.data)
        else:
            found.append(step)
    return found


def _steps(text: str) -> Iterator[Step]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line in _WORDS:
            yield _WORDS[line]()
            continue
        match = re.fullmatch(r"(?:(\d+)x )?([CRS]):(?: (.*))?", line)
        if match is None:
            message = f"line {number} is no step: {line!r}"
            raise ValueError(message)
        times, kind, rest = int(match[1] or 1), match[2], match[3] or ""
        for _ in range(times):
            yield Expect(rest, number) if kind == "S" else Send(_said(kind, rest))


def _said(kind: str, rest: str) -> bytes:
    text = re.sub(r"\{([^{}]*)\}", _expand, rest)
    if kind == "R":
        return text.encode("latin-1").decode("unicode_escape").encode("latin-1")
    return text.encode("utf-8") + b"\r\n"


def _expand(match: re.Match[str]) -> str:
    word = match[1]
    if word.startswith("b64:"):
        return base64.b64encode(word[4:].encode()).decode()
    if word.startswith("plain:"):
        return base64.b64encode(b"\0" + word[6:].replace(":", "\0").encode()).decode()
    text, _, times = word.rpartition("*")
    return text * int(times)
