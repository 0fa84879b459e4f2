from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.accounts import Account, grant_credits
from sekisho.credits import Bucket, Credits, Reset
from sekisho.db import Database
from sekisho.queue import credits as queued_credits
from sekisho.queue.credits import Left, add_to_remaining, left
from sekisho.refusal import Declined, Obstacle
from tests.fakes.control import BY, NOW_MS, a_subuser, an_account


@pytest.fixture
def shop(control: Database) -> Account:
    with control.begin() as tx:
        return a_subuser(tx, an_account(tx))


def counted(monkeypatch: pytest.MonkeyPatch, used: int) -> None:
    def used_of(_spool: Path, _bucket: Bucket) -> int:
        return used

    monkeypatch.setattr(queued_credits, "used_of", used_of)


def test_what_is_left_is_the_grant_without_what_was_used(
    shop: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = Credits(shop.id, 100, Reset.DAILY, NOW_MS)
    assert left(tmp_path, grant, NOW_MS) == Left(100, 0, 100)
    counted(monkeypatch, 30)
    assert left(tmp_path, grant, NOW_MS) == Left(100, 30, 70)
    counted(monkeypatch, 130)
    assert left(tmp_path, grant, NOW_MS) == Left(100, 130, 0)


def test_what_is_added_counts_from_what_was_used(
    control: Database, shop: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted(monkeypatch, 30)
    with control.begin() as tx:
        unlimited = add_to_remaining(tx, tmp_path, shop, 5, by=BY)
        assert isinstance(unlimited, Declined)
        assert unlimited.obstacle is Obstacle.CREDITS_UNLIMITED
        limited = grant_credits(tx, shop, Credits(shop.id, 100, None, NOW_MS), by=BY)
        more = add_to_remaining(tx, tmp_path, limited, 5, by=BY)
        assert isinstance(more, Account)
        assert more.credits is not None
        assert left(tmp_path, more.credits, NOW_MS) == Left(105, 30, 75)
        none = add_to_remaining(tx, tmp_path, more, -1000, by=BY)
        assert isinstance(none, Account)
        assert none.credits is not None
        assert left(tmp_path, none.credits, NOW_MS).remain == 0
