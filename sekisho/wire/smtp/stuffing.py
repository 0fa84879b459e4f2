"""Dot stuffing of outgoing content (RFC 5321 §4.5.2), whole or in pieces."""

from __future__ import annotations

END = b".\r\n"
"""What ends content that itself ends in CRLF."""


def stuffed(data: bytes, *, at_line_start: bool = True) -> bytes:
    """Double the dot at the start of every line; nearly always there is none, and the input itself is given back."""
    # From behind: in CPython several times quicker than ``in`` for what is not there.
    if data.rfind(b"\r\n.") >= 0:
        data = data.replace(b"\r\n.", b"\r\n..")
    return b"." + data if at_line_start and data.startswith(b".") else data


class DotStuffer:
    """Stuffs content that comes in pieces; every way of cutting it gives the same bytes."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two octets: where a line break may have begun

    def feed(self, piece: bytes) -> bytes:
        """Give what to send for the next piece."""
        joined = self._tail + piece
        self._tail = joined[-2:]
        # A match always ends within the piece (it is one longer than the tail), so the tail itself never grows.
        return joined.replace(b"\r\n.", b"\r\n..")[2:] if joined.rfind(b"\r\n.") >= 0 else piece

    def end(self) -> bytes:
        """Give the terminator; a missing last line break is added, since the end mark must stand on its own line."""
        return END if self._tail == b"\r\n" else b"\r\n" + END
