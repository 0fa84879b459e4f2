from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho.queue.room import RESERVE_MAX_BYTES, headroom_bytes, reserve_bytes

GIB = 1 << 30


@pytest.mark.parametrize(
    ("total", "reserve"), [(0, 0), (16 << 20, 2 << 20), (GIB, RESERVE_MAX_BYTES), (1000 * GIB, RESERVE_MAX_BYTES)]
)
def test_the_reserve_is_a_small_part_of_a_small_disk(total: int, reserve: int) -> None:
    assert reserve_bytes(total) == reserve


@pytest.mark.parametrize(
    ("blocks", "available", "headroom"),
    [(4096, 4096, 14 << 20), (4096, 512, 0), (4096, 0, -(2 << 20)), (0, 0, 0)],
)
def test_headroom(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blocks: int, available: int, headroom: int) -> None:
    # f_bavail, not f_bfree: what root alone may use is no room for us.
    found = os.statvfs_result((4096, 4096, blocks, available + 100, available, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    assert headroom_bytes(tmp_path) == headroom
