from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pytest
from typer.testing import CliRunner

from sekisho import accounts, db
from sekisho.audit import By
from sekisho.db import Database, History
from sekisho.doors.cli.common import CommandError
from sekisho.doors.cli.events import app
from sekisho.events import log, mover
from sekisho.events.log import Moved
from sekisho.events.record import decode, encode
from sekisho.ids import KeyId, message_id_text
from sekisho.queue import schema
from sekisho.queue.layout import Layout
from sekisho.queue.outbox import OutboxReader
from sekisho.queue.spool import Settlement
from tests.unit.events.stories import message, settled

BY = By("operator:test", 1)


class Relay:
    """A data directory as a stopped server leaves it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self.control, self.events = Database(directory / "control.db"), Database(directory / "events.db")
        db.upgrade(self.control, History.CONTROL)
        db.upgrade(self.events, History.EVENTS)
        self.seq = 0
        with self.control.begin() as tx:
            acme = accounts.create_account(tx, name="acme", owner_email="o@example.com", by=BY)
            other = accounts.create_account(tx, name="other", owner_email="o@example.com", by=BY)
            shop = accounts.create_subuser(tx, of="acme", name="shop", by=BY)
        assert isinstance(acme, accounts.Account)
        assert isinstance(other, accounts.Account)
        assert isinstance(shop, accounts.Account)
        self.acme, self.other, self.shop = acme.id, other.id, shop.id

    def store(self, *settlements: Settlement) -> None:
        blobs = [blob for settlement in settlements for blob in encode(settlement)]
        rows = [Moved(seq, decode(blob), blob) for seq, blob in enumerate(blobs, self.seq + 1)]
        self.seq += len(rows)
        log.append_batch(self.events, "somewhere", rows)

    def leave_in_outbox(self, *settlements: Settlement) -> None:
        spool = self.directory / "spool"
        OutboxReader(spool).close()  # whoever comes first makes the spool
        blobs = [blob for settlement in settlements for blob in encode(settlement)]
        with closing(schema.connect(Layout(spool).database)) as connection:
            connection.executemany("INSERT INTO outbox (seq, event) VALUES (?, ?)", list(enumerate(blobs, 1)))

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(app, ["tail", *arguments, "--data", str(self.directory)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def tail(self, *arguments: str) -> list[dict[str, Any]]:
        document = json.loads(self.run(*arguments, "--json"))
        assert list(document) == ["events"]
        events: list[dict[str, Any]] = document["events"]
        return events


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    made = Relay(tmp_path / "data")
    yield made
    made.control.close()
    made.events.close()


def numbers(events: list[dict[str, Any]]) -> list[str]:
    return [event["smtp-id"] for event in events if event["event"] == "delivered"]


def test_before_the_first_start_there_is_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["tail", "--json", "--data", str(tmp_path / "new")])
    assert (result.exit_code, result.stdout) == (0, '{"events": []}\n')
    assert CliRunner().invoke(app, ["tail", "--data", str(tmp_path / "new")]).stdout == ""


def test_the_newest_twenty_are_shown_oldest_first(relay: Relay) -> None:
    relay.store(*(settled(of=message(number)) for number in range(30)))
    assert numbers(relay.tail()) == [f"<{number}@example.test>" for number in range(20, 30)]
    assert len(relay.tail("-n", "3")) == 3
    assert relay.tail("--lines", "0") == []
    assert len(relay.tail("--all")) == 60


def test_more_than_a_page_is_one_document(relay: Relay) -> None:
    relay.store(*(settled(of=message(number)) for number in range(1100)))
    assert len(relay.tail("--all")) == 2200
    assert len(relay.run("--all").splitlines()) == 2200


def test_events_are_selected_by_whose_they_are(relay: Relay) -> None:
    key = KeyId("x" * 22)
    relay.store(
        settled(of=message(1, account_id=relay.acme)),
        settled(of=message(2, account_id=relay.acme, subuser_id=relay.shop)),
        settled(of=message(3, account_id=relay.other, key_id=key)),
    )
    first, second, third = (f"<{number}@example.test>" for number in (1, 2, 3))
    assert numbers(relay.tail("--account", "acme")) == [first, second]
    assert numbers(relay.tail("--account", "other")) == [third]
    assert numbers(relay.tail("--subuser", "shop")) == [second]
    assert numbers(relay.tail("--key", key)) == [third]
    assert numbers(relay.tail("--message", message_id_text(message(2).id))) == [second]
    assert numbers(relay.tail("--message", message_id_text(message(2).id) + ".sekisho.0")) == [second]
    assert [event["event"] for event in relay.tail("--event", "processed")] == ["processed"] * 3
    shown = relay.tail("--subuser", "shop")[-1]
    assert (shown["account"], shown["subuser"]) == ("acme", "shop")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--account", "nobody", "no account 'nobody'"),
        ("--account", "shop", "no account 'shop'"),
        ("--subuser", "acme", "no subuser 'acme'"),
        ("--message", "short", "'short' is not a message id"),
    ],
)
def test_who_does_not_exist_is_an_error_in_one_line(relay: Relay, option: str, value: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        relay.run(option, value)


def test_people_get_a_line_each(relay: Relay) -> None:
    relay.store(settled(of=message(1, account_id=relay.acme)))
    processed, delivered = relay.run().splitlines()
    assert "  processed  bob@example.com  " in processed
    assert delivered.endswith("  acme  mx.example.com (TLSv1.3)  250 2.0.0 Ok")


def test_what_a_stopped_server_left_in_its_outbox_is_shown_once(relay: Relay) -> None:
    relay.leave_in_outbox(settled(of=message(1)), settled(of=message(2)))
    assert numbers(relay.tail()) == ["<1@example.test>", "<2@example.test>"]
    assert len(relay.tail()) == 4
    with OutboxReader(relay.directory / "spool") as outbox:
        assert outbox.read_outbox(0, 10) == []


def test_a_mover_at_work_is_left_alone(relay: Relay) -> None:
    relay.leave_in_outbox(settled(of=message(1)))
    with mover.exclusive(relay.directory / "mover.lock") as alone:
        assert alone
        assert relay.tail() == []
    assert len(relay.tail()) == 2


def test_a_spool_that_cannot_be_read_is_said_and_the_store_is_shown(relay: Relay) -> None:
    relay.store(settled())
    relay.leave_in_outbox(settled(of=message(1)))
    with closing(schema.connect(Layout(relay.directory / "spool").database)) as connection:
        connection.execute("PRAGMA user_version = 999")
    result = CliRunner().invoke(app, ["tail", "--json", "--data", str(relay.directory)])
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["events"]) == 2
    assert "may be missing" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# Following, in a process of its own.

PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from sekisho.doors.cli.events import app; app()"
)


def start(relay: Relay, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "tail", "--follow", *arguments, "--data", str(relay.directory)]
    # Unbuffered output is not asked for: each page must be flushed by the command itself.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def read_event(stdout: IO[str] | None) -> dict[str, Any]:
    assert stdout is not None
    event: dict[str, Any] = json.loads(stdout.readline())
    return event


def test_following_shows_what_comes_until_it_is_interrupted(relay: Relay) -> None:
    relay.store(settled(of=message(1)))
    with start(relay, "--json", "-n", "1") as process:
        try:
            assert read_event(process.stdout)["event"] == "delivered"
            relay.store(settled(of=message(2)))
            assert [read_event(process.stdout)["event"] for _ in range(2)] == ["processed", "delivered"]
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


def test_a_reader_that_goes_away_ends_it_quietly(relay: Relay) -> None:
    relay.store(settled(of=message(1)))
    with start(relay, "-n", "1") as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            relay.store(settled(of=message(2)))
            assert process.stderr.read() == ""
            assert process.wait(30) == 0
        finally:
            process.kill()
