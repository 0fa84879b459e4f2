from __future__ import annotations

import asyncio
import contextlib
import math
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from sekisho import changes, db
from sekisho.changes import Change, ChangeKind, Follower, feed, read, record
from sekisho.db import Database, Watch
from tests.fakes.databases import NewDatabase, named, out_of_reach

POLL_S = 0.005


@pytest.fixture
def database(new_database: NewDatabase) -> Database:
    made = new_database()
    with made.begin() as tx:
        feed.create(tx)
    return made


def write(database: Database, *subjects: str, kind: ChangeKind = ChangeKind.KEY_REVOKED, at_ms: int = 1) -> None:
    with database.begin() as tx:
        for subject in subjects:
            record(tx, kind, 7, subject, at_ms=at_ms)


def look(database: Database, after: int | None) -> Sequence[Change]:
    with database.connect() as connection:
        return read(connection, after)


def resync(position: int) -> Change:
    return Change(position, ChangeKind.RESYNC, None, "")


# Writing and reading.


def test_changes_are_read_in_order_behind_a_position(database: Database) -> None:
    write(database, "a", "b")
    write(database, "c", kind=ChangeKind.DOMAIN_CHANGED)
    assert look(database, 1) == [
        Change(2, ChangeKind.KEY_REVOKED, 7, "b"),
        Change(3, ChangeKind.DOMAIN_CHANGED, 7, "c"),
    ]
    assert look(database, 3) == []


