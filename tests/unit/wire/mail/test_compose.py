"""What is composed, as the standard library's parser reads it."""

from __future__ import annotations

import email
import email.policy
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.utils import getaddresses
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.mail import headers
from sekisho.wire.mail.address import Mailbox, parse_from
from sekisho.wire.mail.compose import (
    Attachment,
    Composed,
    Named,
    Text,
    UnwritableHeaderError,
    address_field,
    compose,
    given_field,
    is_clean,
    is_media_type,
    text_field,
)

TOKEN = "0123456789abcdef"
ADA = Mailbox("ada", "example.test")
PLAIN, HTML = Text("text/plain", "Hello.\n"), Text("text/html", "<p>Hello.</p>")
PICTURE = Attachment(b"\x89PNG", "image/png", "logo.png", inline=True, content_id="logo")
FILE = Attachment(b"a,b\r\n", "text/csv", "a.csv")

clean = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]))
letters = st.text(st.characters(exclude_categories=["Cs"]))


def read(composed: Composed, *fields: bytes) -> EmailMessage:
    whole = b"".join(fields) + composed.fields + b"\r\n" + composed.body
    return email.message_from_bytes(whole, policy=email.policy.default)


def shape(message: MIMEPart) -> object:
    if message.is_multipart():
        return message.get_content_subtype(), [shape(part) for part in message.iter_parts()]
    return message.get_content_type()


def travels(composed: Composed) -> bool:
    whole = composed.fields + b"\r\n" + composed.body
    lines = whole.split(b"\r\n")
    return (
        whole.isascii()
        and b"\0" not in whole
        and whole.endswith(b"\r\n")
        and whole.count(b"\r") == whole.count(b"\n") == len(lines) - 1
        and all(len(line) <= 998 for line in lines)
    )


@pytest.mark.parametrize(
    ("texts", "attachments", "expected"),
    [
        ([PLAIN], [], "text/plain"),
        ([PLAIN, HTML], [], ("alternative", ["text/plain", "text/html"])),
        ([HTML], [PICTURE], ("related", ["text/html", "image/png"])),
        ([PLAIN], [FILE], ("mixed", ["text/plain", "text/csv"])),
        (
            [PLAIN, HTML],
            [FILE, PICTURE],
            ("mixed", [("related", [("alternative", ["text/plain", "text/html"]), "image/png"]), "text/csv"]),
        ),
    ],
)
def test_parts_are_nested_only_where_needed(texts: list[Text], attachments: list[Attachment], expected: object) -> None:
    message = read(compose(texts, attachments, TOKEN))

    assert shape(message) == expected
    assert not message.defects


@given(st.lists(letters, min_size=1, max_size=3))
def test_texts_come_back_and_every_hop_leaves_them_alone(values: list[str]) -> None:
    composed = compose([Text("text/plain", value) for value in values], [], TOKEN)

    message = read(composed)
    parts = message.iter_parts() if len(values) > 1 else [message]
    found = [cast("bytes", part.get_payload(decode=True)).decode() for part in parts]

    assert travels(composed)
    for value, text in zip(values, found, strict=True):
        # The line end before a boundary is the boundary's; one by itself has a last line end.
        wanted = value.replace("\r\n", "\n").replace("\r", "\n")
        assert text.replace("\r\n", "\n").removesuffix("\n") == wanted.removesuffix("\n")


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        ("plain\n", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("nul \0 in it", "quoted-printable"),
        ("Grüße aus der Ferne", "quoted-printable"),
        ("関所の手形", "base64"),
    ],
)
def test_the_plainest_encoding_that_works(value: str, encoding: str) -> None:
    composed = compose([Text("text/plain", value)], [], TOKEN)

    assert read(composed)["content-transfer-encoding"] == encoding
    assert travels(composed)


# The parser takes outer blanks, quotes and angle brackets off a parameter, also where they belong to it.
filenames = clean.map(lambda text: text.strip(' "<>')).filter(lambda text: bool(text) and text == text.strip())


