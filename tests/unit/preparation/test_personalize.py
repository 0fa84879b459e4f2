from __future__ import annotations

import pytest

from sekisho.preparation.personalize import header_for


@pytest.mark.parametrize(
    ("header", "personal_to", "expected"),
    [
        (b"To: a@b.example\r\nX: y\r\n", "", b"To: a@b.example\r\nX: y\r\n"),
        (
            b"A: 1\r\nto: a@b.example,\r\n c@d.example\r\nX:  y\r\n",
            "e@f.example",
            b"A: 1\r\nTo: e@f.example\r\nX:  y\r\n",
        ),
        (b"A: 1\r\n", "E <e@f.example>", b"A: 1\r\nTo: E <e@f.example>\r\n"),
    ],
)
def test_only_to_changes(header: bytes, personal_to: str, expected: bytes) -> None:
    assert header_for(header, personal_to) == expected


def test_a_stored_header_that_does_not_parse_is_our_fault() -> None:
    with pytest.raises(TypeError):
        header_for(b"no field\r\n", "e@f.example")
