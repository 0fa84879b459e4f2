from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekisho.queue.model import BodyFile
from sekisho.queue.records import DamagedError, checksum, encode_envelope, read_envelope, read_message

from .support import make

ID = bytes(16)
ENVELOPE = encode_envelope(make().message)


def test_an_envelope_is_read_back() -> None:
    assert encode_envelope(read_envelope(ID, ENVELOPE)) == ENVELOPE


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xc1",
        ENVELOPE[:-1],
        ENVELOPE + b"x",
        # Within a text it is another error of the library's.
        ENVELOPE.replace(b"@", b"\xff", 1),
        # SQLite stores any type in any column.
        "text",
        5,
        None,
    ],
)
def test_a_damaged_row_raises_one_error(damaged: Any) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_envelope(ID, damaged)


FILE = BodyFile(Path("bodies/x.body"), 7, 12345)
HEADER, BODY = b"Subject: x\r\n", bytes(range(256)) * 50
WRITTEN = checksum(ENVELOPE, HEADER, BODY)


@pytest.mark.parametrize("size_bytes", [0, 1, 5119, 5120, 5121, 10_240, 12_345])
def test_the_checksum_is_that_of_the_whole_however_it_is_cut(size_bytes: int) -> None:
    body = BODY[:size_bytes]
    assert checksum(ENVELOPE, HEADER, body) == zlib.crc32(ENVELOPE + HEADER + body)


@pytest.mark.parametrize(
    ("part", "place"),
    # In the envelope a bit of an address: it still decodes.
    [(0, ENVELOPE.index(b"client")), (1, 0), (1, -1), (2, 0), (2, 5120), (2, -1)],
)
def test_a_flipped_bit_anywhere_in_a_row_is_noticed(part: int, place: int) -> None:
    blobs = [ENVELOPE, HEADER, BODY]
    damaged = bytearray(blobs[part])
    damaged[place] ^= 1
    blobs[part] = bytes(damaged)
    with pytest.raises(DamagedError):
        read_message(Path("bodies"), (ID, blobs[0], None, None, blobs[1], blobs[2], WRITTEN, None))


def test_what_is_unchanged_or_has_no_checksum_is_read() -> None:
    assert read_message(Path("b"), (ID, ENVELOPE, None, None, HEADER, BODY, WRITTEN, None)).body == BODY
    assert read_message(Path("b"), (ID, ENVELOPE, None, None, HEADER, b"other", None, None)).body == b"other"


def test_what_a_row_says_of_its_bodys_file_is_checked_too() -> None:
    written = checksum(ENVELOPE, HEADER, b"", FILE)
    row: tuple[Any, ...] = (ID, ENVELOPE, "x.body", 7, HEADER, b"", written, 12345)
    assert read_message(Path("bodies"), row).body == FILE
    for column, other in ((2, "y.body"), (3, 8), (7, 12344), (7, "12345"), (7, None), (5, "")):
        damaged = (*row[:column], other, *row[column + 1 :])
        with pytest.raises(DamagedError):
            read_message(Path("bodies"), damaged)
