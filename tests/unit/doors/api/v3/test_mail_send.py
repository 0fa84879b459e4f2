"""mail/send as a client sees it: what is stored for a good request, what a bad one is told."""

from __future__ import annotations

import base64
import email
import email.policy
import gzip
import json
import threading
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from sekisho.accounts import Account
from sekisho.apikeys.actions import Issued
from sekisho.apikeys.scopes import MAIL_SEND
from sekisho.domains.model import Domain
from sekisho.domains.tables import domain
from sekisho.doors.api.v3 import mail_body, mail_send
from sekisho.doors.api.v3.mail_send import header_of
from sekisho.events.model import Event
from sekisho.identity import KeyPolicy
from sekisho.ids import message_id_text, request_of
from sekisho.queue.model import BodyFile, Delivery
from tests.fakes.api import ApiDoor
from tests.fakes.control import a_domain, a_key, an_account

HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
MAIL: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "b@there.example", "name": "Bea"}]}],
    "from": {"email": "a@example.com", "name": "Acme"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hi."}],
}


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        made = an_account(tx)
        valid(tx, a_domain(tx, made))
        return made


@pytest.fixture
def key(door: ApiDoor, acme: Account) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, acme)


def valid(tx: sa.Connection, claim: Domain) -> None:
    tx.execute(sa.update(domain).where(domain.c.id == claim.id).values(valid=True))


def changed(**parts: Any) -> dict[str, Any]:
    return {name: value for name, value in (MAIL | parts).items() if value is not ...}


def to(**parts: Any) -> dict[str, Any]:
    """One personalization, changed."""
    return changed(personalizations=[MAIL["personalizations"][0] | parts])


async def send(door: ApiDoor, key: Issued | str | None, mail: object = MAIL, **more: Any) -> httpx.Response:
    return await door.ask("POST", "/v3/mail/send", key, json=mail, **more)


def stored(door: ApiDoor) -> list[Delivery]:
    return list(door.mails.rows.values())


def parsed(delivery: Delivery) -> email.message.EmailMessage:
    body = delivery.message.body
    assert isinstance(body, bytes)
    return email.message_from_bytes(delivery.message.header + b"\r\n" + body, policy=email.policy.default)


def errors(answer: httpx.Response) -> list[tuple[str | None, str]]:
    assert answer.headers["content-type"] == "application/json"
    return [(error["field"], error["message"]) for error in answer.json()["errors"]]


async def test_a_letter_is_accepted_once_it_is_stored(door: ApiDoor, key: Issued) -> None:
    answer = await send(door, key)

    (delivery,) = stored(door)
    message = delivery.message
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-message-id"] == message_id_text(message.id)
    assert answer.headers["x-ratelimit-limit"] == "10000"
    assert (message.mail_from, message.from_domain, delivery.recipient.address) == (
        "a@example.com",
        "example.com",
        "b@there.example",
    )
    assert message.smtp_id == f"<{message_id_text(message.id)}@relay.example.net>"
    read = parsed(delivery)
    assert (read["from"], read["to"], read["subject"]) == ("Acme <a@example.com>", "Bea <b@there.example>", "Hello")
    assert read["message-id"] == message.smtp_id
    assert read["date"]
    assert read["received"].startswith("by relay.example.net (Sekisho) with HTTP id ")
    assert read.get_content().rstrip() == "Hi."
    assert not read.defects


async def test_to_and_cc_see_each_other_and_nobody_sees_bcc(door: ApiDoor, key: Issued) -> None:
    mail = to(cc=[{"email": "c@there.example"}], bcc=[{"email": "secret@there.example"}])

    assert (await send(door, key, mail)).status_code == 202

    assert [each.recipient.address for each in stored(door)] == [
        "b@there.example",
        "c@there.example",
        "secret@there.example",
    ]
    (message,) = {each.message for each in stored(door)}
    read = parsed(stored(door)[0])
    assert (read["to"], read["cc"], read["bcc"]) == ("Bea <b@there.example>", "c@there.example", None)
    assert b"secret" not in message.header


async def test_personalizations_are_messages_of_one_request(door: ApiDoor, key: Issued) -> None:
    mail = changed(
        personalizations=[
            {"to": [{"email": "b@there.example"}]},
            {
                "to": [{"email": "c@there.example"}],
                "subject": "Grüße",
                "from": {"email": "c@example.com"},
                "headers": {"x-list": "own", "X-More": "1"},
                "custom_args": {"order": "2", "own": "yes"},
            },
        ],
        headers={"X-List": "all"},
        custom_args={"order": "1"},
        categories=["news"],
        reply_to={"email": "r@example.com"},
    )

    answer = await send(door, key, mail)

    first, second = stored(door)
    assert [request_of(each.message.id)[1] for each in (first, second)] == [0, 1]
    assert all(
        Event(
            kind="delivered",  # type: ignore[arg-type]
            at_ms=0,
            message_id=each.message.id,
            recipient_index=each.recipient.index,
            attempt=1,
            email="",
            account_id=1,
            key_id="",
            smtp_id="",
        ).sg_message_id.startswith(answer.headers["x-message-id"] + ".")
        for each in (first, second)
    )
    assert first.message.unique_args == (("order", "1"),)
    assert second.message.unique_args == (("order", "2"), ("own", "yes"))
    assert first.message.categories == second.message.categories == ("news",)
    assert first.message.category_is_list
    one, other = parsed(first), parsed(second)
    assert (one["subject"], one["x-list"], one["reply-to"]) == ("Hello", "all", "r@example.com")
    assert (other["subject"], other["from"], other["x-list"], other["x-more"]) == (
        "Grüße",
        "c@example.com",
        "own",
        "1",
    )


