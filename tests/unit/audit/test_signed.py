from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.chain import Head
from sekisho.audit.signed import BadHead, Signer, read_heads
from sekisho.sealing import MasterKey, Sealer
from sekisho.secret import Secret
from tests.fakes.control import SEALER

SIGNER = Signer(SEALER)
HEAD = Head(3, 17, bytes(range(32)))


def test_what_was_signed_reads_back() -> None:
    lines = [SIGNER.sign(HEAD, 5), b"\n", SIGNER.sign(Head(0, 1, bytes(32)), 6)]
    found = list(read_heads(iter(lines), SIGNER.public_key))
    assert [(one.head, one.at_ms) for one in found] == [(HEAD, 5), (Head(0, 1, bytes(32)), 6)]


def test_the_key_belongs_to_the_master_key() -> None:
    assert Signer(SEALER).public_key == SIGNER.public_key
    other = Signer(Sealer([MasterKey(b"test", Secret(b"n" * 32))]))
    assert other.public_key != SIGNER.public_key
    with pytest.raises(BadHead, match="line 2 was signed with another key"):
        list(read_heads(iter([SIGNER.sign(HEAD, 5), other.sign(HEAD, 5)]), SIGNER.public_key))


@pytest.mark.parametrize(
    ("old", "new"), [(b'"seq":17', b'"seq":18'), (b'"chain":3', b'"chain":4'), (b'"at_ms":5', b'"at_ms":6')]
)
def test_a_changed_line_is_refused(old: bytes, new: bytes) -> None:
    line = SIGNER.sign(HEAD, 5)
    assert old in line
    with pytest.raises(BadHead, match="signature in line 1 is wrong"):
        list(read_heads(iter([line.replace(old, new)]), SIGNER.public_key))


@given(st.binary(max_size=200))
def test_anything_else_is_no_head(line: bytes) -> None:
    if not line.strip():
        return
    with pytest.raises(BadHead):
        list(read_heads(iter([line]), SIGNER.public_key))


def test_the_private_key_stands_in_no_line() -> None:
    raw = SIGNER._key.private_bytes_raw()
    line = SIGNER.sign(HEAD, 5)
    assert raw not in line
    assert base64.b64encode(raw) not in line
