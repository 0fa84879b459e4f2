"""Addresses: what one reader takes, others read the same.

Four readings of a From header that was accepted must agree with ours: the first and the last thing in angle brackets,
the same after encoded words were decoded, and the standard library's. Whatever the C library's ``inet_aton`` takes for
an address is a local name to us.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from email.utils import getaddresses

from sekisho.wire.mail.address import (
    ADDRESS_LENGTH_MAX,
    LOCAL_LENGTH_MAX,
    Mailbox,
    is_domain,
    is_local_name,
    parse_from,
    parse_path,
)
from sekisho.wire.mail.encoded_words import decode_all
from tests.fuzz.drawing import Draw

TOKENS = (
    b"a@b.example", b"<a@b.example>", b"<", b">", b'"', b"\\", b"(", b")", b",", b";", b":", b"@", b".", b"\r\n ",
    b"=?utf-8?q?a?=", b"=?utf-8?b?YQ==?=", b"=?iso-2022-jp?b?", b"?=", b"=?", b"=3C", b"=40", b"\xff", b"\x81\x5c",
    b"\t", b"127.1", b"0x7f.1", b"0177.0.0.1", b"[::1]", b"localhost", b"xn--", b"-", b"John Q. Public ",
    b'"a..b"@c.example', b"%", b"!", b"\v", b"group: a@b.example;",
)  # fmt: skip


def target(data: bytes) -> None:
    draw = Draw(data)
    match draw.octet() % 3:
        case 0:
            _header(draw.rest())
        case 1:
            _path(draw.rest().decode("latin-1"))
        case _:
            _domain(draw.rest().decode("latin-1"))


def _header(value: bytes) -> None:
    mailbox = parse_from(value)
    if mailbox is None:
        return
    address = str(mailbox)
    assert len(address) <= ADDRESS_LENGTH_MAX
    assert is_domain(mailbox.domain)
    assert mailbox.domain == mailbox.domain.lower()
    text = value.replace(b"\r\n", b"").decode("latin-1")
    _agree(mailbox, _in_brackets(text, first=True))
    _agree(mailbox, _in_brackets(text, first=False))
    if words := decode_all(value):
        rest = iter(words)
        decoded = _encoded_word.sub(lambda _: next(rest), text)
        assert next(rest, None) is None
        _agree(mailbox, _in_brackets(decoded, first=True))
        _agree(mailbox, _in_brackets(decoded, first=False))
    others = [found for _, found in getaddresses([text]) if found]
    # It unquotes what needs no quotes; newer versions give nothing where they are not sure.
    assert [_unquoted(found) for found in others] in ([], [_unquoted(address)])


_encoded_word = re.compile(r"=\?[^?]*\?[BbQq]\?[^?]*\?=")


def _in_brackets(text: str, *, first: bool) -> str | None:
    if "<" not in text:
        return None
    return text[text.find("<") + 1 : text.find(">")] if first else text[text.rfind("<") + 1 : text.rfind(">")]


def _agree(mailbox: Mailbox, read: str | None) -> None:
    if read is not None:
        local, _, domain = read.rpartition("@")
        assert Mailbox(local, domain.lower()) == mailbox


def _unquoted(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return local.strip('"') + "@" + domain.lower()


def _path(text: str) -> None:
    mailbox = parse_path(text)
    if mailbox is None:
        return
    assert len(str(mailbox)) <= ADDRESS_LENGTH_MAX
    assert len(mailbox.local) <= LOCAL_LENGTH_MAX
    assert str(mailbox).isascii()
    assert str(mailbox).isprintable()
    assert parse_path(str(mailbox)) == mailbox
    assert str(mailbox).lower() == text.lower()
    assert is_domain(mailbox.domain) != mailbox.domain.startswith("[")
    if not mailbox.local.startswith('"'):
        assert str(mailbox).count("@") == 1


def _domain(text: str) -> None:
    assert is_local_name(text + ".") == is_local_name(text)
    assert is_local_name(text.upper()) == is_local_name(text) or not text.isascii()
    name = text.rstrip(".")
    if not is_local_name(text):
        assert is_domain(name)
        with contextlib.suppress(OSError, UnicodeError, ValueError):
            socket.inet_aton(name)
            message = f"{name!r} is an address"
            raise AssertionError(message)
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            message = f"{name!r} is an address"
            raise AssertionError(message)