def test_a_change_is_told_only_if_its_transaction_commits(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as tx:
        record(tx, ChangeKind.KEY_REVOKED, 7, str(1 // 0), at_ms=1)
    write(database, "real")
    assert [change.subject for change in look(database, 0)] == ["real"]


def test_a_resync_is_never_written(database: Database) -> None:
    with database.begin() as tx, pytest.raises(ValueError, match="resync"):
        record(tx, ChangeKind.RESYNC, None, "", at_ms=1)


@pytest.mark.parametrize("after", [None, 17, 3])
def test_a_reader_without_a_known_place_is_told_to_forget_everything(database: Database, after: int | None) -> None:
    write(database, "a", "b")
    assert look(database, after) == (resync(2),)


def test_a_new_reader_of_an_empty_feed_starts_at_its_beginning(database: Database) -> None:
    assert look(database, None) == (resync(0),)
    assert look(database, 0) == []


@pytest.mark.parametrize(("waiting", "is_resync"), [(changes.BATCH_MAX, False), (changes.BATCH_MAX + 1, True)])
@pytest.mark.parametrize("place", [0, 1])
def test_a_reader_too_far_behind_forgets_everything(
    database: Database, waiting: int, is_resync: bool, place: int
) -> None:
    write(database, *(str(number) for number in range(place + waiting)))
    found = look(database, place)
    assert (found == (resync(place + waiting),)) is is_resync
    assert found[-1].position == place + waiting


def test_a_kind_of_a_newer_release_means_that_anything_may_have_changed(database: Database) -> None:
    write(database, "a", "b")
    with database.begin() as tx:
        tx.execute(sa.update(feed).where(feed.c.position == 2).values(kind="teapot.changed"))
    assert look(database, 1) == (resync(2),)


def test_old_rows_go_and_positions_never_come_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "KEEP_ROWS", 5)
    monkeypatch.setattr(changes, "_PRUNE_EVERY", 10)
    day = changes.KEEP_MS
    write(database, *"abcdefgh", at_ms=day)
    write(database, "i", at_ms=2 * day + 1)
    assert len(look(database, 0)) == 9  # not yet the turn
    write(database, "j", at_ms=2 * day + 1)
    with database.connect() as connection:
        positions = connection.execute(sa.select(feed.c.position)).scalars().all()
    assert positions == [6, 7, 8, 9, 10]  # of ten, the newest five
    with database.begin() as tx:
        tx.execute(sa.delete(feed))
    write(database, "k")
    assert look(database, 10) == (resync(11),)


def test_young_rows_stay_however_many(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "KEEP_ROWS", 2)
    monkeypatch.setattr(changes, "_PRUNE_EVERY", 10)
    write(database, *"abcdefghij", at_ms=changes.KEEP_MS)
    assert len(look(database, 0)) == 10


def test_a_reader_behind_what_was_pruned_has_always_too_much_before_it() -> None:
    # That is how it learns that it lost its place, on engines whose positions have gaps too.
    assert changes.BATCH_MAX < changes.KEEP_ROWS


# Several writers at once.


def test_who_took_a_number_first_and_commits_last_is_not_skipped(database: Database) -> None:
    """What a reader has seen ends where nothing earlier can appear any more."""
    with database.begin() as tx:
        record(tx, ChangeKind.KEY_REVOKED, 7, "first", at_ms=1)
        other = threading.Thread(target=write, args=(database, "second"))
        other.start()
        other.join(0.2)  # if it does not wait for its turn, it is done by now
        seen = list(look(database, 0))
    other.join()
    seen += look(database, seen[-1].position if seen else 0)
    assert [change.subject for change in seen] == ["first", "second"]


def test_a_reader_sees_everything_once_and_in_order_whoever_writes(database: Database) -> None:
    committed: list[str] = []

    def write_much(writer: int) -> None:
        chance = random.Random(writer)  # noqa: S311  # a reproducible mixture
        for number in range(30):
            subjects = [f"{writer}.{number}.{part}" for part in range(chance.randrange(4))]
            with contextlib.suppress(ZeroDivisionError), database.begin() as tx:
                for subject in subjects:
                    record(tx, ChangeKind.KEY_REVOKED, writer, subject, at_ms=1)
                if chance.random() < 0.2:
                    raise ZeroDivisionError  # its positions are never seen
                committed.extend(subjects)

    writers = [threading.Thread(target=write_much, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    seen: list[Change] = []
    while True:
        over = not any(writer.is_alive() for writer in writers)
        seen += look(database, seen[-1].position if seen else 0)
        if over:
            break
    assert sorted(change.subject for change in seen) == sorted(committed)
    assert [change.position for change in seen] == sorted({change.position for change in seen})


# Following.


class Heard:
    """What a follower told, and a way to wait for it."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.failing = False

    def __call__(self, told: Sequence[Change]) -> None:
        if self.failing:
            raise ZeroDivisionError
        self.changes.extend(told)

    @property
    def subjects(self) -> list[str]:
        return [change.subject for change in self.changes if change.kind is not ChangeKind.RESYNC]


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the other side is a thread, and a database
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def following(database: Database, heard: Heard) -> AsyncIterator[Follower]:
    follower = Follower(database, heard, poll_s=POLL_S)
    follower.start()
    try:
        await follower.confirmed()
        yield follower
    finally:
        follower.stop()


async def test_the_first_word_is_to_forget_everything_and_later_ones_come_once(database: Database) -> None:
    write(database, "before")
    heard = Heard()
    async with following(database, heard) as follower:
        assert heard.changes == [resync(1)]
        for subject in "abc":
            await asyncio.to_thread(write, database, subject)
        await eventually(lambda: len(heard.changes) >= 4)
        await asyncio.to_thread(write, database, "last")
        await eventually(lambda: "last" in heard.subjects)
        assert heard.subjects == ["a", "b", "c", "last"]
        assert follower.position == 5


async def test_what_another_process_writes_is_heard(database: Database) -> None:
    heard = Heard()
    async with following(database, heard):
        program = (
            "import sys; from sekisho import changes; from tests.fakes.databases import opened\n"
            "with opened(sys.argv[1]).begin() as tx:\n"
            "    changes.record(tx, changes.ChangeKind.KEY_CREATED, 1, 'elsewhere', at_ms=1)"
        )
        arguments = [sys.executable, "-c", program, named(database)]
        await asyncio.to_thread(subprocess.run, arguments, check=True)
        await eventually(lambda: heard.subjects == ["elsewhere"])


async def test_age_is_infinite_until_the_first_confirmation(database: Database) -> None:
    heard = Heard()
    follower = Follower(database, heard, poll_s=POLL_S)
    assert follower.age_s() == math.inf
    assert follower.position is None
    follower.start()
    await follower.confirmed()
    assert follower.age_s() < math.inf
    follower.stop()


async def test_age_grows_while_the_database_cannot_be_read_and_the_thread_goes_on(database: Database) -> None:
    heard = Heard()
    async with following(database, heard) as follower:
        with capture_logs() as logged, out_of_reach(database):
            await eventually(lambda: bool(logged))
            confirmed_s = follower._confirmed_s
            await asyncio.sleep(POLL_S * 10)
        assert follower._confirmed_s == confirmed_s
        assert [line["event"] for line in logged] == ["feed.unreadable"]  # once, not five times a second
        await eventually(lambda: follower._confirmed_s > confirmed_s)
        await asyncio.to_thread(write, database, "after")
        await eventually(lambda: heard.subjects == ["after"])


async def test_age_counts_from_before_the_read_to_what_the_loop_applied(database: Database) -> None:
    now = [100.0]
    follower = Follower(database, Heard(), monotonic=lambda: now[0], poll_s=POLL_S)
    follower.start()
    await follower.confirmed()
    follower.stop()
    await asyncio.sleep(0)
    now[0] = 107.5
    assert follower.age_s() == 7.5


async def test_a_loop_that_is_stuck_confirms_nothing(database: Database) -> None:
    heard = Heard()
    async with following(database, heard) as follower:
        confirmed_s = follower._confirmed_s
        write(database, "unheard")  # on the loop, as is the join below: nothing is applied meanwhile
        threading.Event().wait(POLL_S * 10)
        assert heard.subjects == []
        assert follower._confirmed_s == confirmed_s
        await eventually(lambda: heard.subjects == ["unheard"])


async def test_changes_that_cannot_be_applied_are_not_confirmed_and_come_again(database: Database) -> None:
    heard = Heard()
    async with following(database, heard) as follower:
        heard.failing = True
        with capture_logs() as logged:
            await asyncio.to_thread(write, database, "hard")
            await eventually(lambda: bool(logged))
            confirmed_s = follower._confirmed_s
            await asyncio.sleep(POLL_S * 10)
        assert follower._confirmed_s == confirmed_s
        assert follower.position == 0
        assert [line["event"] for line in logged] == ["feed.not_applied"]
        heard.failing = False
        await eventually(lambda: heard.subjects == ["hard"])
        assert follower.position == 1


async def test_a_follower_whose_place_is_gone_says_so(database: Database) -> None:
    write(database, *"abc")
    heard = Heard()
    async with following(database, heard):
        with database.begin() as tx:
            tx.execute(sa.delete(feed))
        await eventually(lambda: len(heard.changes) == 2)
        assert heard.changes[-1].kind is ChangeKind.RESYNC
        await asyncio.to_thread(write, database, "next")
        await eventually(lambda: heard.changes[-1].position == 4)


async def test_a_watch_that_fails_is_replaced(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed can still be read: only its news are lost."""
    opened: list[Watch] = []
    real = database.watch

    def watch() -> Watch:
        opened.append(real())
        return opened[-1]

    monkeypatch.setattr(database, "watch", watch)
    heard = Heard()
    async with following(database, heard):
        with monkeypatch.context() as broken:
            broken.setattr(type(opened[0]), "wait", staticmethod(lambda *_: 1 // 0))
            await eventually(lambda: len(opened) > 1)
        await asyncio.to_thread(write, database, "after")
        await eventually(lambda: heard.subjects == ["after"])


async def test_a_database_that_is_not_there_yet_is_waited_for(new_database: NewDatabase) -> None:
    late = new_database()
    heard = Heard()
    follower = Follower(late, heard, poll_s=POLL_S)
    follower.start()
    await asyncio.sleep(POLL_S * 4)
    assert follower.age_s() == math.inf
    with late.begin() as tx:
        db.control.create_all(tx, [feed])
    await follower.confirmed()
    follower.stop()


async def test_stop_before_start_and_twice_is_nothing(database: Database) -> None:
    follower = Follower(database, Heard())
    follower.stop()
    follower.stop()


def test_a_loop_that_ends_without_stop_leaves_no_thread_behind(database: Database) -> None:
    async def start() -> Follower:
        follower = Follower(database, Heard(), poll_s=POLL_S)
        follower.start()
        await follower.confirmed()
        return follower

    follower = asyncio.run(start())
    # A hand-over may have been lost with the loop: the thread may wait for it until stop() says that nobody answers.
    follower.stop()
    assert not follower._thread.is_alive()
