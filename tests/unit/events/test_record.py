from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.events.model import Event, EventKind
from sekisho.events.record import NotAnEvent, decode, encode
from sekisho.ids import AccountId
from sekisho.queue.model import Bounced, BounceType, Classification, Deferred, Delivered, Dropped, Expired, Outcome
from sekisho.queue.spool import Settlement
from tests.unit.events.stories import ACCEPTED_MS, DELIVERED, REMOTE, message, settled


def told(settlement: Settlement) -> list[Event]:
    return [decode(blob) for blob in encode(settlement)]


def last(outcome: Outcome, attempts: int = 1) -> Event:
    return told(settled(outcome, attempts=attempts))[-1]


DEFERRED = Deferred("451 4.3.0 later", ACCEPTED_MS + 60_000, "4.3.0", REMOTE)
BOUNCED = Bounced("550 5.1.1 no such user", BounceType.BOUNCE, "5.1.1", REMOTE)
EXPIRED = Expired("451 4.3.0 later", "4.3.0", REMOTE)
DROPPED = Dropped("Invalid SMTPAPI header")


@pytest.mark.parametrize(
    ("outcome", "attempts", "kinds"),
    [
        (DELIVERED, 0, ["processed", "delivered"]),
        (DEFERRED, 0, ["processed", "deferred"]),
        (BOUNCED, 0, ["processed", "bounce"]),
        (EXPIRED, 0, ["processed", "bounce"]),
        (DROPPED, 0, ["dropped"]),
        (DELIVERED, 1, ["delivered"]),
        (DEFERRED, 3, ["deferred"]),
        (BOUNCED, 2, ["bounce"]),
        (EXPIRED, 9, ["bounce"]),
        (DROPPED, 1, ["dropped"]),
    ],
)
def test_processed_is_told_once_with_the_first_attempt_and_never_for_what_was_dropped(
    outcome: Outcome, attempts: int, kinds: list[str]
) -> None:
    assert [event.kind for event in told(settled(outcome, attempts=attempts))] == kinds


@pytest.mark.parametrize(
    ("outcome", "attempts", "attempt"),
    [(DELIVERED, 0, 1), (DEFERRED, 4, 5), (BOUNCED, 1, 2), (EXPIRED, 2, 3), (DROPPED, 0, 0), (DROPPED, 2, 2)],
)
def test_attempts_are_counted_from_one_and_a_drop_begins_none(outcome: Outcome, attempts: int, attempt: int) -> None:
    assert last(outcome, attempts).attempt == attempt


def test_processed_tells_of_the_acceptance_and_nothing_of_the_attempt() -> None:
    processed, _ = told(settled(DELIVERED))
    assert processed == Event(
        kind=EventKind.PROCESSED,
        at_ms=ACCEPTED_MS,
        message_id=message().id,
        recipient_index=0,
        attempt=1,
        email="bob@example.com",
        account_id=1,
        key_id="k" * 22,
        smtp_id="<1@example.test>",
        from_domain="example.test",
    )


def test_delivered_tells_who_took_it_and_how() -> None:
    event = last(DELIVERED)
    assert (event.at_ms, event.reply, event.reason, event.type) == (ACCEPTED_MS + 5, "250 2.0.0 Ok", "", "")
    assert (event.remote_host, event.remote_ip, event.local_ip) == ("mx.example.com", "192.0.2.1", "192.0.2.9")
    assert (event.tls_version, event.tls_cipher, event.tls_verified) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384", True)


def test_deferred_tells_the_answer() -> None:
    event = last(DEFERRED)
    assert (event.reply, event.status, event.reason) == ("451 4.3.0 later", "4.3.0", "")


