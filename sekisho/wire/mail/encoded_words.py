"""Encoded words (RFC 2047): what a receiver shows for ``=?charset?encoding?text?=``."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping

_word = re.compile(rb"=\?([^?*]*+)(?:\*[^?]*+)?+\?([BbQq])\?([^?]*+)\?=")
_hex_pair = re.compile(rb"=([0-9A-Fa-f]{2})")


def decode_all(value: bytes) -> list[str] | None:
    """Decode every encoded word in a header value, in their order; None when one cannot be read for certain.

    Lenient in finding them (readers are: inside quotes, glued together, with blanks in the text) and strict in reading
    them: a mark that belongs to no whole word, a character set outside the table and broken base64 are all None,
    because a guess here is a guess at what others guess.
    """
    words: list[str] = []
    rest: list[bytes] = []
    end = 0
    for found in _word.finditer(value):
        rest.append(value[end : found.start()])
        end = found.end()
        word = _decode(found[1], found[2], found[3])
        if word is None:
            return None
        words.append(word)
    rest.append(value[end:])
    if any(b"=?" in part or b"?=" in part for part in rest):
        return None
    return words


def _decode(charset: bytes, encoding: bytes, text: bytes) -> str | None:
    codec = _CODECS.get(charset.lower().replace(b"_", b"-"))
    if codec is None:
        return None
    if encoding in b"Qq":
        raw = _hex_pair.sub(_octet, text.replace(b"_", b" "))
    else:
        try:
            bare = text.rstrip(b"=")
            raw = binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
        except binascii.Error:
            return None
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        # Half a letter: readers that join words before they decode see another one there, and in GBK, Big5 or
        # Shift_JIS its second half may be an "@". In UTF-8 no octet of a letter is ASCII, so nothing can hide.
        return raw.decode(codec, "replace") if codec in ("utf-8", "utf8") else None


def _octet(pair: re.Match[bytes]) -> bytes:
    return bytes((int(pair[1], 16),))


def _table() -> Mapping[bytes, str]:
    """Character sets that mail is written in, by their MIME names; never one where ``+ADw-`` or ``~{`` means ``<``."""
    names = {f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))}
    names |= {f"windows-125{page}": f"cp125{page}" for page in range(9)}
    names |= {f"cp125{page}": f"cp125{page}" for page in range(9)}
    names |= {
        name: name
        for name in (
            "utf-8",
            "utf8",
            "us-ascii",
            "ascii",
            "latin1",
            "koi8-r",
            "koi8-u",
            "gb2312",
            "gbk",
            "gb18030",
            "big5",
            "big5-hkscs",
            "euc-jp",
            "euc-kr",
            "iso-2022-jp",
            "iso-2022-kr",
            "tis-620",
        )
    }
    # The names of mail on the left; on the right the supersets that browsers and mail programs really use for them.
    names |= {"shift-jis": "cp932", "sjis": "cp932", "windows-31j": "cp932", "ks-c-5601-1987": "cp949"}
    names |= {"iso-8859-8-i": "iso8859-8", "windows-874": "cp874", "macintosh": "mac-roman", "cp932": "cp932"}
    return {name.encode("ascii"): codec for name, codec in names.items()}


_CODECS = _table()
