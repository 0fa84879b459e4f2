"""Encoded words: no value raises, no more comes out than went in, and what a plain encoder wrote comes back."""

from __future__ import annotations

import base64

from sekisho.wire.mail.encoded_words import decode_all
from tests.fuzz.drawing import Draw

TOKENS = (
    b"=?utf-8?q?", b"=?utf-8?b?", b"=?iso-8859-1?q?", b"=?iso-2022-jp?b?", b"=?gb18030?b?", b"=?shift_jis?q?", b"?=",
    b"=?", b"=3D", b"_", b"=", b"==", b"?", b"*en?", b"=1B", b"$B", b"YQ==", b"\xff", b"=?utf-7?q?",
    b"=?big5-hkscs?b?",
)  # fmt: skip

_CHARSETS = ("utf-8", "iso-8859-1", "koi8-r", "gb18030", "euc-jp", "iso-2022-jp", "big5", "windows-1252")


def target(data: bytes) -> None:
    draw = Draw(data)
    if draw.flag():
        _round_trip(_CHARSETS[draw.octet() % len(_CHARSETS)], draw.flag(), draw.rest())
        return
    value = draw.rest()
    words = decode_all(value)
    if words is not None:
        assert sum(map(len, words)) <= len(value)
        assert len(words) == value.count(b"=?") or b"=?" in value.replace(b"=?", b"", 1)
    else:
        assert b"=?" in value or b"?=" in value


def _round_trip(charset: str, quoted: bool, octets: bytes) -> None:
    try:
        text = octets.decode(charset)
        raw = text.encode(charset)
    except UnicodeError:
        return
    # RFC 2047 §4.2: a blank is "_", all else may be written as its number.
    letters = (b"_" if octet == 32 else b"=%02X" % octet for octet in raw)
    written = b"".join(letters) if quoted else base64.b64encode(raw)
    value = b"a =?%s?%s?%s?= b" % (charset.encode(), b"Q" if quoted else b"B", written)
    assert decode_all(value) == [text]
