from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from sekisho.doors.cli.app import run
from sekisho.events.record import encode
from sekisho.ids import AccountId, KeyId, message_id_text
from sekisho.queue.local import LocalSpool
from sekisho.queue.model import Deferred, Delivery
from sekisho.queue.spool import Settlement
from tests.unit.queue.support import NOW_MS, FakeClock, accepted, make, rows

Command = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def command(data: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``sekisho …`` on the data directory; its document, or its text without ``--json``."""

    def call(*arguments: str, status: int = 0) -> Any:
        capsys.readouterr()
        assert run([*arguments, "--data", str(data)]) == status
        output, errors = capsys.readouterr()
        if status:
            assert output == ""
            assert errors.count("\n") == 1
            return errors
        return json.loads(output) if "--json" in arguments else output

    return call


@pytest.fixture
async def mail(command: Command, data: Path) -> dict[str, Delivery]:
    """Accounts ``acme`` (with subuser ``shop``) and ``other``, each with something in the queue."""
    command("account", "create", "acme", "--owner", "a@example.test")
    command("account", "create", "other", "--owner", "o@example.test")
    command("subuser", "create", "shop", "--account", "acme")
    spool = LocalSpool(data / "spool", encode=encode, clock=FakeClock())
    spool.start()
    queued = {}
    for name, changes in {
        "acme": {"account_id": AccountId(1), "key_id": KeyId("k1")},
        "shop": {"account_id": AccountId(1), "subuser_id": AccountId(3), "key_id": KeyId("k2")},
        "other": {"account_id": AccountId(2), "key_id": KeyId("k" * 22), "accepted_ms": NOW_MS - 86_400_000},
    }.items():
        (queued[name],) = accepted(await spool.append(make(f"{name}@{name}.example", **changes)))  # type: ignore[arg-type]
    await spool.settle(Settlement(queued["shop"], Deferred("451 4.3.0 busy\\n", 2 * NOW_MS, "4.3.0"), NOW_MS))
    await spool.close()
    return queued


def ids(delivery: Delivery) -> str:
    return message_id_text(delivery.message.id)


def test_before_the_first_start(command: Command) -> None:
    assert command("queue", "status") == "The queue is empty.\n"
    assert command("queue", "list") == "Nothing is queued.\n"
    assert command("queue", "list", "--json") == {"deliveries": [], "more": False}
    assert command("queue", "drop", "--all", "--json") == {"dropped": 0}


@pytest.mark.parametrize("action", ["retry", "hold", "release", "drop"])
def test_nothing_is_changed_without_saying_what(command: Command, action: str) -> None:
    assert command("queue", action, status=1) == ("sekisho: say which: an ID, a condition such as --domain, or --all\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hold", "A" * 22), "is not in the queue"),
        (("show", "A" * 22), "is not in the queue"),
        (("drop", "nonsense"), "is not a message id"),
        (("drop", "--account", "nobody"), "there is no account 'nobody'"),
        (("drop", "--subuser", "nobody"), "there is no subuser 'nobody'"),
        (("drop", "--older-than", "soon"), "--older-than must be a duration"),
    ],
)
def test_what_does_not_exist_is_an_error(command: Command, arguments: tuple[str, ...], words: str) -> None:
    assert words in command("queue", *arguments, status=1)


@pytest.mark.usefixtures("mail")
def test_status(command: Command) -> None:
    command("queue", "hold", "--domain", "acme.example")
    found = command("queue", "status", "--json")
    assert (found["deliveries"], found["held"], found["senders_held"]) == (3, 1, 0)
    assert {
        each["destination"]: (each["count"], each["held"], each["last_reply"]) for each in found["destinations"]
    } == {
        "acme.example": (1, 1, None),
        "other.example": (1, 0, None),
        "shop.example": (1, 0, "451 4.3.0 busy\\n"),
    }
    assert "shop.example" in command("queue", "status")


def test_list_and_show(command: Command, mail: dict[str, Delivery]) -> None:
    found = command("queue", "list", "--json")["deliveries"]
    assert [(each["recipient"], each["account"], each["subuser"], each["state"]) for each in found] == [
        ("acme@acme.example", "acme", None, "queued"),
        ("shop@shop.example", "acme", "shop", "deferred"),
        ("other@other.example", "other", None, "queued"),
    ]
    assert command("queue", "list", "--limit", "2", "--json")["more"]
    assert "more than 2" in command("queue", "list", "--limit", "2")
    shown = command("queue", "show", ids(mail["shop"]), "--json")
    assert (shown["message_id"], shown["mail_from"], shown["subuser"]) == (
        ids(mail["shop"]), "sender@client.example", "shop",
    )  # fmt: skip
    (recipient,) = shown["recipients"]
    assert (recipient["attempts"], recipient["last_reply"], recipient["last_status"]) == (
        1,
        "451 4.3.0 busy\\n",
        "4.3.0",
    )
    assert command("queue", "show", ids(mail["shop"]) + ".0", "--json") == shown
    assert "is not in the queue" in command("queue", "show", ids(mail["shop"]) + ".1", status=1)
    assert "shop@shop.example" in command("queue", "show", ids(mail["shop"]))


@pytest.mark.usefixtures("mail")
@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (("--account", "acme"), ["acme", "shop"]),
        (("--subuser", "shop"), ["shop"]),
        (("--account", "acme", "--subuser", "shop"), ["shop"]),
        (("--key", "k" * 22), ["other"]),
        (("--domain", "ACME.example"), ["acme"]),
        (("--account", "acme", "--domain", "other.example"), []),
        (("--all",), ["acme", "shop", "other"]),
    ],
)
def test_conditions(command: Command, conditions: tuple[str, ...], expected: list[str]) -> None:
    found = command("queue", "list", *conditions, "--json")["deliveries"]
    assert [each["recipient"].split("@")[0] for each in found] == expected


@pytest.mark.usefixtures("mail")
def test_a_subuser_of_somebody_else_is_not_found(command: Command) -> None:
    assert "there is no subuser" in command("queue", "list", "--account", "other", "--subuser", "shop", status=1)


def test_each_action_and_its_audit(command: Command, mail: dict[str, Delivery], data: Path) -> None:
    assert command("queue", "hold", "--all", "--json") == {"held": 3}
    assert command("queue", "release", ids(mail["acme"]), "--json") == {"released": 1}
    assert command("queue", "retry", "--subuser", "shop", "--json") == {"retried": 1}
    assert [each["state"] for each in command("queue", "list", "--json")["deliveries"]] == ["queued", "held", "held"]
    assert command("queue", "drop", ids(mail["shop"]) + ".0", "--json") == {"dropped": 1}
    assert command("queue", "drop", "--all") == "Dropped: 2.\n"
    assert len([event for event in events_of(data) if b"dropped by operator" in event]) == 3
    engine = create_engine(f"sqlite:///{data / 'control.db'}")
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT action, chain, subject, details FROM audit_entry WHERE action LIKE 'queue.%' ORDER BY id")
        ).all()
    engine.dispose()
    assert [tuple(row) for row in rows] == [
        ("queue.hold", 0, "", '{"all":"yes"}'),
        ("queue.release", 1, ids(mail["acme"]), f'{{"id":"{ids(mail["acme"])}"}}'),
        ("queue.retry", 3, "", '{"subuser":"shop"}'),
        ("queue.drop", 3, ids(mail["shop"]) + ".0", f'{{"id":"{ids(mail["shop"])}.0"}}'),
        ("queue.drop", 0, "", '{"all":"yes"}'),
    ]


def events_of(data: Path) -> list[bytes]:
    return rows(data / "spool", "SELECT event FROM outbox ORDER BY seq")


def test_what_waits_because_of_its_sender_is_shown_so(command: Command, mail: dict[str, Delivery]) -> None:
    assert len(mail) == 3
    command("account", "disable", "acme")
    found = command("queue", "list", "--json")["deliveries"]
    assert [each["state"] for each in found] == ["sender disabled", "sender disabled", "queued"]
    assert command("queue", "status", "--json")["senders_held"] == 2


@pytest.mark.usefixtures("mail")
def test_a_pasted_key_is_neither_taken_nor_shown_nor_kept(command: Command, data: Path) -> None:
    key = "SG." + "a" * 22 + "." + "b" * 43
    for arguments in (("queue", "hold", "--key", key), ("events", "tail", "--key", key)):
        assert key not in command(*arguments, status=1)
    assert key not in command("key", "create", key, "--account", "acme", "--name", "n", status=2)
    with create_engine(f"sqlite:///{data / 'control.db'}").connect() as connection:
        assert not connection.execute(text("SELECT 1 FROM audit_entry WHERE details LIKE '%SG.%'")).all()
