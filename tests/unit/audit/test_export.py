from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.chain import Link, Personal, verify
from sekisho.audit.export import CSV_HEAD, BadExport, encode_line, encode_row, read_lines
from tests.unit.audit.test_chain import chained, flaws

texts = st.text(max_size=20)
personals = st.builds(Personal, texts, st.none() | texts, st.none() | texts)
whole = st.builds(
    Link,
    chain=st.just(7),
    seq=st.integers(1, 10),
    at_ms=st.integers(0, 1 << 50),
    action=texts,
    subject=texts,
    details=texts,
    commitment=st.binary(min_size=32, max_size=32),
    hash=st.binary(min_size=32, max_size=32),
    salt=st.binary(min_size=16, max_size=16),
    personal=personals,
)


@given(st.lists(whole, min_size=1, max_size=5))
def test_printing_and_reading_is_identity(links: list[Link]) -> None:
    chain, found = read_lines([encode_line(link) for link in links])
    assert (chain, list(found)) == (7, links)


def test_an_export_verifies_and_a_changed_one_does_not() -> None:
    lines = [encode_line(link) for link in chained(4)]
    chain, found = read_lines(lines)
    assert list(verify(chain, found)) == []
    _, found = read_lines([lines[0], lines[1].replace(b"key.create", b"key.revoke"), *lines[2:]])
    assert [seq for _, seq in flaws(list(found))] == [2]


@pytest.mark.parametrize("lines", [[], [b"\n"], [b"{}\n"], [b"no json"]])
def test_anything_else_is_named(lines: list[bytes]) -> None:
    with pytest.raises(BadExport):
        read_lines(lines)


def test_two_logs_in_one_file_are_refused() -> None:
    _, found = read_lines([encode_line(chained(1)[0]), encode_line(chained(1, chain=8)[0])])
    with pytest.raises(BadExport, match="line 2 is of another log"):
        list(found)


def test_a_table_for_people_keeps_formulas_from_running() -> None:
    (link,) = chained(1)
    odd = replace(link, subject='=cmd|"x",1', personal=Personal("user:7", None, '{"email":"a@example.com"}'))
    (row,) = csv.reader([encode_row(odd).decode()])
    assert row == [
        "1",
        "1970-01-01T00:00:01.001+00:00",
        "key.create",
        '\'=cmd|"x",1',
        "user:7",
        "",
        '{"email":"a@example.com"}',
    ]
    assert CSV_HEAD.decode().strip().split(",") == ["seq", "at", "action", "subject", "actor", "address", "details"]
