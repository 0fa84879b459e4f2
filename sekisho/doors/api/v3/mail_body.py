"""The body of mail/send on its way in: bounded in size, in memory over all requests, and in what it decodes to."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any, Final, Self

import msgspec

from sekisho.doors.api.problems import Problem, invalid, no_json, plain, unavailable
from sekisho.doors.api.v3 import mail_texts as texts

BODY_MAX_BYTES: Final = 30 * 1024 * 1024
"""The vendor's 30 MB, before and after decompression."""

MEMORY_BYTES: Final = 256 * 1024 * 1024
"""Over all requests of the process; beyond it a request is told to come back."""

RESERVED_BYTES: Final = 64 * 1024 * 1024
"""Of that for small bodies alone: who sends large ones slowly keeps nobody else from sending."""

COPIES: Final = 3
"""What one byte of a body may be in memory at the same time: as it came, decoded, composed."""

VALUES_MAX: Final = 200_000
"""JSON values and keys of one body: 1,000 people with 100 arguments each. An empty array is 3 bytes and 56 of ours."""

SMALL_BYTES: Final = 64 * 1024
"""A body of so little is decoded as it is, on the loop; its values cannot be too many."""

REPEATED_BYTES: Final = 4 * 1024 * 1024
"""What a small body may come to at most when the root's values are repeated in each personalization: 50 ms of work."""

_STEP_BYTES: Final = 256 * 1024
"""Decompressed in one turn of the loop."""


class BodyMemory:
    """What all requests together may hold."""

    def __init__(self, limit_bytes: int = MEMORY_BYTES) -> None:
        self._limit_bytes: Final = limit_bytes
        self.used_bytes = 0

    def take(self, size_bytes: int, reserved_bytes: int = 0) -> bool:
        """Take some, or nothing when there is not enough left beside what is reserved for others."""
        if self.used_bytes + size_bytes > self._limit_bytes - reserved_bytes:
            return False
        self.used_bytes += size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        self.used_bytes -= size_bytes


class Share:
    """One request's part of the memory, given back at the end of its block."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory: Final = memory
        self._held_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.give_back(self._held_bytes)

    def grow(self, size_bytes: int) -> None:
        """Hold more; raises Problem when there is none."""
        is_small = self._held_bytes + size_bytes * COPIES <= SMALL_BYTES * COPIES
        if not self._memory.take(size_bytes * COPIES, 0 if is_small else RESERVED_BYTES):
            raise unavailable("service unavailable: too many large requests at once")
        self._held_bytes += size_bytes * COPIES


def check_type(content_type: str) -> None:
    """Raise Problem unless the body says it is JSON in UTF-8."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset")]
    if kind != "application/json" or any(charset not in {"utf-8", "utf8"} for charset in charsets):
        raise plain(415)


async def receive(chunks: AsyncIterator[bytes], encoding: str, share: Share) -> bytes:
    """Read a body to its end; raises Problem: too large, no memory, an encoding that is none."""
    match encoding.strip().lower():
        case "" | "identity":
            pieces = chunks
        case "gzip" | "x-gzip":
            pieces = _inflated(chunks)
        case _:
            raise plain(415)
    whole, size_bytes = [], 0
    async for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > BODY_MAX_BYTES:
            raise plain(413)
        share.grow(len(piece))
        whole.append(piece)
    return b"".join(whole)


async def _inflated(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Decompress in steps: however much a few bytes stand for, only a step of it is there at a time."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        async for chunk in chunks:
            rest = chunk
            while rest:
                if inflater.eof:
                    raise invalid(texts.BAD_REQUEST, None)
                yield inflater.decompress(rest, _STEP_BYTES)
                rest = inflater.unconsumed_tail or inflater.unused_data
                await asyncio.sleep(0)
    except zlib.error:
        raise invalid(texts.BAD_REQUEST, None) from None
    if not inflater.eof:
        raise invalid(texts.BAD_REQUEST, None)


def is_little(body: bytes) -> bool:
    """Tell whether a body makes so little work that it is done on the loop.

    A personalization takes two braces at least, and repeats all headers and arguments of the root.
    """
    size_bytes = len(body)
    return size_bytes <= SMALL_BYTES and size_bytes * body.count(b"{") <= REPEATED_BYTES


def decode(body: bytes) -> Any:
    """Decode JSON; raises Problem when it is none, or stands for more than a request can mean."""
    try:
        if len(body) > SMALL_BYTES and not _is_bounded(body):
            raise plain(413)
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise _undecodable(body) from None


def _is_bounded(body: bytes) -> bool:
    """Count values without making them: brackets, commas and strings outside of strings."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > VALUES_MAX * 2:
        return False
    outside = b"".join(bare.split(b'"')[::2])
    return outside.count(b",") + outside.count(b"[") + outside.count(b"{") <= VALUES_MAX


def _undecodable(body: bytes) -> Problem:
    try:
        body.decode()
    except UnicodeDecodeError:
        return invalid(texts.UTF8, None)
    return no_json()