async def test_files_and_pictures(door: ApiDoor, key: Issued) -> None:
    content = base64.b64encode(b"%PDF").decode()
    mail = changed(
        content=[{"type": "text/plain", "value": "Hi."}, {"type": "text/html", "value": "<img src='cid:logo'>"}],
        attachments=[
            {"content": content, "filename": "Rechnung März.pdf", "type": "application/pdf"},
            {
                "content": content,
                "filename": "logo.png",
                "type": "image/png",
                "disposition": "inline",
                "content_id": "logo",
            },
        ],
    )

    assert (await send(door, key, mail)).status_code == 202

    parts = {part.get_content_type(): part for part in parsed(stored(door)[0]).walk()}
    assert parts["application/pdf"].get_filename() == "Rechnung März.pdf"
    assert parts["image/png"]["content-id"] == "<logo>"
    assert parts["image/png"].get_payload(decode=True) == b"%PDF"


async def test_a_large_body_is_one_file_for_all(door: ApiDoor, key: Issued) -> None:
    door.spool.joinpath("incoming").mkdir(parents=True)
    mail = changed(
        personalizations=[{"to": [{"email": f"{name}@there.example"}]} for name in "bc"],
        content=[{"type": "text/plain", "value": "x\n" * 200_000}],
    )

    assert (await send(door, key, mail)).status_code == 202

    first, second = (each.message.body for each in stored(door))
    assert isinstance(first, BodyFile)
    assert isinstance(second, BodyFile)
    assert first.path != second.path
    assert first.size_bytes == second.size_bytes == 600_000
    (temporary,) = door.spool.joinpath("incoming").iterdir()
    assert temporary.stat().st_size == 600_000
    assert door.mailing.memory.used_bytes == 0


async def test_sandbox_mode_only_looks(door: ApiDoor, key: Issued) -> None:
    answer = await send(door, key, changed(mail_settings={"sandbox_mode": {"enable": True}}))

    assert (answer.status_code, answer.content, "x-message-id" in answer.headers) == (200, b"", False)
    assert not stored(door)


async def test_what_asks_for_nothing_is_taken(door: ApiDoor, key: Issued) -> None:
    mail = changed(
        mail_settings={"sandbox_mode": {"enable": False}, "footer": {"enable": False, "text": "x"}, "bcc": {}},
        tracking_settings={
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
            "subscription_tracking": {"enable": False},
            "ganalytics": {"enable": False},
        },
        send_at=1,
        sections={},
    )

    assert (await send(door, key, mail)).status_code == 202


async def test_all_problems_come_together_each_with_its_page(door: ApiDoor, key: Issued) -> None:
    answer = await send(door, key, {"personalizations": [{"to": [{"email": "x"}]}], "from": {"email": "y"}})

    found = {error["field"]: error["help"] for error in answer.json()["errors"]}
    assert found == {
        "from.email": f"{HELP}#message.from",
        "personalizations.0.to.0.email": f"{HELP}#message.personalizations.to",
        "subject": f"{HELP}#message.subject",
        "content": f"{HELP}#message.content",
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Bad Request"),
        (b"{", "Bad Request"),
        (b'{"from": "\xff"}', "Invalid UTF8 in request."),
        (b"[" * 50_000, "Bad Request"),
        (b'{"a": "\\ud800"}', "Bad Request"),
    ],
)
async def test_what_is_no_json(door: ApiDoor, key: Issued, body: bytes, message: str) -> None:
    answer = await door.ask("POST", "/v3/mail/send", key, content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, errors(answer)) == (400, [(None, message)])


async def test_a_body_that_stands_for_too_much_is_refused(door: ApiDoor, key: Issued) -> None:
    body = b'{"a": [' + b"[]," * 300_000 + b"[]]}"

    answer = await door.ask("POST", "/v3/mail/send", key, content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, errors(answer)) == (413, [(None, "content too large")])


