from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from sekisho.db import Database
from sekisho.events import log
from sekisho.events.log import Moved, Selection, Unreadable
from sekisho.events.model import EventKind
from sekisho.events.record import decode, encode
from sekisho.events.tables import event, event_day, event_unreadable
from sekisho.ids import AccountId, KeyId
from sekisho.queue.model import Bounced, BounceType, Deferred, Expired
from sekisho.queue.spool import Settlement
from tests.unit.events.stories import ACCEPTED_MS, DAY, message, settled

SPOOL = "spool-1"


@pytest.fixture
def database(event_store: Database) -> Database:
    return event_store


def numbered(*settlements: Settlement, first_seq: int = 1) -> list[Moved | Unreadable]:
    blobs = [blob for settlement in settlements for blob in encode(settlement)]
    return [Moved(seq, decode(blob), blob) for seq, blob in enumerate(blobs, first_seq)]


def stored(database: Database) -> Sequence[tuple[str, int]]:
    return [(found.event.kind, found.event.attempt) for found in log.read(database, 0, 1000).events]


def counts(database: Database) -> dict[tuple[int, int, int, str], int]:
    with database.connect() as connection:
        rows = connection.execute(sa.select(event_day)).all()
    return {(row.account_id, row.subuser_id, row.day - DAY, row.kind): row[-1] for row in rows}


def test_rows_counters_and_mark_become_true_together(database: Database) -> None:
    assert log.append_batch(database, SPOOL, numbered(settled(), settled(of=message(2)))) == 4
    assert stored(database) == [("processed", 1), ("delivered", 1)] * 2
    assert counts(database) == {(1, 0, 0, "processed"): 2, (1, 0, 0, "delivered"): 2}
    assert log.mark(database, SPOOL) == 4


def test_nothing_is_true_when_any_part_fails(database: Database) -> None:
    with database.begin() as tx:
        event_day.drop(tx)
    with pytest.raises(sa.exc.DBAPIError):
        log.append_batch(database, SPOOL, numbered(settled()))
    assert stored(database) == []
    assert log.mark(database, SPOOL) == 0


def test_an_empty_batch_is_nothing(database: Database) -> None:
    assert log.append_batch(database, SPOOL, []) == 0
    assert log.mark(database, SPOOL) == 0


def test_a_repeated_batch_changes_nothing(database: Database) -> None:
    batch = numbered(settled(), settled(of=message(2)))
    log.append_batch(database, SPOOL, batch)
    before = counts(database)
    assert log.append_batch(database, SPOOL, batch) == 0
    assert log.append_batch(database, SPOOL, batch[1:3]) == 0
    assert (len(stored(database)), counts(database), log.mark(database, SPOOL)) == (4, before, 4)


def test_a_batch_that_overlaps_the_mark_adds_its_new_part(database: Database) -> None:
    batch = numbered(*(settled(of=message(number)) for number in range(3)))
    log.append_batch(database, SPOOL, batch[:3])
    assert log.append_batch(database, SPOOL, batch[1:]) == 3
    assert counts(database) == {(1, 0, 0, "processed"): 3, (1, 0, 0, "delivered"): 3}


def test_a_salvaged_spool_that_tells_old_events_under_a_new_name_counts_nothing_twice(database: Database) -> None:
    log.append_batch(database, SPOOL, numbered(settled(), settled(of=message(2))))
    again = numbered(settled(of=message(2)), settled(of=message(3)), settled(of=message(3)), first_seq=90)
    assert log.append_batch(database, "spool-2", again) == 2
    assert counts(database) == {(1, 0, 0, "processed"): 3, (1, 0, 0, "delivered"): 3}
    assert log.mark(database, "spool-2") == 95


def test_new_events_under_old_numbers_are_kept(database: Database) -> None:
    """A spool that was copied back from a backup starts its numbers again."""
    log.append_batch(database, SPOOL, numbered(settled(), settled(of=message(2))))
    assert log.append_batch(database, SPOOL, numbered(settled(of=message(7)))) == 2
    assert log.mark(database, SPOOL) == 4


def test_spools_keep_marks_of_their_own(database: Database) -> None:
    log.append_batch(database, SPOOL, numbered(settled(), first_seq=5))
    log.append_batch(database, "spool-2", numbered(settled(of=message(2))))
    assert (log.mark(database, SPOOL), log.mark(database, "spool-2")) == (6, 2)
    assert len(stored(database)) == 4


def test_days_are_counted_per_tenant_and_kind_with_blocks_apart(database: Database) -> None:
    sub = message(2, subuser_id=AccountId(5))
    other = message(3, account_id=AccountId(2))
    batch = numbered(
        settled(Bounced("550 no", BounceType.BOUNCE)),
        settled(Bounced("554 no", BounceType.BLOCKED), of=sub),
        settled(Expired("451 later"), of=other, attempts=3, later_ms=86_400_000),
        settled(Deferred("451 later", 0), of=other, later_ms=86_400_000, attempts=1),
    )
    log.append_batch(database, SPOOL, batch)
    assert counts(database) == {
        (1, 0, 0, "processed"): 1,
        (1, 0, 0, "bounce"): 1,
        (1, 5, 0, "processed"): 1,
        (1, 5, 0, "blocked"): 1,
        (2, 0, 1, "blocked"): 1,
        (2, 0, 1, "deferred"): 1,
    }


