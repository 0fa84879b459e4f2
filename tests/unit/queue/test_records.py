from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sekisho.queue.records import encode_envelope, read_envelope

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
