"""X-SMTPAPI: no value raises, what is taken is within the vendor's bounds and can be stored, and each To header names
one mailbox to everybody who reads it.
"""

from __future__ import annotations

import json
from email.utils import getaddresses

from sekisho.wire.mail import headers
from sekisho.wire.mail.smtpapi import (
    CATEGORIES_MAX,
    CATEGORY_LENGTH_MAX,
    RECIPIENTS_MAX,
    UNIQUE_ARGS_BYTES_MAX,
    BadAddress,
    Instructions,
    Malformed,
    Unsupported,
    parse,
)

TOKENS = (
    b'{"to":["', b'"]}', b'{"category":"', b'{"category":["', b'{"unique_args":{"', b'":"', b'"}}', b'","', b"[]",
    b"{}", b'"filters":{', b'"section":', b"a@b.example", b"X <a@b.example>", b'\\"', b"\\\\", b"\\u00fc", b"\\ud800",
    b"\\u0000", b"\\r\\n", b"\\n ", b"<", b">", b"(", b"@", b",", b"1e999", b"-0", b"1.0", b"true", b"null", b"NaN",
    b"\xff", b"[" * 99, b"9" * 4400, b"=?utf-8?q?", b"?=",
)  # fmt: skip


def target(data: bytes) -> None:
    match parse(data):
        case Instructions() as told:
            _check(told, data)
        case Unsupported(text) | BadAddress(text):
            assert len(text) <= 64
            assert text.isascii()
            assert not text or text.replace("?", "").isprintable()
            assert " " not in text
        case Malformed():
            pass


def _check(told: Instructions, data: bytes) -> None:
    asked = json.loads(data)
    assert not set(asked) - {"to", "category", "unique_args", "filters"}
    assert len(told.to) == len(asked.get("to", [])) <= RECIPIENTS_MAX
    for to in told.to:
        printed = to.text.encode("ascii")
        fields = headers.parse(headers.format_field(b"To", printed))
        assert not isinstance(fields, headers.HeaderFault)
        assert [name for _, name in getaddresses([to.text])] == [str(to.mailbox)]
    categories = asked.get("category", "")
    assert told.category_is_list == isinstance(categories, list)
    assert list(told.categories) == (categories if told.category_is_list else [categories] if categories else [])
    assert len(told.categories) <= CATEGORIES_MAX
    assert all(len(category) <= CATEGORY_LENGTH_MAX and category.isascii() for category in told.categories)
    # Stored as UTF-8 and shown as one JSON object: no name may hide another.
    arguments = dict(told.unique_args)
    assert len(arguments) == len(told.unique_args) == len(asked.get("unique_args", {}))
    assert sum(len(name.encode()) + len(text.encode()) for name, text in arguments.items()) <= UNIQUE_ARGS_BYTES_MAX
    for (name, text), (name_asked, value) in zip(
        arguments.items(), dict(asked.get("unique_args") or {}).items(), strict=True
    ):
        assert name == name_asked.encode("utf-8", "replace").decode()
        if isinstance(value, str):
            assert text == value.encode("utf-8", "replace").decode()
        else:
            assert json.loads(text, parse_constant=_no_json) == value


def _no_json(text: str) -> None:
    message = f"{text} is no JSON"
    raise AssertionError(message)