@given(st.binary(max_size=400), filenames, st.booleans())
def test_files_come_back_with_their_names(content: bytes, name: str, inline: bool) -> None:
    composed = compose([PLAIN], [Attachment(content, "application/pdf", name, inline=inline)], TOKEN)

    (part,) = [part for part in read(composed).walk() if part.get_content_type() == "application/pdf"]

    assert travels(composed)
    assert part.get_payload(decode=True) == content
    assert part.get_content_disposition() == ("inline" if inline else "attachment")
    assert part.get_filename() == name


def test_a_content_id_stands_in_brackets() -> None:
    (_, picture) = read(compose([HTML], [PICTURE], TOKEN)).iter_parts()

    assert picture["content-id"] == "<logo>"


@given(clean)
def test_a_subject_comes_back(text: str) -> None:
    field = text_field(b"Subject", text)

    fields = headers.parse(field)
    assert isinstance(fields, tuple)
    assert len(fields) == 1
    assert field.isascii()
    assert read(compose([PLAIN], [], TOKEN), field)["subject"].strip(" ") == text.strip(" ")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("<1@example.test>", b"X-A: <1@example.test>\r\n"),
        ("=?utf-8?q?=C3=A4?=", b"X-A: =?utf-8?q?=C3=A4?=\r\n"),
        ("i" * 900, b"X-A: " + b"i" * 900 + b"\r\n"),
        ("ä", b"X-A: =?utf-8?b?w6Q=?=\r\n"),
    ],
)
def test_a_field_of_the_senders_own_stays_as_it_is(value: str, written: bytes) -> None:
    assert given_field(b"X-A", value) == written


@pytest.mark.parametrize("value", ["a\r\nBcc: x@y.example", "ä\nb", "i" * 1000])
def test_a_field_of_the_senders_own_that_cannot_stand(value: str) -> None:
    with pytest.raises(UnwritableHeaderError):
        given_field(b"X-A", value)


@given(clean)
def test_a_name_comes_back_beside_its_address(name: str) -> None:
    field = address_field(b"To", [Named(ADA, name), Named(ADA)])

    fields = headers.parse(field)
    assert isinstance(fields, tuple)
    assert len(fields) == 1
    # Addresses by the new parser, names by the old one: the new one shows the blank between two encoded words.
    (first, second) = read(compose([PLAIN], [], TOKEN), field)["to"].addresses
    assert (first.addr_spec, second.addr_spec, second.display_name) == ("ada@example.test", "ada@example.test", "")
    (shown, _), _ = getaddresses([fields[0].value.decode()])
    assert str(make_header(decode_header(shown))).split() == name.split()


@given(clean.filter(lambda text: not set(text) & set('<>@\\"')))
def test_a_from_reads_as_the_address_that_is_checked(name: str) -> None:
    (field,) = headers.parse(address_field(b"From", [Named(ADA, name)]))  # type: ignore[misc]

    assert parse_from(field.value) == ADA


@pytest.mark.parametrize("bad", ["a\r\nBcc: x@y.example", "a\nb", "a\0b", "a\x7f", "a\u2028b", "a\x85b", "\ud800"])
def test_nothing_ends_a_field(bad: str) -> None:
    assert not is_clean(bad)
    with pytest.raises(UnwritableHeaderError):
        text_field(b"Subject", bad)
    with pytest.raises(UnwritableHeaderError):
        address_field(b"To", [Named(ADA, bad)])


@pytest.mark.parametrize("name", [b"", b"X Y", b"X:", b"X\r\nBcc", "Ä".encode()])
def test_a_field_name_is_one(name: bytes) -> None:
    with pytest.raises(UnwritableHeaderError):
        text_field(name, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text/plain", True),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", True),
        ("text", False),
        ("text/", False),
        ("text/plain; charset=x", False),
        ("text/plain\r\nX: y", False),
        ("", False),
    ],
)
def test_media_types(text: str, expected: bool) -> None:
    assert is_media_type(text) is expected
