from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from sekisho import accounts
from sekisho.accounts import Account
from sekisho.db import Database
from sekisho.events.tables import event, event_day
from sekisho.policy.closing import delete_subuser
from sekisho.service.erasing import SETTLED_MS, erase
from tests.fakes.control import BY, NOW_MS, RELAY, a_subuser, an_account


@pytest.fixture
def events(event_store: Database) -> Database:
    return event_store


def happened(events: Database, tenant: Account, count: int) -> None:
    rows = [
        {
            "account_id": tenant.account_id,
            "subuser_id": tenant.subuser_id,
            "key_id": "k",
            "message_id": bytes([tenant.id]) * 16,
            "recipient_index": number,
            "attempt": 0,
            "kind": "delivered",
            "at_ms": 1,
            "email": "r@example.com",
            "payload": b"",
        }
        for number in range(count)
    ]
    with events.begin() as tx:
        tx.execute(sa.insert(event), rows)
        counter = {"account_id": tenant.account_id, "subuser_id": tenant.id, "day": 1, "kind": "delivered"}
        tx.execute(sa.insert(event_day).values(count=count, **counter))


def left(events: Database) -> set[int]:
    with events.connect() as tx:
        found = set(tx.execute(sa.select(event.c.subuser_id).distinct()).scalars())
        return found | set(tx.execute(sa.select(event_day.c.subuser_id)).scalars())


def test_the_events_of_a_deleted_subuser_go_and_of_no_other(
    control: Database, events: Database, tmp_path: Path
) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        shop, news = a_subuser(tx, acme, "shop"), a_subuser(tx, acme, "news")
    happened(events, shop, 2500)
    happened(events, news, 3)
    assert erase(control, events, tmp_path, NOW_MS) == 0
    assert left(events) == {shop.id, news.id}
    with control.begin() as tx:
        delete_subuser(tx, shop, relay=RELAY, by=BY)
    assert erase(control, events, tmp_path, NOW_MS) == 0
    assert left(events) == {news.id}
    # An event of its dropped mail that came late goes as well.
    with control.connect() as tx:
        assert [gone.id for gone in accounts.unerased(tx)] == [shop.id]
    assert erase(control, events, tmp_path, NOW_MS + SETTLED_MS) == 1
    assert erase(control, events, tmp_path, NOW_MS + SETTLED_MS) == 0
