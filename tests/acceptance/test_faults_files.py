"""Files that come back damaged: what can be read is kept, the rest is set aside and told, before anything is taken."""

from __future__ import annotations

import contextlib
import random
import shutil
import smtplib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.relay import eventually, letter, submit
from tests.acceptance.site import Site, copy_files
from tests.fakes.sink import Sink

PAGE = 4096
LETTERS = 12
LARGE = 3_000_000
"""Surely streamed to a file; what comes whole in one go may stay in its row."""
TOLD = (
    "spool.recovered",
    "spool.bodies_missing",
    "spool.message_damaged",
    "delivery.body_damaged",
    "delivery.preparation_failed",
)
"""What the log says when a letter is missing: one of these."""
CHANCE = random.Random()  # noqa: S311  # damage, not secrets


@pytest.fixture
def site(site: Site) -> Site:
    site.server = "workers = 1"
    site.delivery = 'retry_first = "1s"\nretry_max = "2s"'
    site.write()
    return site


@pytest.fixture
def queued(site: Site, sink: Sink) -> Site:
    """A site that was killed with letters in its queue, some with a body file; the log was not copied."""
    sink.answer = later
    with site.relay_kept() as relay:
        relay.start()
        with contextlib.closing(relay.client(site.key)) as smtp:
            for number in range(1, LETTERS + 1):
                submit(smtp, letter(number, filler=filler(number)), "reader@sink.test")
        relay.kill_group()
    sink.answer = lambda _verb, _argument: None
    return site


def filler(number: int) -> int:
    return LARGE if number % 4 == 0 else 3000


def later(verb: str, _argument: str) -> str | None:
    return "451 4.7.1 Later" if verb == "RCPT" else None


def spool(site: Site) -> Path:
    return site.data / "spool"


def arrived(sink: Sink) -> set[int]:
    return {letter.sequence for letter in sink.letters if letter.sequence is not None}


def delivers(site: Site, sink: Sink, number: int = 100) -> None:
    """The server comes up, takes a new letter, and empties its queue."""
    with site.relay() as relay:
        relay.send(site.key, letter(number))
        eventually(lambda: number in arrived(sink), "a new letter's delivery")
        eventually(
            lambda: not [row for row in site.queue() if row.get("state") not in {"set aside", "held"}],
            "an empty queue",
        )
        assert relay.stop() == 0


def said(site: Site, event: str) -> list[dict[str, object]]:
    return [line for line in site.relay().log_lines() if line["event"] == event]


def check(site: Site, sink: Sink) -> None:
    """Every letter arrived, unchanged and once at most per promise, or the log tells that something is missing."""
    delivers(site, sink)
    missing = set(range(1, LETTERS + 1)) - arrived(sink)
    assert not missing or [line for event in TOLD for line in said(site, event)], missing
    for each in sink.letters:
        number = each.sequence or 0
        if number in range(1, LETTERS + 1):
            sent = letter(number, filler=filler(number))
            assert each.data.partition(b"\r\n\r\n")[2] == sent.partition(b"\r\n\r\n")[2], number
    if said(site, "spool.recovered"):
        assert list(spool(site).glob("spool.db.suspect-*")), "the damaged file is kept"


def truncate(path: Path, size: int) -> None:
    with path.open("r+b") as stream:
        stream.truncate(size)


