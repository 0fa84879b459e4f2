from __future__ import annotations

import base64
import hashlib
import itertools
import re
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sekisho.wire.dkim.canonical import BodyHash, body_hash, relaxed_body, relaxed_header, relaxed_value


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        # RFC 6376 §3.4.5, example 1
        (b"A: X\r\n", b"a:X\r\n"),
        (b"B : Y\t\r\n\tZ  \r\n", b"b:Y Z\r\n"),
        (b"Subject:\r\n  two \t \r\n\twords \r\n", b"subject:two words\r\n"),
        (b"X-Empty:\r\n", b"x-empty:\r\n"),
        (b"X-Empty: \t \r\n", b"x-empty:\r\n"),
        (b"X: a:b : c\r\n", b"x:a:b : c\r\n"),
        (b"X: \x0b a \xa0\r\n", b"x:\x0b a \xa0\r\n"),  # WSP is space and tab only
    ],
)
def test_relaxed_headers(raw: bytes, canonical: bytes) -> None:
    assert relaxed_header(raw) == canonical


_BODIES = [
    # RFC 6376 §3.4.5, example 1
    (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
    (b"", b""),
    (b"\r\n", b""),
    (b"\r\n\r\n\r\n", b""),
    (b" \t\r\n \r\n", b""),
    (b" ", b""),
    (b"\t \r\n ", b""),
    (b"a", b"a\r\n"),
    (b"a ", b"a\r\n"),
    (b"a\r\n ", b"a\r\n"),
    (b"a\r\n\r\n \t", b"a\r\n"),
    (b"a\tb\r\n", b"a b\r\n"),
    (b"a\r\n", b"a\r\n"),
    (b"\r\na\r\n", b"\r\na\r\n"),
    (b"a\r\n \t\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    (b"  a\r\n", b" a\r\n"),
    (b"\ta\r\n", b" a\r\n"),
    (b".\r\n..\r\n", b".\r\n..\r\n"),
    (b"\xff\xc3\xb6  \r\n", b"\xff\xc3\xb6\r\n"),
    # A CR or LF alone never gets here; if it did it would be an octet like others.
    (b"a\r", b"a\r\r\n"),
    (b"a \r", b"a \r\r\n"),
    (b"a\n\n", b"a\n\n\r\n"),
    (b"a\r\r\n", b"a\r\r\n"),
    (b"a\n\r\n\r\n", b"a\n\r\n"),
    (b"a\r\n\r", b"a\r\n\r\r\n"),
    (b"a\r\n\n", b"a\r\n\n\r\n"),
]


@pytest.mark.parametrize(("body", "canonical"), _BODIES)
def test_relaxed_bodies(body: bytes, canonical: bytes) -> None:
    assert relaxed_body(body) == canonical
    assert body_hash(body) == hashlib.sha256(canonical).digest()
    assert _streamed([body]) == body_hash(body)


def test_the_hash_of_an_empty_body_is_the_published_one() -> None:
    # RFC 6376 §3.4.4
    assert base64.b64encode(body_hash(b"")) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert _streamed([]) == body_hash(b"")


def test_a_canonical_body_is_not_copied() -> None:
    body = b"Hello,\r\n\r\nworld.\r\n"
    assert relaxed_body(body) is body


def _streamed(chunks: list[bytes]) -> bytes:
    hashing = BodyHash()
    for chunk in chunks:
        hashing.update(chunk)
    return hashing.digest()


def _reference(body: bytes) -> bytes:
    """RFC 6376 §3.4.4 as it is written, line by line."""
    lines = [re.sub(rb"[ \t]+", b" ", line) for line in body.split(b"\r\n")]
    lines = [line.removesuffix(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


_PIECES = [b"\r\n", b"\r\n", b" ", b"  ", b"\t", b"a", b"bc", b".", b"\xff", b"\r\n\r\n\r\n", b" \r\n", b" " * 7]
_LOOSE = [*_PIECES, b"\r", b"\n"]


@given(st.lists(st.sampled_from(_LOOSE), max_size=30).map(b"".join))
def test_the_body_form_is_what_the_rfc_says(body: bytes) -> None:
    assert relaxed_body(body) == _reference(body)
    assert relaxed_body(relaxed_body(body)) == relaxed_body(body)


@given(st.lists(st.sampled_from(_LOOSE), max_size=30).map(b"".join), st.lists(st.integers(0, 120), max_size=8))
@example(b"a \r\n\r\nb", list(range(8)))
def test_no_cut_changes_the_hash(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in itertools.pairwise(edges)]
    assert _streamed(chunks) == body_hash(body)
    assert _streamed([bytes((octet,)) for octet in body]) == body_hash(body)


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"x", b"\x0b"]), max_size=20).map(b"".join))
def test_the_header_form_is_what_the_rfc_says(value: bytes) -> None:
    reference = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" ")
    assert relaxed_value(value) == reference
    assert relaxed_header(b"NaMe \t:" + value + b"\r\n") == b"name:" + reference + b"\r\n"


_RUN = 500_000


@pytest.mark.parametrize("filler", [b" ", b"\t", b"\r\n", b" \r\n", b" \t"])
def test_long_runs_are_linear_and_held_as_numbers(filler: bytes) -> None:
    run = filler * (_RUN // len(filler))
    for body in (b"a" + run, b"a" + run + b"b", run):
        # A quadratic canonicaliser does not come back from this in any patience.
        expected = body_hash(body)
        assert expected == hashlib.sha256(_reference(body)).digest()
        assert _streamed([body[at : at + 65_536] for at in range(0, len(body), 65_536)]) == expected


@pytest.mark.parametrize("filler", [b" ", b"\r\n", b" \r\n"])
def test_streaming_keeps_no_more_than_a_piece(filler: bytes) -> None:
    piece = filler * (65_536 // len(filler))
    hashing = BodyHash()
    hashing.update(b"a")
    tracemalloc.start()
    try:
        for _ in range(200):  # 12.5 MiB
            hashing.update(piece)
        hashing.update(b"b")
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()
    assert hashing.digest() == body_hash(b"a" + piece * 200 + b"b")
