from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.ids import MessageId
from sekisho.preparation.verp import return_path
from sekisho.secret import Secret
from sekisho.wire.mail.address import parse_path

MESSAGE = MessageId(bytes(range(16)))


@given(st.binary(min_size=16, max_size=16).map(MessageId), st.none() | st.integers(0, 10_000))
def test_it_is_an_address_that_every_host_takes(message_id: MessageId, index: int | None) -> None:
    printed = return_path(Secret(b"k" * 32), message_id, index, "em1.example.com")
    mailbox = parse_path(printed)

    assert mailbox is not None
    assert len(mailbox.local) <= 64
    assert mailbox.local == mailbox.local.lower()


def test_message_recipient_and_secret_each_change_the_token() -> None:
    paths = {
        return_path(Secret(b"k" * 32), MESSAGE, 0, "h.example"),
        return_path(Secret(b"k" * 32), MESSAGE, 1, "h.example"),
        return_path(Secret(b"k" * 32), MESSAGE, None, "h.example"),
        return_path(Secret(b"x" * 32), MESSAGE, 0, "h.example"),
        return_path(Secret(b"k" * 32), MessageId(bytes(16)), 0, "h.example"),
    }

    assert len(paths) == 5


def test_it_is_the_same_each_time() -> None:
    one, two = (return_path(Secret(b"k" * 32), MESSAGE, 3, "h.example") for _ in range(2))

    assert one == two
    assert one.startswith("bounces+")
