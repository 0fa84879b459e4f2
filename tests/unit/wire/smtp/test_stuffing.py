from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.smtp.stuffing import DotStuffer, stuffed

DOTTY = st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a"]), max_size=40).map(b"".join)


@pytest.mark.parametrize(
    ("plain", "sent"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n"),
        (b"a\r\n..b\r\n", b"a\r\n...b\r\n"),
        (b".\r\n.\r\n.\r\n", b"..\r\n..\r\n..\r\n"),
        (b"a.b\r\n", b"a.b\r\n"),
    ],
)
def test_a_dot_that_begins_a_line_is_doubled(plain: bytes, sent: bytes) -> None:
    assert stuffed(plain) == sent


def test_the_middle_of_a_line_is_no_line_start() -> None:
    assert stuffed(b".a\r\n.b", at_line_start=False) == b".a\r\n..b"


@given(pieces=st.lists(DOTTY, max_size=8))
def test_cutting_content_into_pieces_changes_nothing(pieces: list[bytes]) -> None:
    stuffer = DotStuffer()
    assert b"".join(stuffer.feed(piece) for piece in pieces) == stuffed(b"".join(pieces))


@given(content=DOTTY)
def test_no_content_ends_itself(content: bytes) -> None:
    stuffer = DotStuffer()
    sent = b"\r\n" + stuffer.feed(content) + stuffer.end()
    assert sent.endswith(b"\r\n.\r\n")
    assert sent.count(b"\r\n.\r\n") == 1
