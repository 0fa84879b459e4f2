from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.events import vendor
from sekisho.events.model import Event
from sekisho.events.record import decode, encode
from sekisho.ids import AccountId
from sekisho.queue.model import Bounced, BounceType, Classification, Deferred, Delivered, Dropped, Expired, Outcome
from tests.unit.events.stories import ACCEPTED_MS, DELIVERED, REMOTE, message, settled


def event_of(outcome: Outcome, *, attempts: int = 1, **of: object) -> Event:
    return decode(encode(settled(outcome, of=message(**of), attempts=attempts))[-1])  # type: ignore[arg-type]


COMMON = {"email", "event", "sg_event_id", "sg_message_id", "smtp-id", "timestamp"}


@pytest.mark.parametrize(
    ("outcome", "own"),
    [
        (
            Deferred("451 4.3.0 later", 0, "4.3.0", REMOTE),
            {"event": "deferred", "response": "451 4.3.0 later", "attempt": "2"},
        ),
        (DELIVERED, {"event": "delivered", "response": "250 2.0.0 Ok", "ip": "192.0.2.9", "tls": 1}),
        (Delivered("250 Ok"), {"event": "delivered", "response": "250 Ok"}),
        (
            Bounced("550 5.1.1 no", BounceType.BOUNCE, "5.1.1", REMOTE, Classification.INVALID_ADDRESS),
            {
                "event": "bounce",
                "type": "bounce",
                "reason": "550 5.1.1 no",
                "status": "5.1.1",
                "bounce_classification": "Invalid Address",
                "tls": 1,
            },
        ),
        (
            Expired(""),
            {
                "event": "bounce",
                "type": "blocked",
                "reason": "expired; there was no answer",
                "bounce_classification": "Unclassified",
            },
        ),
        (Dropped("Invalid SMTPAPI header"), {"event": "dropped", "reason": "Invalid SMTPAPI header"}),
    ],
)
def test_each_kind_has_the_vendors_fields_and_no_others(outcome: Outcome, own: dict[str, object]) -> None:
    shown = vendor.fields(event_of(outcome))
    assert {name: value for name, value in shown.items() if name not in COMMON - {"event"}} == own
    assert set(shown) >= COMMON


def test_processed_is_as_plain_as_the_vendors() -> None:
    first = decode(encode(settled())[0])
    assert vendor.fields(first) == {
        "email": "bob@example.com",
        "event": "processed",
        "send_at": 0,
        "sg_event_id": first.sg_event_id,
        "sg_message_id": "AAAAAAAAAAAAAAAAAAAAAA.sekisho-1.0",
        "smtp-id": "<1@example.test>",
        "timestamp": ACCEPTED_MS // 1000,
    }


@pytest.mark.parametrize(
    ("categories", "is_list", "shown"),
    [
        ((), False, None),
        (("one",), False, "one"),
        (("one",), True, ["one"]),
        (("one", "two"), True, ["one", "two"]),
    ],
)
def test_categories_keep_the_shape_in_which_they_were_given(
    categories: tuple[str, ...], is_list: bool, shown: object
) -> None:
    event = event_of(DELIVERED, categories=categories, category_is_list=is_list)
    assert vendor.fields(event).get("category") == shown


def test_unique_arguments_stand_among_the_fields_as_they_are() -> None:
    event = event_of(DELIVERED, unique_args=(("order number", "7"), ("a.b", "ü"), ("account", "x")))
    shown = vendor.fields(event)
    assert (shown["order number"], shown["a.b"], shown["account"]) == ("7", "ü", "x")


@given(st.sampled_from(sorted(vendor.RESERVED)), st.sampled_from([DELIVERED, Dropped("x"), Deferred("4", 0)]))
def test_no_argument_takes_a_reserved_name(name: str, outcome: Outcome) -> None:
    plain = vendor.fields(event_of(outcome))
    assert vendor.fields(event_of(outcome, unique_args=((name, "forged"),))) == plain


def test_every_field_that_we_show_is_reserved() -> None:
    outcomes: list[Outcome] = [
        DELIVERED,
        Dropped("x"),
        Deferred("4", 0),
        Bounced("5", BounceType.BOUNCE, "5.0.0", REMOTE),
    ]
    for outcome in outcomes:
        for blob in encode(settled(outcome, of=message(categories=("c",), subuser_id=AccountId(5)))):
            assert set(vendor.fields(decode(blob))) <= vendor.RESERVED
