from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.ids import MessageId
from sekisho.preparation.verp import ReturnPaths
from sekisho.secret import Secret
from sekisho.wire.mail.address import parse_path

MESSAGE = MessageId(bytes(range(16)))
SECRET = b"k" * 32


@given(st.binary(min_size=16, max_size=16).map(MessageId), st.integers(0, 10_000))
def test_it_is_an_address_that_every_host_takes(message_id: MessageId, index: int) -> None:
    mailbox = parse_path(ReturnPaths(Secret(SECRET)).own(message_id, index, "em1.example.com"))

    assert mailbox is not None
    assert len(mailbox.local) <= 64
    assert mailbox.local == mailbox.local.lower()


@given(st.binary(max_size=64), st.binary(min_size=16, max_size=16).map(MessageId), st.integers(0, 10_000))
def test_the_token_is_an_hmac_of_message_and_recipient(secret: bytes, message_id: MessageId, index: int) -> None:
    named = message_id + index.to_bytes(2, "big")
    digest = hmac.digest(secret, named, hashlib.sha256)[:9]

    assert ReturnPaths(Secret(secret)).own(message_id, index, "h.example") == (
        f"bounces+{named.hex()}{digest.hex()}@h.example"
    )


def test_message_recipient_and_secret_each_change_the_token() -> None:
    paths = ReturnPaths(Secret(SECRET))
    made = {
        paths.own(MESSAGE, 0, "h.example"),
        paths.own(MESSAGE, 1, "h.example"),
        paths.shared(MESSAGE, "h.example"),
        paths.own(MessageId(bytes(16)), 0, "h.example"),
        ReturnPaths(Secret(b"x" * 32)).own(MESSAGE, 0, "h.example"),
    }

    assert len(made) == 5
    assert paths.own(MESSAGE, 0, "h.example") in made


def test_a_secret_that_hmac_would_hash_first_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 64"):
        ReturnPaths(Secret(b"k" * 65))