@pytest.mark.parametrize("type_", BounceType)
def test_a_bounce_tells_why_and_of_which_type(type_: BounceType) -> None:
    event = last(Bounced("554 5.7.1 listed", type_, "5.7.1", REMOTE, Classification.REPUTATION))
    assert (event.reason, event.reply, event.status) == ("554 5.7.1 listed", "554 5.7.1 listed", "5.7.1")
    assert event.type == type_.value
    assert event.classification == "Reputation"
    assert event.remote_host == "mx.example.com"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("451 4.3.0 later", "expired; the last answer was: 451 4.3.0 later"),
        ("", "expired; there was no answer"),
    ],
)
def test_what_expired_is_a_block_that_says_so(reply: str, reason: str) -> None:
    event = last(Expired(reply, classification=Classification.TECHNICAL))
    assert (event.kind, event.type, event.reason) == ("bounce", "blocked", reason)
    assert event.classification == "Technical"


def test_a_drop_tells_the_reason_only() -> None:
    event = last(DROPPED)
    assert (event.reason, event.type, event.reply) == ("Invalid SMTPAPI header", "", "")


def test_what_the_sender_gave_comes_back_as_it_was() -> None:
    sent = message(
        subuser_id=AccountId(5), categories=("one",), category_is_list=True, unique_args=(("order", "1"), ("ö", "ü"))
    )
    for event in told(settled(of=sent, index=3)):
        assert (event.account_id, event.subuser_id, event.recipient_index) == (1, 5, 3)
        assert (event.categories, event.category_is_list) == (("one",), True)
        assert event.unique_args == (("order", "1"), ("ö", "ü"))


def test_the_same_happening_has_the_same_bytes_and_ids() -> None:
    assert encode(settled()) == encode(settled())
    ids = {event.sg_event_id for attempts in range(3) for event in told(settled(attempts=attempts))}
    assert len(ids) == 4


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@given(reply=TEXT, host=TEXT, arguments=st.lists(st.tuples(TEXT, TEXT), max_size=3))
def test_what_is_encoded_is_what_is_decoded(reply: str, host: str, arguments: list[tuple[str, str]]) -> None:
    sent = message(smtp_id=host, unique_args=tuple(arguments))
    event = told(settled(Delivered(reply), of=sent))[-1]
    assert (event.reply, event.smtp_id, event.unique_args) == (reply, host, tuple(arguments))


@given(st.binary(max_size=200))
def test_other_bytes_are_not_an_event(blob: bytes) -> None:
    with pytest.raises(NotAnEvent):
        decode(blob)


@given(st.integers(min_value=0), st.integers(0, 255))
def test_a_damaged_event_is_an_event_or_is_not_one(position: int, octet: int) -> None:
    blob = bytearray(encode(settled())[-1])
    blob[position % len(blob)] = octet
    with contextlib.suppress(NotAnEvent):
        assert isinstance(decode(bytes(blob)), Event)


@pytest.mark.parametrize(
    "changed",
    [
        {"at_ms": 2**63},
        {"at_ms": -1},
        {"at_ms": 253_402_300_800_000},
        {"recipient_index": 2**31},
        {"attempt": 2**31},
        {"key_id": "k" * 23},
        {"email": f"{'a' * 311}@b.example"},
        {"email": "a\0@b.example"},
        {"account_id": 2**64 - 1},
        {"subuser_id": -(2**63)},
        {"message_id": b"short"},
        {"attempt": "one"},
        {"kind": "teapot"},
        {"email": None},
    ],
)
def test_values_that_no_store_keeps_are_not_an_event(changed: dict[str, object]) -> None:
    fields = msgspec.msgpack.decode(encode(settled())[0])
    with pytest.raises(NotAnEvent):
        decode(msgspec.msgpack.encode(fields | changed))


def test_a_bounce_of_a_version_without_classifications_is_still_read() -> None:
    fields = msgspec.msgpack.decode(encode(settled(BOUNCED))[-1])
    del fields["classification"]
    event = decode(msgspec.msgpack.encode(fields))
    assert (event.type, event.classification) == ("bounce", "")


def test_deep_nesting_is_not_an_event() -> None:
    with pytest.raises(NotAnEvent):
        decode(b"\x81\xa5other" + b"\x91" * 1_000_000)
