"""From what somebody wants to say to a message: header fields and MIME parts (RFC 5322, 2045-2047, 2183, 2231, 2387).

What comes out is 7-bit, its lines within 998 octets, and has exactly the structure made here: no value given can end a
field, a part or the header. The fields that the way in adds (trace, Message-ID, Date) are not made here.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sekisho.wire.mail import headers
from sekisho.wire.mail.address import Mailbox
from sekisho.wire.mail.headers import LINE_LENGTH_MAX, UnwritableHeaderError

__all__ = [
    "Attachment",
    "Composed",
    "Named",
    "Text",
    "UnwritableHeaderError",
    "address_field",
    "compose",
    "given_field",
    "is_clean",
    "is_media_type",
    "text_field",
]


@dataclass(frozen=True, slots=True)
class Named:
    """A mailbox with the name people see."""

    mailbox: Mailbox
    name: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """One way of saying it; several are alternatives, the plainest first (RFC 2046 §5.1.4)."""

    type: str
    """``text/plain``: a media type without parameters."""
    value: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that comes with the text."""

    content: bytes
    type: str
    filename: str
    inline: bool = False
    """Shown where the text refers to ``content_id``."""
    content_id: str = ""
    """Printable ASCII without blanks and angle brackets; empty = none."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A whole entity: its MIME fields, and its body, which ends in CRLF."""

    fields: bytes
    body: bytes


_CRLF = b"\r\n"
_BASE64_LINE = 76
"""RFC 2045 §6.8."""
_WORD_OCTETS = 45
"""Of an encoded word's text: 60 characters of base64 and 12 around them are within the 75 of RFC 2047 §2."""
_RUN_MAX = 200
"""A run without blanks that is longer is written in encoded words, which can be folded."""

_is_token_pair = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}").fullmatch
_is_plain_name = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++)*+").fullmatch
_is_simple_filename = re.compile(r"[A-Za-z0-9!#$&'()+,./:;=@\[\]^_`{}~ -]{1,60}").fullmatch
_has_long_run = re.compile(rf"[^\t ]{{{_RUN_MAX}}}").search
_has_control = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_PLAIN = bytes((0x09, 0x0A, 0x0D, *range(0x20, 0x7F)))
_ASCII = bytes(range(128))


def is_clean(text: str) -> bool:
    """Tell whether this may stand in a header field: no control character, no line end of any kind, only letters."""
    return _has_control(text) is None


def is_media_type(text: str) -> bool:
    """Tell whether this is ``type/subtype`` without parameters (RFC 6838 §4.2)."""
    return _is_token_pair(text) is not None


# The header.


def text_field(name: bytes, text: str) -> bytes:
    """Write an unstructured field (Subject), in encoded words where it has to be.

    Raises UnwritableHeaderError: a bad name, or a control character in the text.
    """
    if not is_clean(text.replace("\t", " ")):
        raise UnwritableHeaderError(name, "a control character in the value")
    return headers.format_field(name, _encoded(text) if _needs_encoding(text) else text.encode("ascii"))


def given_field(name: bytes, value: str) -> bytes:
    """Write a field of the sender's own: ASCII as it is given (it may be an id, or encoded already), else encoded.

    Raises UnwritableHeaderError as ``text_field`` does, and for a run that no fold brings under 998 octets.
    """
    if not value.isascii():
        return text_field(name, value)
    return headers.format_field(name, value.encode("ascii"))


def address_field(name: bytes, people: Sequence[Named]) -> bytes:
    """Write a field of addresses (From, To, Cc, Reply-To). Raises UnwritableHeaderError as ``text_field`` does."""
    for one in people:
        if not is_clean(one.name):
            raise UnwritableHeaderError(name, "a control character in a name")
    return headers.format_field(name, b", ".join([_shown(one) for one in people]))


