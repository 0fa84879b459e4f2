from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from sekisho.queue import bodies
from sekisho.queue.bodies import BodyDamagedError
from sekisho.queue.model import BodyFile

CONTENT = bytes(range(256)) * 10


def read(body: BodyFile) -> bytes:
    with bodies.reading(body) as file:
        return b"".join(iter(lambda: file.read(100), b""))


@pytest.fixture
def body(tmp_path: Path) -> BodyFile:
    path = tmp_path / "x.body"
    path.write_bytes(CONTENT)
    return BodyFile(path, len(CONTENT), zlib.crc32(CONTENT))


def test_a_body_is_read_as_it_was_written(body: BodyFile) -> None:
    assert read(body) == CONTENT


@pytest.mark.parametrize("place", [0, 1234, len(CONTENT) - 1])
def test_a_flipped_bit_is_noticed_at_the_end(body: BodyFile, place: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[place] ^= 0x10
    body.path.write_bytes(damaged)
    with pytest.raises(BodyDamagedError, match=r"checksum of x\.body"):
        read(body)


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", CONTENT * 2])
@pytest.mark.parametrize("is_checked", [True, False])
def test_another_length_is_noticed_also_without_a_checksum(body: BodyFile, content: bytes, is_checked: bool) -> None:
    body.path.write_bytes(content)
    with pytest.raises(BodyDamagedError, match="2560 bytes"):
        read(body if is_checked else BodyFile(body.path, body.size_bytes))


def test_a_body_of_before_is_read_unchecked(body: BodyFile) -> None:
    body.path.write_bytes(bytes(len(CONTENT)))
    assert read(BodyFile(body.path, body.size_bytes)) == bytes(len(CONTENT))
