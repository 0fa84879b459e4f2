"""A full queue of an earlier release, and kill -9 while it is brought up to date: nothing is lost.

The schema is that of the frozen dumps (``tests/vectors/spool``); its 10,000 messages are made here.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.ids import AccountId, KeyId, MessageId, new_message_id
from sekisho.queue import schema
from sekisho.queue.layout import Layout
from sekisho.queue.model import Message
from sekisho.queue.records import encode_envelope
from tests.acceptance.relay import Relay, environment, eventually, letter
from tests.acceptance.site import Site, copy_files
from tests.fakes.sink import Sink

VECTORS = Path(__file__).parents[1] / "vectors" / "spool"
VERSIONS = (1, 2)
MESSAGES = 10_000
FILLER = 2000
HELD = frozenset(range(13, MESSAGES + 1, 13))
SPANS_S = (0.01, 0.05, 0.5)
"""The upgrade is over in a moment; kills fall anywhere in it, and in what follows it."""


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture
def site(site: Site) -> Site:
    site.server = "workers = 1"
    site.delivery = 'retry_first = "1s"\nretry_max = "2s"'
    site.write()
    return site


@pytest.fixture
def full(site: Site, version: int) -> Path:
    """The spool of an earlier release, full."""
    layout = Layout(site.data / "spool")
    layout.create()
    now_ms = time.time_ns() // 1_000_000
    with contextlib.closing(sqlite3.connect(layout.database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.executescript((VECTORS / f"version-{version}.sql").read_text())
        connection.execute("BEGIN")
        for table in ("message", "delivery", "outbox", "change", "daily", "rate"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names
        if version > 1:
            connection.execute("DELETE FROM shut_destination")
            connection.execute("DELETE FROM shut")
            connection.execute("UPDATE clock SET offset_ms = 0, seen_ms = ?", (now_ms,))
        connection.execute("UPDATE counter SET next_message = ?, next_event = 1", (MESSAGES + 1,))
        marks = "?, ?, ?, ?, ?, ?, ?"
        connection.executemany(f"INSERT INTO message VALUES ({marks})", messages(site, layout, now_ms))  # noqa: S608
        connection.executemany(
            "INSERT INTO delivery (row, owner, held, destination, due_ms, attempts, account, sender, key, accepted_ms,"
            " address, personal_to, reply, status, tried_ms) VALUES (?, ?, ?, ?, ?, ?, 1, 1, ?, ?, ?, '', ?, ?, ?)",
            deliveries(site, now_ms),
        )
        connection.execute("COMMIT")
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    return layout.root


def address(number: int) -> str:
    return f"reader@d{number % 50}.sink.test"


def messages(site: Site, layout: Layout, now_ms: int) -> Iterator[tuple[object, ...]]:
    """Every tenth has its body in a file."""
    for number in range(1, MESSAGES + 1):
        message_id = MessageId(new_message_id(now_ms, 7, number))
        header, _, body = letter(number, to=address(number), filler=FILLER).partition(b"\r\n\r\n")
        envelope = encode_envelope(
            Message(
                id=message_id,
                accepted_ms=now_ms,
                account_id=AccountId(1),
                subuser_id=None,
                key_id=KeyId(site.seed.key_id),
                mail_from="ann@example.test",
                from_domain="example.test",
                header=b"",
                body=b"",
                eight_bit=False,
                smtp_id=f"<{number}@example.test>",
            )
        )
        name = None
        if number % 10 == 0:
            path = layout.body(message_id)
            path.write_bytes(body)
            name = path.name
        in_row = body if name is None else b""
        size = None if name is None else len(body)
        yield number, message_id, name, size, envelope, header + b"\r\n", in_row


def deliveries(site: Site, now_ms: int) -> Iterator[tuple[object, ...]]:
    """Some deferred, some held, spread over the slots of workers and of none."""
    for number in range(1, MESSAGES + 1):
        tried = number % 7 == 0
        yield (
            number << 20,
            number % 4,
            int(number in HELD),
            address(number).partition("@")[2],
            now_ms + 1000 * tried,
            int(tried),
            site.seed.key_id,
            now_ms,
            address(number),
            "451 4.7.1 Later" if tried else None,
            "4.7.1" if tried else None,
            now_ms if tried else None,
        )


def kill_in_upgrade(relay: Relay, spool: Path, chance: random.Random) -> None:
    """Start the server, and kill all of it within what it does to the spool before it is ready."""
    relay.logs.mkdir(parents=True, exist_ok=True)
    log = spool / "spool.db-wal"
    before = log.stat().st_mtime_ns if log.exists() else 0
    with relay.log.open("ab") as stderr:
        process = subprocess.Popen(
            relay.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            env=environment(),
        )
    try:

        def touched() -> bool:
            return (log.exists() and log.stat().st_mtime_ns != before) or process.poll() is not None

        deadline = time.monotonic() + 60
        while not touched() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, chance.choice(SPANS_S)))
        assert process.poll() is None, relay.log.read_text()[-4000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def is_gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    eventually(is_gone, "the group's end")


def look(spool: Path, aside: Path) -> tuple[int, set[int]]:
    """Say which version a copy of the spool is of, and which messages are queued in it."""
    copy_files(spool, aside)
    with contextlib.closing(sqlite3.connect(aside / "spool.db")) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        queued = {row >> 20 for (row,) in connection.execute("SELECT row FROM delivery")}
        with_content = {row for (row,) in connection.execute("SELECT row FROM message")}
        files = {name for (name,) in connection.execute("SELECT body_file FROM message WHERE body_file IS NOT NULL")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert queued <= with_content
    assert files <= {path.name for path in (aside / "bodies").iterdir()}
    shutil.rmtree(aside)
    return found, queued


def arrived(sink: Sink) -> set[int]:
    return {each.sequence for each in list(sink.letters) if each.sequence is not None}


def upgrade(site: Site, sink: Sink, spool: Path, version: int, rounds: int) -> None:
    chance = random.Random(random.getrandbits(32))  # noqa: S311  # moments, not secrets; pytest-randomly seeds them
    every = set(range(1, MESSAGES + 1))
    kept = site.folder / "kept"
    copy_files(spool, kept)
    seen = []
    with site.relay_kept() as relay:
        for number in range(rounds):
            # What was killed goes on next time; every other time it is the old spool again.
            if number and number % 2 == 0:
                sink.letters.clear()
                shutil.rmtree(spool)
                copy_files(kept, spool)
            kill_in_upgrade(relay, spool, chance)
            found, queued = look(spool, site.folder / "looked at")
            assert found in {version, schema.VERSION}
            assert queued | arrived(sink) == every
            seen.append(found)
        print("versions after the kills:", seen)
        relay.start()
        eventually(lambda: arrived(sink) >= every - HELD, lambda: f"{len(arrived(sink))} letters", timeout_s=300)
        eventually(lambda: len(site.queue()) == len(HELD), "the held alone in the queue", timeout_s=60)
        assert not arrived(sink) & HELD
        site.run("queue", "release", "--all")
        eventually(lambda: arrived(sink) == every, lambda: f"{len(arrived(sink))} letters", timeout_s=60)
        eventually(lambda: not site.queue(), "an empty queue", timeout_s=60)
        assert relay.stop() == 0
    assert not [line for line in relay.log_lines() if line["event"].startswith("spool.") and line["level"] == "error"]
    for each in sink.letters:
        sent = letter(each.sequence or 0, to=address(each.sequence or 0), filler=FILLER)
        assert each.data.partition(b"\r\n\r\n")[2] == sent.partition(b"\r\n\r\n")[2]


@pytest.mark.timeout(900)
def test_kill_9_in_an_upgrade_loses_nothing(site: Site, sink: Sink, full: Path, version: int) -> None:
    upgrade(site, sink, full, version, 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kill_9_in_an_upgrade_loses_nothing_in_40_rounds(site: Site, sink: Sink, full: Path, version: int) -> None:
    upgrade(site, sink, full, version, 40)
