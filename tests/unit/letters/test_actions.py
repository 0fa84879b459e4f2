from __future__ import annotations

import pytest
import sqlalchemy as sa

from sekisho import letters
from sekisho.db import Database
from sekisho.letters import Kind
from sekisho.letters import actions as keeping
from sekisho.letters.actions import KEPT_MS, PER_DAY, PER_HOUR
from sekisho.letters.model import LIFETIME_MS, Letter
from sekisho.letters.tables import letter
from tests.fakes.control import NOW_MS

HOUR_MS = 3_600_000


def ask(control: Database, kind: Kind, to: str = "ann@example.com", at_ms: int = NOW_MS) -> None:
    with control.begin() as tx:
        letters.ask(tx, kind, to, at_ms=at_ms, language="ja", about={"address": "192.0.2.1"})


def claim(control: Database, now_ms: int = NOW_MS) -> tuple[Letter, ...]:
    with control.begin() as tx:
        return keeping.claim(tx, now_ms)


def count(control: Database) -> int:
    with control.connect() as tx:
        return tx.execute(sa.select(sa.func.count()).select_from(letter)).scalar_one()


def test_a_letter_is_taken_once_and_again_when_its_taker_has_died(control: Database) -> None:
    ask(control, Kind.SIGNUP)
    (one,) = claim(control)
    assert (one.kind, one.to, one.language, one.about, one.tries) == (
        Kind.SIGNUP,
        "ann@example.com",
        "ja",
        {"address": "192.0.2.1"},
        1,
    )
    assert claim(control) == ()
    (again,) = claim(control, NOW_MS + 300_000)
    assert (again.id, again.tries) == (one.id, 2)
    with control.begin() as tx:
        keeping.finish(tx, one.id, at_ms=NOW_MS)
    assert claim(control, NOW_MS + HOUR_MS) == ()


def test_what_could_not_be_handed_in_is_tried_later_and_later(control: Database) -> None:
    ask(control, Kind.SIGNUP)
    now_ms, pauses = NOW_MS, []
    for _ in range(8):
        (one,) = claim(control, now_ms)
        with control.begin() as tx:
            keeping.give_back(tx, one, at_ms=now_ms)
            next_ms = tx.execute(sa.select(letter.c.next_ms)).scalar_one()
        pauses.append((next_ms - now_ms) // 60_000)
        now_ms = next_ms
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_waits_for_as_long_as_it_is_of_use(control: Database, kind: Kind) -> None:
    ask(control, kind)
    assert len(claim(control, NOW_MS + LIFETIME_MS[kind] - 1)) == 1
    assert claim(control, NOW_MS + LIFETIME_MS[kind] + HOUR_MS) == ()
    assert claim(control, NOW_MS) == ()


@pytest.mark.parametrize("kind", [Kind.SIGNUP, Kind.RESET])
def test_strangers_cause_few_letters_to_a_mailbox(control: Database, kind: Kind) -> None:
    for hour in range(10):
        for to in ("ann@example.com", "Ann@Example.com"):
            for _ in range(PER_HOUR):
                ask(control, kind, to, NOW_MS + hour * HOUR_MS)
        assert count(control) == min(PER_DAY, PER_HOUR * (hour + 1))
    ask(control, kind, "bob@example.com")
    assert count(control) == PER_DAY + 1


def test_strangers_fill_the_table_to_a_bound_which_does_not_stop_others(
    control: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "STRANGERS_MAX", 5)
    for number in range(9):
        ask(control, Kind.SIGNUP if number % 2 else Kind.RESET, f"x{number}@example.com")
    assert count(control) == 5
    ask(control, Kind.INVITE)
    assert count(control) == 6


def test_sent_letters_are_kept_for_a_while(control: Database) -> None:
    ask(control, Kind.NEW_LOGIN)
    ask(control, Kind.INVITE)
    (one, _) = claim(control)
    with control.begin() as tx:
        keeping.finish(tx, one.id, at_ms=NOW_MS)
        assert keeping.prune(tx, NOW_MS + KEPT_MS) == 0
        assert keeping.prune(tx, NOW_MS + KEPT_MS + 1) == 1
    assert count(control) == 1
