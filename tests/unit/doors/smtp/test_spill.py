from __future__ import annotations

import asyncio
import os
import zlib
from pathlib import Path

from sekisho.doors.smtp.spill import BodySpill, clear


async def test_parts_are_written_in_the_order_of_calls(tmp_path: Path) -> None:
    spill = BodySpill(tmp_path, "a")
    await asyncio.gather(*(spill.write(bytes([number]) * 1000) for number in range(20)))
    body = await spill.finish()
    assert body is not None
    assert body.size_bytes == 20_000
    assert body.path.read_bytes() == b"".join(bytes([number]) * 1000 for number in range(20))
    assert body.checksum == zlib.crc32(body.path.read_bytes())
    assert body.path.stat().st_mode & 0o777 == 0o600


async def test_what_is_discarded_is_gone(tmp_path: Path) -> None:
    spill = BodySpill(tmp_path, "a")
    await asyncio.gather(spill.write(b"x"), spill.discard())
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a path method in a coroutine is frowned upon, too
    await BodySpill(tmp_path, "never written").discard()


async def test_a_failed_write_is_told_and_nothing_is_handed_over(tmp_path: Path) -> None:
    spill = BodySpill(tmp_path / "missing", "a")
    await spill.write(b"x")
    await spill.write(b"y")
    assert isinstance(spill.error, FileNotFoundError)
    assert await spill.finish() is None
    await spill.discard()


async def test_a_file_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "incoming-a").write_bytes(b"another's")
    spill = BodySpill(tmp_path, "a")
    await spill.write(b"x")
    assert isinstance(spill.error, FileExistsError)


def test_an_earlier_lifes_files_are_cleared_and_others_stay(tmp_path: Path) -> None:
    directory = tmp_path / "spill"
    clear(directory)
    (directory / "incoming-old").touch()
    (directory / "other").touch()
    clear(directory)
    assert [path.name for path in directory.iterdir()] == ["other"]