def _shown(one: Named) -> bytes:
    address = str(one.mailbox).encode("ascii")
    name = one.name.strip(" ")
    if not name:
        return address
    if _needs_encoding(name):
        return b"%b <%b>" % (_encoded(name), address)
    if not _is_plain_name(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return b"%b <%b>" % (name.encode("ascii"), address)


def _needs_encoding(text: str) -> bool:
    # "=?" would be read as an encoded word that was never meant to be one.
    return not text.isascii() or "=?" in text or _has_long_run(text) is not None


def _encoded(text: str) -> bytes:
    """Encode in words (RFC 2047), cut between letters; blanks between words are not part of the text."""
    words: list[bytes] = []
    piece = bytearray()
    for letter in text:
        octets = letter.encode()
        if len(piece) + len(octets) > _WORD_OCTETS:
            words.append(bytes(piece))
            piece.clear()
        piece += octets
    words.append(bytes(piece))
    return b" ".join([b"=?utf-8?b?%b?=" % binascii.b2a_base64(word, newline=False) for word in words])


# The body.


def compose(texts: Sequence[Text], attachments: Sequence[Attachment], token: str) -> Composed:
    """Put the parts together: mixed(related(alternative(texts), inline…), attached…), each only where it is needed.

    ``token`` is random, ASCII letters and digits: what makes boundaries that no content can hold.
    """
    entity = _alternatives([_text(text) for text in texts], token)
    inline = [_attachment(one) for one in attachments if one.inline]
    if inline:
        root = texts[0].type if len(texts) == 1 else "multipart/alternative"
        entity = _multipart("related", [entity, *inline], f"=_1_{token}", f'; type="{root}"')
    attached = [_attachment(one) for one in attachments if not one.inline]
    if attached:
        entity = _multipart("mixed", [entity, *attached], f"=_2_{token}")
    return Composed(b"MIME-Version: 1.0\r\n" + entity.fields, entity.body)


def _alternatives(parts: Sequence[Composed], token: str) -> Composed:
    return parts[0] if len(parts) == 1 else _multipart("alternative", parts, f"=_0_{token}")


def _multipart(kind: str, parts: Sequence[Composed], boundary: str, more: str = "") -> Composed:
    mark = b"--" + boundary.encode("ascii")
    pieces: list[bytes] = []
    for part in parts:
        pieces += (mark, _CRLF, part.fields, _CRLF, part.body)
    pieces += (mark, b"--\r\n")
    fields = f'Content-Type: multipart/{kind}{more};\r\n boundary="{boundary}"\r\n'
    return Composed(fields.encode("ascii"), b"".join(pieces))


def _text(text: Text) -> Composed:
    raw = text.value.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").replace(b"\n", _CRLF)
    encoding, body = _transfer_encoded(raw)
    fields = f'Content-Type: {text.type}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n'
    return Composed(fields.encode("ascii"), body if body.endswith(_CRLF) else body + _CRLF)


def _transfer_encoded(raw: bytes) -> tuple[str, bytes]:
    """The plainest encoding that every hop leaves alone (RFC 2045 §6)."""
    if not raw.translate(None, _PLAIN) and _lines_fit(raw):
        return "7bit", raw
    foreign = len(raw.translate(None, _ASCII))
    if foreign * 5 > len(raw):
        return "base64", _base64(raw)
    return "quoted-printable", binascii.b2a_qp(raw, istext=True).replace(b"\r\n", b"\n").replace(b"\n", _CRLF)


def _lines_fit(raw: bytes) -> bool:
    return len(raw) <= LINE_LENGTH_MAX or max(map(len, raw.split(_CRLF))) <= LINE_LENGTH_MAX


def _base64(raw: bytes) -> bytes:
    whole = binascii.b2a_base64(raw, newline=False)
    return _CRLF.join([whole[at : at + _BASE64_LINE] for at in range(0, len(whole), _BASE64_LINE)]) + _CRLF


def _attachment(one: Attachment) -> Composed:
    fields = [f"Content-Type: {one.type}\r\nContent-Transfer-Encoding: base64\r\n"]
    kind = "inline" if one.inline else "attachment"
    fields.append(f"Content-Disposition: {kind};\r\n {_filename(one.filename)}\r\n")
    if one.content_id:
        fields.append(f"Content-ID: <{one.content_id}>\r\n")
    return Composed("".join(fields).encode("ascii"), _base64(one.content))


def _filename(name: str) -> str:
    """Write the parameter: quoted where that is enough, else in as many RFC 2231 sections as it takes."""
    if _is_simple_filename(name):
        return f'filename="{name}"'
    sections = [""]
    for octet in name.encode("utf-8", "replace"):
        shown = chr(octet) if octet in _ATTRIBUTE else f"%{octet:02X}"
        if len(sections[-1]) + len(shown) > _SECTION:
            sections.append("")
        sections[-1] += shown
    if len(sections) == 1:
        return f"filename*=utf-8''{sections[0]}"
    sections[0] = f"utf-8''{sections[0]}"
    return ";\r\n ".join(f"filename*{number}*={section}" for number, section in enumerate(sections))


_SECTION = 48
_ATTRIBUTE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{}~")
"""attribute-char of RFC 2231 §7."""