def test_what_is_no_event_is_set_aside_and_holds_nothing_up(database: Database) -> None:
    damaged = Unreadable(2, b"\xc1", "not msgpack " * 100, ACCEPTED_MS)
    batch = [*numbered(settled(attempts=1)), damaged, *numbered(settled(attempts=2), first_seq=3)]
    assert log.append_batch(database, SPOOL, batch) == 2
    assert log.append_batch(database, SPOOL, batch) == 0
    with database.connect() as connection:
        (row,) = connection.execute(sa.select(event_unreadable)).all()
    assert (row.spool, row.seq, row.payload, row.at_ms) == (SPOOL, 2, b"\xc1", ACCEPTED_MS)
    assert len(row.error) == 500


def test_a_batch_of_nothing_readable_moves_the_mark(database: Database) -> None:
    assert log.append_batch(database, SPOOL, [Unreadable(9, b"", "empty", 1)]) == 0
    assert log.mark(database, SPOOL) == 9


# Reading.


@pytest.fixture
def filled(database: Database) -> Database:
    sub = message(2, subuser_id=AccountId(5), key_id=KeyId("s" * 22))
    other = message(3, account_id=AccountId(2), key_id=KeyId("o" * 22))
    log.append_batch(database, SPOOL, numbered(settled(), settled(of=sub), settled(of=other)))
    return database


@pytest.mark.parametrize(
    ("selection", "seqs"),
    [
        (Selection(), [1, 2, 3, 4, 5, 6]),
        (Selection(account_id=1), [1, 2, 3, 4]),
        (Selection(account_id=1, subuser_id=5), [3, 4]),
        (Selection(account_id=2, subuser_id=5), []),
        (Selection(key_id="o" * 22), [5, 6]),
        (Selection(message_id=message(2).id), [3, 4]),
        (Selection(kind=EventKind.DELIVERED), [2, 4, 6]),
        (Selection(account_id=1, kind=EventKind.DELIVERED), [2, 4]),
    ],
)
def test_events_are_selected_by_what_they_belong_to(filled: Database, selection: Selection, seqs: list[int]) -> None:
    page = log.read(filled, 0, 100, selection)
    assert ([found.seq for found in page.events], page.position) == (seqs, 6)


def test_reading_goes_on_behind_a_position(filled: Database) -> None:
    seen, position = [], 0
    for _ in range(3):
        page = log.read(filled, position, 4)
        position = page.position
        seen.append([one.seq for one in page.events])
    assert (seen, position) == ([[1, 2, 3, 4], [5, 6], []], 6)
    assert log.read(filled, 99, 4) == log.Page([], 99)


@pytest.mark.parametrize(
    ("count", "selection", "position"),
    [
        (2, Selection(), 4),
        (6, Selection(), 0),
        (7, Selection(), 0),
        (0, Selection(), 6),
        (2, Selection(account_id=1), 2),
        (1, Selection(kind=EventKind.PROCESSED), 4),
        (1, Selection(account_id=9), 0),
        (0, Selection(account_id=9), 6),
    ],
)
def test_the_newest_lie_behind_a_position(filled: Database, count: int, selection: Selection, position: int) -> None:
    assert log.before_last(filled, count, selection) == position
    assert len(log.read(filled, position, 100, selection).events) in {count, 6, 0}


def test_an_empty_store_has_no_newest(database: Database) -> None:
    assert log.before_last(database, 5) == 0
    assert log.read(database, 0, 5) == log.Page([], 0)


def test_a_position_is_never_given_twice(filled: Database) -> None:
    with filled.begin() as tx:
        tx.execute(sa.delete(event))
    log.append_batch(filled, "spool-9", numbered(settled()))
    assert [found.seq for found in log.read(filled, 0, 10).events] == [7, 8]


# Several movers at once, as several nodes have them.


def test_who_took_a_number_first_and_commits_last_is_not_skipped(database: Database) -> None:
    batch = numbered(settled())
    first = next(row for row in batch if isinstance(row, Moved))
    with database.begin() as tx:
        tx.execute(sa.insert(event).values(**log._columns(first)))
        other = threading.Thread(target=log.append_batch, args=(database, "spool-2", numbered(settled(of=message(2)))))
        other.start()
        other.join(0.2)  # if it does not wait for its turn, it is done by now
        page = log.read(database, 0, 1000)
    other.join()
    seen = [*page.events, *log.read(database, page.position, 1000).events]
    assert [found.event.message_id for found in seen] == [message(1).id, message(2).id, message(2).id]


def test_a_reader_sees_everything_once_whoever_moves(database: Database) -> None:
    def move(spool: int) -> None:
        for number in range(15):
            story = settled(of=message(1000 * spool + number))
            log.append_batch(database, f"spool-{spool}", numbered(story, first_seq=2 * number + 1))

    movers = [threading.Thread(target=move, args=(number,)) for number in range(4)]
    for mover in movers:
        mover.start()
    seen: list[bytes] = []
    position = 0
    while True:
        over = not any(mover.is_alive() for mover in movers)
        page = log.read(database, position, 1000)
        position = page.position
        seen += [found.event.message_id for found in page.events]
        if over:
            break
    assert Counter(seen) == Counter({message(1000 * spool + n).id: 2 for spool in range(4) for n in range(15)})
    assert counts(database) == {(1, 0, 0, "processed"): 60, (1, 0, 0, "delivered"): 60}


def test_what_the_error_of_unreadable_bytes_quotes_can_be_stored(database: Database) -> None:
    log.append_batch(database, SPOOL, [Unreadable(1, b"\xff", "not \0 an event", 7)])
    with database.connect() as connection:
        assert connection.execute(sa.select(event_unreadable.c.error)).scalars().all() == ["not \ufffd an event"]
