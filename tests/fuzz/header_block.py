"""Header blocks: the fields joined are the block, the standard library finds the same ones, and ours read back."""

from __future__ import annotations

from email import message_from_bytes

from sekisho.wire.mail.headers import (
    FIELDS_MAX,
    LINE_LENGTH_MAX,
    SINGLE,
    HeaderFault,
    UnwritableHeaderError,
    find_duplicate,
    format_field,
    parse,
)
from tests.fuzz.drawing import Draw

TOKENS = (
    b"From: a@b.example\r\n", b"Subject: x\r\n", b" fold\r\n", b"\tfold\r\n", b"\r\n", b":", b" ", b"\r", b"\n", b"\0",
    b"\v", b"\f", b"\x85", b"\xe2\x80\xa8", b"\x1c", b"From a\r\n", b"x" * 998, b"A :", b"\xff", b"subject:\r\n",
)  # fmt: skip


def target(data: bytes) -> None:
    draw = Draw(data)
    if draw.flag():
        _written(draw.piece(draw.octet()), draw.rest())
    else:
        _read(draw.rest())


def _read(block: bytes) -> None:
    fields = parse(block)
    if isinstance(fields, HeaderFault):
        assert len(fields.name) <= 40
        assert fields.name.isascii()
        assert fields.name.decode().isprintable()
        return
    assert len(fields) <= FIELDS_MAX
    assert b"".join(field.raw for field in fields) == block
    for field in fields:
        assert field.name == field.name.lower()
        assert field.raw.lower().startswith(field.name + b":")
        assert all(len(line) <= LINE_LENGTH_MAX for line in field.raw.split(b"\r\n"))
        assert not set(field.value) & set(b"\r\n\0")
    # Whoever reads it with Python sees the same fields.
    theirs = message_from_bytes(block + b"\r\n").raw_items()
    assert [(name.lower(), _bare(str(value))) for name, value in theirs] == [
        (field.name.decode(), field.value.decode("ascii", "surrogateescape")) for field in fields
    ]
    names = [field.name for field in fields]
    double = find_duplicate(fields)
    assert (double is not None) == any(names.count(name) > 1 for name in SINGLE)


def _bare(value: str) -> str:
    return value.replace("\r\n", "").strip(" \t")


def _written(name: bytes, value: bytes) -> None:
    try:
        raw = format_field(name, value)
    except UnwritableHeaderError as unwritable:
        error = str(unwritable)
        assert error.isprintable()
        return
    fields = parse(raw)
    assert not isinstance(fields, HeaderFault)
    (field,) = fields
    assert field.name == name.lower()
    assert field.value == value.strip(b" \t")
