"""Large bodies as files: complete and synced under their final name before a row speaks of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from sekisho.queue.layout import Layout, sync_directory, sync_file
from sekisho.queue.model import BodyFile


class BodyDamagedError(Exception):
    """A body file is not what was written: nothing of it may be signed, and what was sent must not be completed."""


class _Checked:
    """Reads a body from its beginning to its end, and compares on the way."""

    def __init__(self, body: BodyFile, file: BinaryIO) -> None:
        self._body = body
        self._file = file
        self._size_bytes = 0
        self._checksum = 0

    def read(self, size_bytes: int) -> bytes:
        """Read the next piece; empty at the end, which only a whole and unchanged body has.

        Raises:
            OSError: it cannot be read.
            BodyDamagedError: at the end, or where there is more than was written.
        """
        piece = self._file.read(size_bytes)
        self._size_bytes += len(piece)
        self._checksum = crc32(piece, self._checksum)
        body = self._body
        if self._size_bytes > body.size_bytes or (not piece and self._size_bytes != body.size_bytes):
            message = f"{body.path.name} does not have the {body.size_bytes} bytes that were written"
            raise BodyDamagedError(message)
        if not piece and body.checksum not in {None, self._checksum}:
            message = f"the checksum of {body.path.name} does not match"
            raise BodyDamagedError(message)
        return piece


@contextmanager
def reading(body: BodyFile) -> Iterator[_Checked]:
    """Open a body to be read once, piece by piece, to its end.

    Raises:
        OSError: it cannot be opened.
    """
    with body.path.open("rb") as file:
        yield _Checked(body, file)


def write(path: Path, body: bytes) -> BodyFile:
    """Write a body that is known whole to a new temporary file. Blocks.

    Raises:
        OSError: it is not written, and nothing is left of it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            view = memoryview(body)
            while view:
                view = view[file.write(view) :]
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return BodyFile(path, len(body), crc32(body))


def keep(temporary: Path, final: Path, *others: Path) -> None:
    """Make a finished file durable and move it to its final name, durably. Blocks for the sync: not for the loop.

    ``others`` are further names of the same file: each of several messages that share it removes its own.

    Raises:
        OSError: nothing was promised; the file is wherever it got to, and the sweep finds it.
    """
    sync_file(temporary)
    # Content before name: a name in bodies/ never stands for half a body.
    for other in others:
        other.hardlink_to(temporary)
    temporary.rename(final)
    sync_directory(final.parent)


def sweep(layout: Layout, is_known: frozenset[str], *, aside: Path | None) -> tuple[int, int]:
    """Remove what no row speaks of; (files of incoming/, files of bodies/). Only while nobody uses the spool.

    ``aside``: the rows themselves may have been lost, so bodies without one are moved there instead.
    """
    orphans = 0
    for path in [path for path in layout.incoming.rglob("*") if not path.is_dir()]:
        path.unlink()
        orphans += 1
    unnamed = 0
    for path in layout.bodies.iterdir():
        if path.name not in is_known:
            if aside is None:
                path.unlink()
            else:
                aside.mkdir(mode=0o700, exist_ok=True)
                path.rename(aside / path.name)
            unnamed += 1
    return orphans, unnamed