def flip(path: Path, count: int) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(count):
        place = CHANCE.randrange(len(content) * 8)
        content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def overwrite_page(path: Path, page: int) -> None:
    with path.open("r+b") as stream:
        stream.seek((page - 1) * PAGE)
        stream.write(bytes(range(256)) * (PAGE // 256))


def flipped_body_file(folder: Path) -> None:
    flip(next((folder / "bodies").iterdir()), 1)


def flipped_row_body(folder: Path) -> None:
    """One bit of a body that lies in the database, which SQLite itself has no means to notice."""
    log_copied(folder)
    path = folder / "spool.db"
    content, filler = bytearray(path.read_bytes()), b"0123456789abcdef"
    before = bodies_in_rows(folder)
    starts = [at for at in range(0, len(content), PAGE) if content.find(filler, at, at + PAGE) >= 0]
    # Pages that are free, or the free part of one, may hold old copies: it must be one that is read.
    for start in CHANCE.sample(starts, len(starts)):
        place = content.index(filler, start) + CHANCE.randrange(len(filler))
        content[place] ^= 1
        path.write_bytes(content)
        if bodies_in_rows(folder) != before:
            return
        content[place] ^= 1
    pytest.fail("no body in a row")


def bodies_in_rows(folder: Path) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(folder / "spool.db")) as connection:
        return [body for (body,) in connection.execute("SELECT body FROM message ORDER BY row")]


def log_copied(folder: Path) -> None:
    """Bring everything into the database file, as a checkpoint would have."""
    with contextlib.closing(sqlite3.connect(folder / "spool.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def empty_database(folder: Path) -> None:
    truncate(folder / "spool.db", 0)


def half_a_log(folder: Path) -> None:
    truncate(folder / "spool.db-wal", (folder / "spool.db-wal").stat().st_size // 2)


def empty_log(folder: Path) -> None:
    truncate(folder / "spool.db-wal", 0)


def flipped_log(folder: Path) -> None:
    flip(folder / "spool.db-wal", 40)


def first_page_of_nonsense(folder: Path) -> None:
    log_copied(folder)
    overwrite_page(folder / "spool.db", 1)


def page_of_nonsense(folder: Path) -> None:
    log_copied(folder)
    overwrite_page(folder / "spool.db", 9)


def truncated_database(folder: Path) -> None:
    log_copied(folder)
    truncate(folder / "spool.db", 10 * PAGE + 100)


def truncated_slots(folder: Path) -> None:
    for path in folder.glob("slots/*"):
        truncate(path, 100)


def slots_of_nonsense(folder: Path) -> None:
    for path in folder.glob("slots/*"):
        path.write_bytes(b"x" * 100)


@pytest.mark.parametrize(
    "damage",
    [
        empty_database,
        half_a_log,
        empty_log,
        flipped_log,
        first_page_of_nonsense,
        page_of_nonsense,
        truncated_database,
        truncated_slots,
        slots_of_nonsense,
    ],
)
def test_what_can_be_read_is_kept_and_the_rest_is_told(
    queued: Site, sink: Sink, damage: Callable[[Path], None]
) -> None:
    damage(spool(queued))
    check(queued, sink)


@pytest.mark.parametrize("damage", ["emptied", "cut", "gone"])
def test_a_damaged_body_is_not_sent(queued: Site, sink: Sink, damage: str) -> None:
    body = next((spool(queued) / "bodies").iterdir())
    if damage == "gone":
        body.unlink()
    else:
        truncate(body, 0 if damage == "emptied" else 1000)
    check(queued, sink)
    assert len(arrived(sink) & set(range(1, LETTERS + 1))) == LETTERS - 1


@pytest.mark.parametrize("damage", [flipped_body_file, flipped_row_body])
def test_a_letter_with_a_flipped_bit_is_set_aside_and_told(
    queued: Site, sink: Sink, damage: Callable[[Path], None]
) -> None:
    damage(spool(queued))
    check(queued, sink)
    assert len(arrived(sink) & set(range(1, LETTERS + 1))) == LETTERS - 1
    (left,) = queued.queue()
    assert (left["state"], left["last_status"]) == ("set aside", "4.3.0")
    assert "damaged" in left["last_reply"]
    assert said(queued, "spool.message_damaged") + said(queued, "delivery.body_damaged")
    (shown,) = queued.run("queue", "show", left["message_id"])["recipients"]
    assert "damaged" in shown["last_reply"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_flipped_bits_never_stop_the_server_nor_change_a_letter(queued: Site, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    copy_files(queued.data, kept)
    for round_number in range(40):
        with Sink() as sink:
            shutil.rmtree(queued.data)
            copy_files(kept, queued.data)
            queued.relay().log.write_bytes(b"")
            queued.routes = None
            queued.sink_port = sink.port
            queued.write()
            if round_number % 2:
                log_copied(spool(queued))
            names = [
                path for path in spool(queued).glob("spool.db*") if path.stat().st_size and path.suffix != ".db-shm"
            ]
            flip(CHANCE.choice(names), CHANCE.choice((1, 3, 30)))
            check(queued, sink)


def test_a_damaged_control_database_is_refused_and_queued_mail_survives_it(queued: Site, sink: Sink) -> None:
    control = queued.data / "control.db"
    with contextlib.closing(sqlite3.connect(control)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = control.read_bytes()
    pages = len(kept) // PAGE
    for page in (1, pages // 2):
        overwrite_page(control, page)
        with queued.relay_kept() as relay:
            try:
                relay.start()
            except AssertionError:
                assert (
                    "control.db" in relay.log.read_text()
                    or "malformed" in relay.log.read_text()
                    or ("not a database" in relay.log.read_text())
                )
            else:
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    relay.client("SG." + "x" * 22 + "." + "y" * 43)
                    pytest.fail("a made-up key was let in")
        control.write_bytes(kept)
    check(queued, sink)
    assert arrived(sink) >= set(range(1, LETTERS + 1))


def test_control_data_overwritten_while_running_never_fails_open(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        relay.send(site.key, letter(1))
        sink.wait_for(1)
        control = site.data / "control.db"
        kept = control.read_bytes()
        with contextlib.closing(sqlite3.connect(control)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = control.stat().st_size
        with control.open("r+b") as stream:
            stream.write(CHANCE.randbytes(size))
        with pytest.raises((smtplib.SMTPException, OSError)):
            relay.client("SG." + "x" * 22 + "." + "y" * 43)
        assert relay.running
        control.write_bytes(kept)

        def sends() -> bool:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                relay.send(site.key, letter(2))
                return True
            return False

        eventually(sends, "service with the data back")
        sink.wait_for(2)
        assert relay.stop() == 0
