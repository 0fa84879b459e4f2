from __future__ import annotations

import json
from email.utils import formataddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.mail.headers import format_field
from sekisho.wire.mail.smtpapi import BadAddress, Instructions, Malformed, Unsupported, parse


def test_the_four_keys_of_this_version() -> None:
    told = parse(
        b'{"to": ["Ann <ann@example.com>", "bob@EXAMPLE.org"],\t"category": ["a", "b"],'
        b' "unique_args": {"k": "v"}, "filters": {}}'
    )

    assert isinstance(told, Instructions)
    assert [(str(to.mailbox), to.text) for to in told.to] == [
        ("ann@example.com", "Ann <ann@example.com>"),
        ("bob@example.org", "bob@example.org"),
    ]
    assert told.categories == ("a", "b")
    assert told.category_is_list
    assert told.unique_args == (("k", "v"),)


@pytest.mark.parametrize(
    ("value", "categories", "is_list"),
    [(b'"one"', ("one",), False), (b"[]", (), True), (b'["one"]', ("one",), True), (b'""', (), False)],
)
def test_a_category_keeps_its_shape(value: bytes, categories: tuple[str, ...], is_list: bool) -> None:
    told = parse(b'{"category": ' + value + b"}")

    assert isinstance(told, Instructions)
    assert (told.categories, told.category_is_list) == (categories, is_list)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'{"sub": {}}', "sub"),
        (b'{"send_at": 1}', "send_at"),
        (b'{"filters": {"clicktrack": {"settings": {"enable": 1}}}}', "filters.clicktrack"),
        (b'{"asm_group_id": 3, "to": 5}', "asm_group_id"),
        (b'{"x\\r\\nBcc: y": 1}', "x??Bcc:?y"),
        ('{"' + "k" * 500 + '": 1}', "k" * 64),
    ],
)
def test_other_keys_are_named(value: bytes | str, key: str) -> None:
    assert parse(value.encode() if isinstance(value, str) else value) == Unsupported(key)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"NaN",
        b'{"unique_args": {"n": NaN}}',
        '{"category": "é"}'.encode(),
        b'{"category": "\\u00e9"}',
        b'{"category": 5}',
        b'{"category": ["a", 5]}',
        json.dumps({"category": ["c"] * 11}).encode(),
        b'{"to": "a@example.com"}',
        b'{"to": [5]}',
        b'{"unique_args": ["a"]}',
        b'{"unique_args": {"a": null}}',
        b'{"unique_args": {"a": 1e999}}',
        b'{"unique_args": {"\\ud800": "a", "\\ud801": "b"}}',
        b'{"unique_args": {"a": {"b": "c"}}}',
        json.dumps({"unique_args": {"a": "x" * 10_000}}).encode(),
        b'{"filters": "x"}',
        b'{"filters": null}',
        b'{"to": ["a@example.com"], "to": ["b@example.com"]}',
        b'{"filters": {"footer": {}}, "filters": {}}',
        b"[" * 100_000,
        b'{"to": ["' + b"a" * 2_000 + b'@example.com"]}',
    ],
)
def test_other_shapes_are_malformed(value: bytes) -> None:
    assert parse(value) == Malformed()


@pytest.mark.parametrize(
    "text",
    ["nobody", "a@b@c", "x <a b@example.com>", "a@example.com\r\nBcc: c@example.com", "Bad\u0000 <a@example.com>"],
)
def test_an_entry_that_is_no_address_is_named(text: str) -> None:
    assert isinstance(parse(json.dumps({"to": [text]}).encode()), BadAddress)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ('"Doe, Ann" <ann@example.com>', '"Doe, Ann" <ann@example.com>'),
        ("Doe, Ann <ann@example.com>", '"Doe, Ann" <ann@example.com>'),
        ("Zoë <zoe@example.com>", "=?utf-8?q?Zo=C3=AB?= <zoe@example.com>"),
        ("<ann@example.com>", "ann@example.com"),
    ],
)
def test_the_to_header_is_printed_anew(text: str, printed: str) -> None:
    told = parse(json.dumps({"to": [text]}).encode())

    assert isinstance(told, Instructions)
    assert told.to[0].text == printed


@given(st.text("ab \\\\\"'()<>@,:;.[]", max_size=12))
def test_an_ascii_name_is_written_as_the_library_does(name: str) -> None:
    told = parse(json.dumps({"to": [f"{name} <c@example.com>"]}).encode())

    bare = name.strip()
    if len(bare) > 1 and bare[0] == bare[-1] == '"':
        bare = bare[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    assert isinstance(told, Instructions)
    assert told.to[0].text == formataddr((bare, "c@example.com"))


def test_more_arguments_than_bytes_are_not_looked_at() -> None:
    assert parse(json.dumps({"unique_args": {str(number): "" for number in range(10_002)}}).encode()) == Malformed()


def test_a_long_name_is_written_in_words_that_fold() -> None:
    told = parse(json.dumps({"to": ["\u65e5" * 400 + " <c@example.com>"]}).encode())

    assert isinstance(told, Instructions)
    assert all(len(word) <= 75 for word in told.to[0].text.split())
    field = format_field(b"To", told.to[0].text.encode())
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))


def test_a_name_that_no_line_holds_is_no_address() -> None:
    assert isinstance(parse(json.dumps({"to": ['a"' * 450 + " <c@example.com>"]}).encode()), BadAddress)


def test_numbers_and_booleans_become_their_json_text() -> None:
    told = parse(b'{"unique_args": {"n": 12, "f": 1.5, "b": true}}')

    assert isinstance(told, Instructions)
    assert told.unique_args == (("n", "12"), ("f", "1.5"), ("b", "true"))


def test_php_writes_empty_objects_as_lists() -> None:
    assert parse(b'{"filters": [], "unique_args": []}') == Instructions()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(["to", "category", "unique_args", "filters", "sub"]), json_values).map(
        lambda v: json.dumps(v).encode()
    )
)
def test_no_input_raises_and_all_text_is_fit_to_print(value: bytes) -> None:
    match parse(value):
        case Instructions(to=to):
            assert all(entry.text.isascii() and "\n" not in entry.text and "\r" not in entry.text for entry in to)
        case Unsupported(text) | BadAddress(text):
            assert text.isascii()
            assert text.isprintable()
        case Malformed():
            pass
