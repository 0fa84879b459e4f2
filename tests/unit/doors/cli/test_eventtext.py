from __future__ import annotations

import json

import pytest

from sekisho.doors.cli.eventtext import document, line
from sekisho.events import vendor
from sekisho.events.record import decode, encode
from sekisho.ids import AccountId
from sekisho.queue.model import Bounced, BounceType, Deferred, Dropped, Outcome, Remote
from tests.unit.events.stories import ACCEPTED_MS, DELIVERED, REMOTE, message, settled

NAMES = {AccountId(1): "acme", AccountId(5): "acme-shop"}


def test_a_document_has_the_vendors_fields_and_ours() -> None:
    sent = message(
        subuser_id=AccountId(5), categories=("one",), unique_args=(("order", "7"), ("account", "forged"), ("ip", "x"))
    )
    event = decode(encode(settled(of=sent, attempts=2))[-1])
    shown = json.loads(json.dumps(document(event, NAMES)))
    assert shown == {
        "account": "acme",
        "account_id": 1,
        "api_key_id": "k" * 22,
        "at_ms": ACCEPTED_MS + 5,
        "attempt": "3",
        "categories": ["one"],
        "category": "one",
        "email": "bob@example.com",
        "event": "delivered",
        "from_domain": "example.test",
        "ip": "192.0.2.9",
        "local_ip": "192.0.2.9",
        "message_id": "AAAAAAAAAAAAAAAAAAAAAQ",
        "order": "7",
        "recipient_index": 0,
        "remote_host": "mx.example.com",
        "remote_ip": "192.0.2.1",
        "response": "250 2.0.0 Ok",
        "sg_event_id": event.sg_event_id,
        "sg_message_id": "AAAAAAAAAAAAAAAAAAAAAA.sekisho-1.0",
        "smtp-id": "<1@example.test>",
        "status": "",
        "subuser": "acme-shop",
        "subuser_id": 5,
        "timestamp": (ACCEPTED_MS + 5) // 1000,
        "tls": 1,
        "tls_cipher": "TLS_AES_256_GCM_SHA384",
        "tls_verified": True,
        "tls_version": "TLSv1.3",
        "unique_args": {"order": "7", "account": "forged", "ip": "x"},
    }
    assert vendor.fields(event)["account"] == "forged"  # the webhook's fields are the vendor's, without ours


def test_who_is_not_known_by_name_is_shown_by_number() -> None:
    event = decode(encode(settled(of=message(account_id=AccountId(9))))[-1])
    assert document(event, {})["account"] == "#9"
    assert document(event, {})["subuser"] is None


@pytest.mark.parametrize(
    ("outcome", "attempts", "kind", "rest"),
    [
        (
            DELIVERED,
            0,
            "delivered  ",
            "mx.example.com (TLSv1.3)  250 2.0.0 Ok",
        ),
        (
            Deferred("451 4.3.0 later", 0, "4.3.0", Remote(ip="192.0.2.1")),
            2,
            "deferred   ",
            "attempt 3  192.0.2.1 (no TLS)  451 4.3.0 later",
        ),
        (
            Bounced("554 listed", BounceType.BLOCKED, "5.7.1", REMOTE),
            0,
            "blocked    ",
            "mx.example.com (TLSv1.3)  554 listed",
        ),
        (
            Dropped("Invalid SMTPAPI header"),
            0,
            "dropped    ",
            "Invalid SMTPAPI header",
        ),
    ],
)
def test_a_line_for_people(outcome: Outcome, attempts: int, kind: str, rest: str) -> None:
    text = line(decode(encode(settled(outcome, attempts=attempts))[-1]), NAMES)
    assert text == f"2023-11-14T22:13:20.005Z  {kind}bob@example.com  AAAAAAAAAAAAAAAAAAAAAQ.0  acme  {rest}"


def test_a_line_names_the_subuser_too() -> None:
    event = decode(encode(settled(of=message(subuser_id=AccountId(5))))[-1])
    assert "  acme/acme-shop  " in line(event, NAMES)


def test_nothing_in_a_line_can_move_the_cursor() -> None:
    hostile = "550 \x1b[2J\x9b1m\r\n\u202e ok"
    text = line(decode(encode(settled(Bounced(hostile, BounceType.BOUNCE)))[-1]), NAMES)
    assert text.isprintable()
    assert text.endswith("550 �[2J�1m��� ok")
