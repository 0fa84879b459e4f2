from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sekisho.delivery.capture import FILE_NAME, CaptureStore, Copy
from sekisho.delivery.routes import Routes
from sekisho.queue.model import BodyFile, Deferred, Delivered
from tests.fakes.spool import MemorySpool, make_message, recipients
from tests.unit.delivery.conftest import relaying


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


def copy(number: int, body: bytes = b"x\r\n", index: int = 0) -> Copy:
    return (1000 + number, f"id{number}", index, "b@relay.test", "r@mx.test", 10 + len(body), b"Subject: x\r\n", body)


def test_what_was_captured_is_there_as_it_would_have_been_sent(path: Path) -> None:
    store = CaptureStore(path)
    assert store.capture([copy(1), copy(2, b".dot\r\n")]) == [1, 2]
    store.close()
    again = CaptureStore(path)
    assert [each.number for each in again.newest(10)] == [2, 1]
    found = again.find(2)
    assert found is not None
    captured, content = found
    assert (captured.mail_from, captured.recipient, captured.message_id) == ("b@relay.test", "r@mx.test", "id2")
    assert content == b"Subject: x\r\n\r\n.dot\r\n"
    assert again.find(3) is None
    again.close()


def test_a_copy_that_comes_twice_is_stored_once(path: Path) -> None:
    store = CaptureStore(path)
    assert store.capture([copy(1), copy(1, index=1)]) == [1, 2]
    first, other = store.capture([copy(1), copy(2)])
    assert first == 1
    assert other > 2
    assert len(store.newest(10)) == 3
    store.close()


def test_the_newest_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.capture._PRUNE_AFTER", 1)
    store = CaptureStore(path, messages=10)
    for number in range(25):
        store.capture([copy(number)])
    assert [each.number for each in store.newest(100)] == list(range(25, 15, -1))
    store.close()


def test_size_is_bounded_but_the_newest_always_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.capture._PRUNE_AFTER", 1)
    store = CaptureStore(path, size_bytes=5000)
    for number in range(10):
        store.capture([copy(number, b"x" * 2000)])
    assert [each.number for each in store.newest(100)] == [10, 9]
    store.capture([copy(11, b"x" * 9000)])
    assert [each.number for each in store.newest(100)] == [11]
    store.close()


def test_numbers_are_never_used_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.capture._PRUNE_AFTER", 1)
    store = CaptureStore(path, messages=0)
    assert [store.capture([copy(number)])[0] for number in range(3)] == [1, 2, 3]
    store.close()


async def test_capture_mode_delivers_everything_locally(path: Path, tmp_path: Path) -> None:
    store = CaptureStore(path)
    large = tmp_path / "body"
    large.write_bytes(b"y" * 100 + b"\r\n")

    def capturing(more: dict[str, Any]) -> None:
        more["capture"] = store

    async with relaying(Routes(), adjust=capturing) as relay:
        for number in range(1, 200):
            relay.send("a@mx.test", "b@other.test", number=number)
        relay.send("c@mx.test", number=1000, body=BodyFile(large, 102))
        await relay.spool.wait_for(399)
    assert {type(outcome) for outcome in relay.spool.outcomes} == {Delivered}
    last = relay.spool.outcomes[-1]
    assert isinstance(last, Delivered)
    assert last.reply.startswith("250 2.0.0 captured as ")
    assert len(store.newest(1000)) == 399
    found = store.find(store.newest(1)[0].number)
    assert found is not None
    assert found[1].startswith(b"DKIM-Signature: x\r\nFrom: a@us.test\r\n")
    store.close()


async def test_a_mailbox_that_cannot_be_written_defers(tmp_path: Path) -> None:
    store = CaptureStore(tmp_path / "missing" / FILE_NAME)

    def capturing(more: dict[str, Any]) -> None:
        more["capture"] = store

    async with relaying(Routes(), adjust=capturing) as relay:
        relay.send("a@mx.test")
        await relay.spool.wait_for(1)
    (outcome,) = relay.spool.outcomes
    assert isinstance(outcome, Deferred)
    assert outcome.status == "4.3.0"


async def test_a_crash_between_capture_and_settlement_captures_once(path: Path) -> None:
    store = CaptureStore(path)

    def capturing(more: dict[str, Any]) -> None:
        more["capture"] = store

    for _ in range(2):
        spool = MemorySpool()
        spool.store(make_message(7), recipients("a@mx.test"))
        async with relaying(Routes(), spool=spool, adjust=capturing):
            await spool.wait_for(1)
    assert len(store.newest(10)) == 1
    store.close()


def test_two_processes_may_write(path: Path) -> None:
    one, two = CaptureStore(path), CaptureStore(path)
    one.capture([copy(1)])
    two.capture([copy(2)])
    assert len(one.newest(10)) == 2
    one.close()
    two.close()


def test_it_is_synced(path: Path) -> None:
    store = CaptureStore(path)
    store.capture([copy(1)])
    assert store._connection is not None
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
