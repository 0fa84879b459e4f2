"""Choices out of the input's first octets, so that one string of bytes says what is sent and how it is cut.

What stands in front is read first and the rest is the text, so seeds stay legible: one NUL and then the text means
"in one piece".
"""

from __future__ import annotations

import itertools

_CUTS_MAX = 16


class Draw:
    """Reads an input from its front; when it is used up every number is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def octet(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def number(self, octets: int) -> int:
        return int.from_bytes(bytes(self.octet() for _ in range(octets)), "big")

    def flag(self) -> bool:
        return bool(self.octet() & 1)

    def piece(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    def rest(self) -> bytes:
        return self.piece(len(self._data))

    def chunks(self) -> list[bytes]:
        """The rest, cut where its first octets say; joined, they are the text."""
        cuts = [self.number(2) for _ in range(self.octet() % (_CUTS_MAX + 1))]
        return cut(self.rest(), cuts)


def cut(text: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(text), *(at % (len(text) + 1) for at in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(edges)]
