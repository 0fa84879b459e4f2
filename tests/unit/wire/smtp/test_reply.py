from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.smtp.reply import (
    LINE_KEPT_BYTES,
    LINES_MAX,
    REPLY_MAX_BYTES,
    Reply,
    ReplyFault,
    ReplyParser,
    printable,
    reply,
)


def read(data: bytes, size: int = 0) -> list[Reply | ReplyFault]:
    parser = ReplyParser()
    step = size or max(len(data), 1)
    return [item for at in range(0, len(data), step) for item in parser.feed(data[at : at + step])]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", ("Ok",))),
        (b"250\r\n", Reply(250, "", ("",))),
        (b"250 \r\n", Reply(250, "", ("",))),
        (b"250 Ok\n", Reply(250, "", ("Ok",))),
        (b"250-a.example\r\n250-SIZE 1\r\n250 PIPELINING\r\n", Reply(250, "", ("a.example", "SIZE 1", "PIPELINING"))),
        (b"550-5.7.1 No\r\n550 5.7.1 never\r\n", Reply(550, "5.7.1", ("No", "never"))),
        (b"550-5.7.1 No\r\n550 never\r\n", Reply(550, "5.7.1", ("No", "never"))),
        (b"550-5.1.1 No\r\n550 5.1.10 more\r\n", Reply(550, "5.1.1", ("No", "5.1.10 more"))),
        ("550 5.١.1 odd digits\r\n".encode(), Reply(550, "", ("5.١.1 odd digits",))),
        (b"550 4.7.1 odd class\r\n", Reply(550, "", ("4.7.1 odd class",))),
        (b"250 2.0.0\r\n", Reply(250, "2.0.0", ("",))),
        (b"220 2.0.0.1 is no status\r\n", Reply(220, "", ("2.0.0.1 is no status",))),
        (b"354 go\r\n", Reply(354, "", ("go",))),
        (b"250 \xff\r\n", Reply(250, "", ("\\xff",))),
    ],
)
def test_a_reply_is_read(data: bytes, expected: Reply) -> None:
    assert read(data) == [expected]
    assert read(data, 1) == [expected]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"hello\r\n", ReplyFault.GARBAGE),
        (b"\r\n", ReplyFault.GARBAGE),
        (b"25\r\n", ReplyFault.GARBAGE),
        (b"150 preliminary\r\n", ReplyFault.GARBAGE),
        (b"600 no\r\n", ReplyFault.GARBAGE),
        (b"250_no\r\n", ReplyFault.GARBAGE),
        (b"\xd9\xa2\xd9\xa5\xd9\xa0 no\r\n", ReplyFault.GARBAGE),
        (b"250-a\r\n251 b\r\n", ReplyFault.MIXED_CODES),
        (b"250-a\r\n" * LINES_MAX, ReplyFault.TOO_LONG),
        (b"250 " + b"a" * REPLY_MAX_BYTES, ReplyFault.TOO_LONG),
    ],
)
def test_what_is_no_reply_is_a_fault_and_the_end(data: bytes, fault: ReplyFault) -> None:
    assert read(data + b"\r\n250 Ok\r\n") == [fault]
    assert read(data + b"\r\n250 Ok\r\n", 7) == [fault]


def test_pipelined_replies_come_out_one_by_one() -> None:
    assert read(b"250 a\r\n450-b\r\n450 c\r\n354 d\r\n25") == [
        reply(250, "", "a"),
        reply(450, "", "b", "c"),
        reply(354, "", "d"),
    ]


def test_a_long_line_is_cut_not_refused() -> None:
    long = b"550 " + b"x" * 5000 + b"\r\n250 next\r\n"
    for size in (0, 1, 997):
        first, second = read(long, size)
        assert isinstance(first, Reply)
        assert first.lines == ("x" * (LINE_KEPT_BYTES - 4),)
        assert second == reply(250, "", "next")


def test_many_replies_do_not_add_up_to_too_much() -> None:
    parser = ReplyParser()
    assert all(parser.feed(b"250 " + b"a" * 500 + b"\r\n") for _ in range(200))


def test_printing_escapes_what_a_terminal_would_obey() -> None:
    assert printable("a\x1b[2Jb\r\n\u202ec") == "a\\x1b[2Jb\\r\\n\\u202ec"
    assert str(reply(550, "5.1.1", "no\x07", "such")) == "550 5.1.1 no\\x07 such"


def test_the_status_stands_on_every_line() -> None:
    assert bytes(reply(550, "5.7.1", "a", "b")) == b"550-5.7.1 a\r\n550 5.7.1 b\r\n"
    assert bytes(reply(250, "")) == b"250 \r\n"


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40).filter(
    lambda text: not text[0].isdigit()
)
replies = st.builds(
    lambda code, status, lines: Reply(
        code, f"{code // 100}.{status}" if status and code // 100 != 3 else "", tuple(lines)
    ),
    st.integers(200, 599),
    st.sampled_from(["", "0.0", "7.1", "123.99"]),
    st.lists(texts, min_size=1, max_size=5),
)


@given(replies)
def test_print_then_parse_is_identity(value: Reply) -> None:
    assert read(bytes(value)) == [value]


@given(st.binary(max_size=300) | st.lists(replies).map(lambda some: b"".join(map(bytes, some))), st.integers(1, 9))
def test_chunking_never_changes_what_was_read(data: bytes, size: int) -> None:
    assert read(data, size) == read(data)