async def test_a_body_may_be_compressed(door: ApiDoor, key: Issued) -> None:
    headers = {"content-type": "application/json; charset=UTF-8", "content-encoding": "gzip"}
    packed = gzip.compress(json.dumps(MAIL).encode())

    answer = await door.ask("POST", "/v3/mail/send", key, content=packed, headers=headers)
    torn = await door.ask("POST", "/v3/mail/send", key, content=packed[:-9], headers=headers)
    more = await door.ask("POST", "/v3/mail/send", key, content=packed * 2, headers=headers)

    assert answer.status_code == 202
    assert (torn.status_code, more.status_code) == (400, 400)


async def test_a_bomb_is_not_unpacked(door: ApiDoor, key: Issued) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    bomb = gzip.compress(b" " * (mail_body.BODY_MAX_BYTES + 1))

    answer = await door.ask("POST", "/v3/mail/send", key, content=bomb, headers=headers)

    assert (answer.status_code, door.mailing.memory.used_bytes) == (413, 0)


async def test_memory_is_bounded_over_all_requests(door: ApiDoor, key: Issued) -> None:
    door.mailing.memory.take(mail_body.MEMORY_BYTES - 10)

    answer = await send(door, key)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert door.mailing.memory.used_bytes == mail_body.MEMORY_BYTES - 10


@pytest.mark.parametrize(("people", "is_little"), [(1, True), (20, True), (1000, False)])
async def test_what_a_thousand_messages_repeat_is_no_little_work(
    door: ApiDoor, key: Issued, monkeypatch: pytest.MonkeyPatch, people: int, is_little: bool
) -> None:
    on: list[bool] = []

    def headed(*arguments: Any) -> bytes:
        on.append(threading.current_thread() is threading.main_thread())
        return header_of(*arguments)

    monkeypatch.setattr(mail_send, "header_of", headed)
    each = [{"to": [{"email": f"b{number}@there.example"}]} for number in range(people)]
    mail = changed(personalizations=each, headers={f"X-{number}": "a" for number in range(200)})
    assert len(json.dumps(mail)) < mail_body.SMALL_BYTES

    answer = await send(door, key, mail)

    assert answer.status_code == 202
    assert on == [is_little] * people


async def test_large_requests_leave_room_for_small_ones(door: ApiDoor, key: Issued) -> None:
    door.mailing.memory.take(mail_body.MEMORY_BYTES - mail_body.RESERVED_BYTES)
    large = changed(content=[{"type": "text/plain", "value": "x" * mail_body.SMALL_BYTES}])

    answers = [await send(door, key), await send(door, key, large)]

    assert [answer.status_code for answer in answers] == [202, 503]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin1"},
        {"content-type": "application/json", "content-encoding": "br"},
    ],
)
async def test_other_types_and_encodings(door: ApiDoor, key: Issued, headers: dict[str, str]) -> None:
    answer = await door.ask("POST", "/v3/mail/send", key, content=b"{}", headers=headers)

    assert answer.status_code == 415


async def test_from_must_be_the_senders(door: ApiDoor, key: Issued) -> None:
    wrong = await send(door, key, changed(**{"from": {"email": "a@elsewhere.example"}}))
    own = await send(door, key, to(**{"from": {"email": "a@elsewhere.example"}}))

    assert (wrong.status_code, own.status_code) == (403, 403)
    ((field, message),) = errors(wrong)
    assert field == "from"
    assert message.startswith("The from address does not match a verified Sender Identity.")
    assert errors(own)[0][0] == "personalizations.0.from"
    assert not stored(door)


async def test_a_keys_limit_of_recipients_is_of_the_whole_request(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        key = a_key(tx, acme, KeyPolicy(max_recipients=1))
    mail = changed(personalizations=[{"to": [{"email": f"{name}@there.example"}]} for name in "bc"])

    answer = await send(door, key, mail)

    assert answer.status_code == 400
    assert errors(answer) == [("personalizations.1.to.0.email", "this key may address 1 recipients per message")]


async def test_who_may_not_send_is_told_before_the_body_is_looked_at(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        key = a_key(tx, acme, scopes=frozenset(("alerts.read",)))

    assert MAIL_SEND == "mail.send"
    assert (await send(door, key, [])).status_code == 403
    assert errors(await send(door, "SG.nonsense", [])) == [
        (None, "The provided authorization grant is invalid, expired, or revoked")
    ]


async def test_a_client_that_hangs_up_in_its_body_is_no_fault_of_ours(
    door: ApiDoor, key: Issued, capsys: pytest.CaptureFixture[str]
) -> None:
    door.catch_up()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def note(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v3/mail/send",
        "raw_path": b"/v3/mail/send",
        "root_path": "",
        "query_string": b"",
        "client": ("192.0.2.7", 50_000),
        "server": ("relay", 80),
        "headers": [
            (b"authorization", b"Bearer " + key.text.reveal()),
            (b"content-type", b"application/json"),
            (b"content-length", b"100"),
        ],
    }
    await door.app(scope, receive, note)

    assert sent[0]["status"] == 400
    assert "api.fault" not in capsys.readouterr().out
    assert not stored(door)
    assert door.mailing.memory.used_bytes == 0
