"""Whether the write-ahead log still holds all that was committed to it; looked at before anything opens the spool.

SQLite reads its log up to the first frame whose checksum fails and takes that for the end, which is right after a
crash: what was being written had been promised to nobody. A damaged log looks the same to it, and everything behind
the damage would be gone without a word. Two things tell them apart: commits of the same log behind the break (each is
synced before the next begins, so a crash leaves one unfinished at most), and the index beside the log (``-shm``),
which after the death of a process knows how far the log went. (https://www.sqlite.org/fileformat2.html#walformat)
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = 0x377F0682
"""Its last bit says in which byte order checksums read the data."""
_PAGE_SIZES: Final = frozenset(1 << shift for shift in range(9, 17))

# The index is in the machine's own byte order, but for the salts, which are copied as they stand.
_INDEX: Final = struct.Struct("=II I BBH II 8s 8s 8s")
_COPIED: Final = struct.Struct("=I")
_COPIED_AT: Final = 2 * _INDEX.size
_INDEX_VERSION: Final = 3007000


@dataclass(frozen=True, slots=True)
class _Index:
    """What the index says of the log."""

    frames: int
    copied: int
    """Frames that are in the database as well."""
    salts: bytes


@dataclass(slots=True)
class _Log:
    """What the log says of itself."""

    salts: bytes = b""
    is_readable: bool = False
    committed: int = 0
    """Frames up to and with the last commit before the first break."""
    commits_behind: int = 0
    """Commits of this log behind it."""


def fault(database: Path) -> str | None:
    """Say why the log of ``database`` does not hold all it held; None when it does, or there is none.

    To be called while nobody has the database open. Raises OSError.
    """
    wal = database.with_name(database.name + "-wal")
    log = _Log()
    if wal.exists():
        with wal.open("rb") as file:
            log = _read(file, wal.stat().st_size)
    index = _read_index(database.with_name(database.name + "-shm"))
    if index is not None and index.copied < index.frames:
        if not log.salts:
            return f"the log is empty or missing, and held {index.frames} pages"
        if index.salts == log.salts and index.frames > log.committed:
            return f"the log ends at page {log.committed}, and held {index.frames}"
    if log.salts and not log.is_readable:
        return "the log's header is damaged"
    if log.commits_behind > 1:
        return f"the log is damaged at page {log.committed}, with {log.commits_behind} commits behind it"
    return None


def _read(file: BinaryIO, size: int) -> _Log:
    log = _Log()
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return log
    magic, version, page_size, _checkpoint, _salt1, _salt2, *expected = _HEADER.unpack(header)
    log.salts = header[16:24]
    order = ">" if magic & 1 else "<"
    sums = _checksum(header[:24], order, (0, 0))
    if magic & ~1 != _MAGIC or version != _INDEX_VERSION or page_size not in _PAGE_SIZES or sums != tuple(expected):
        return log
    log.is_readable = True
    whole = True
    for position in range(1, (size - _HEADER.size) // (_FRAME.size + page_size) + 1):
        head = file.read(_FRAME.size)
        page = file.read(page_size)
        if len(page) < page_size:
            break
        number, commit, _, _, *expected = _FRAME.unpack(head)
        is_ours = head[8:16] == log.salts and number > 0
        if whole:
            sums = _checksum(page, order, _checksum(head[:8], order, sums))
            whole = is_ours and sums == tuple(expected)
        if whole and commit:
            log.committed = position
        elif not whole and is_ours and commit:
            log.commits_behind += 1
    return log


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    for one, other in _pairs(data, order):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _pairs(data: bytes, order: str) -> Iterator[tuple[int, int]]:
    return struct.iter_unpack(f"{order}II", data)


def _read_index(shm: Path) -> _Index | None:
    """Read the index; None when there is none, or it was being written."""
    try:
        content = shm.read_bytes()[: _COPIED_AT + _COPIED.size]
    except FileNotFoundError:
        return None
    if len(content) < _COPIED_AT + _COPIED.size:
        return None
    first = content[: _INDEX.size]
    version, _, _, is_ready, _, _, frames, _, _, salts, sums = _INDEX.unpack(first)
    order = "<" if sys.byteorder == "little" else ">"
    expected = _checksum(first[:40], order, (0, 0))
    is_whole = first == content[_INDEX.size : _COPIED_AT] and struct.pack("=II", *expected) == sums
    if version != _INDEX_VERSION or not is_ready or not is_whole:
        return None
    (copied,) = _COPIED.unpack_from(content, _COPIED_AT)
    return _Index(frames, copied, salts)
