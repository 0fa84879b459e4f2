from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.mail import encoded_words
from sekisho.wire.mail.encoded_words import decode_all


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"plain", []),
        (b"=?utf-8?Q?J=C3=B6rg_M?=", ["Jörg M"]),
        (b"a =?UTF-8?B?SsO2cmc=?= b =?iso-8859-1?q?=E9?= c", ["Jörg", "é"]),
        (b"=?utf-8?Q?a?==?utf-8?Q?b?=", ["a", "b"]),
        (b"=?utf-8*de?Q?a?=", ["a"]),
        (b"=?iso-2022-jp?B?GyRCOzNFRBsoQg==?=", ["山田"]),
        (b"=?Shift_JIS?B?jlKTYw==?=", ["山田"]),
        (b"=?utf-8?Q?a b?=", ["a b"]),
        (b"=?utf-8?Q??=", [""]),
        (b"=?utf-8?Q?=C3?=", ["�"]),
        (b"=?utf-8?B?SsO2cmc?=", ["Jörg"]),
    ],
)
def test_words_that_are_read(value: bytes, words: list[str]) -> None:
    assert decode_all(value) == words


@pytest.mark.parametrize(
    "value",
    [
        b"=?utf-7?Q?+ADw-?=",
        b"=?utf-16?Q?a?=",
        b"=?unicode-escape?Q?a?=",
        b"=?nonsense?Q?a?=",
        b"=?utf-8?Q?a",
        b"a?=",
        b"=?utf-8?B?!!!!?=",
        b"=?utf-8?B?a?=",
        b"=?utf-8?Z?a?=",
        b"=?a?Q?=?utf-8?Q?b?=",
        b"=?utf-8?Q?a?=?utf-8?Q?b?=",
    ],
)
def test_words_that_are_not(value: bytes) -> None:
    assert decode_all(value) is None


def test_every_character_set_of_the_table_exists_and_reads_ascii_as_ascii() -> None:
    ascii_text = bytes(range(32, 127))
    for name, codec in encoded_words._CODECS.items():
        assert codecs.lookup(codec)
        decoded = ascii_text.decode(codec)
        assert {mark: decoded.count(mark) for mark in "<>@"} == dict.fromkeys("<>@", 1), name


@given(st.lists(st.sampled_from([b"=?", b"?=", b"?", b"=", b"utf-8", b"Q", b"B", b"*", b"aGk=", b" "])).map(b"".join))
def test_nothing_breaks_it(value: bytes) -> None:
    words = decode_all(value)
    assert words is None or len(words) == value.count(b"=?") or words
