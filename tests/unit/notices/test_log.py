from __future__ import annotations

import sqlalchemy as sa
from structlog.testing import capture_logs

from sekisho import notices
from sekisho.db import Database
from sekisho.ids import AccountId
from sekisho.notices import Kind, Notice
from sekisho.notices.log import FOLD_MS, KEPT
from sekisho.policy.closing import delete_subuser
from tests.fakes.control import BY, NOW_MS, RELAY, a_subuser, an_account


def told(control: Database, owner_id: AccountId) -> list[Notice]:
    with control.connect() as tx:
        return list(notices.listing(tx, owner_id, limit=2000))


def test_a_subusers_parent_is_told_too_and_nobody_else(control: Database) -> None:
    with control.begin() as tx:
        acme, other = an_account(tx), an_account(tx, "other")
        shop = a_subuser(tx, acme)
        with capture_logs() as logs:
            notices.tell(tx, shop.id, Kind.KEY_HELD, "k1", "It leaked.", at_ms=NOW_MS)
    assert [(one.kind, one.subject, one.text, one.count) for one in told(control, shop.id)] == [
        ("key.held", "k1", "It leaked.", 1)
    ]
    assert len(told(control, acme.id)) == 1
    assert told(control, other.id) == []
    assert [(line["event"], line["account"]) for line in logs] == [("owner.told", "shop")]


def test_the_same_about_the_same_within_an_hour_is_one_notice(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        for subject, at_ms in (("k1", 0), ("k1", FOLD_MS - 1), ("k2", 5), ("k1", FOLD_MS)):
            notices.tell(tx, acme.id, Kind.CANARY_USED, subject, "Used.", at_ms=NOW_MS + at_ms)
        notices.tell(tx, acme.id, Kind.KEY_HELD, "k1", "Held.", at_ms=NOW_MS)
    found = [
        (one.kind, one.subject, one.count, one.first_ms - NOW_MS, one.last_ms - NOW_MS)
        for one in told(control, acme.id)
    ]
    assert found == [
        ("key.held", "k1", 1, 0, 0),
        ("key.canary_used", "k1", 1, FOLD_MS, FOLD_MS),
        ("key.canary_used", "k2", 1, 5, 5),
        ("key.canary_used", "k1", 2, 0, FOLD_MS - 1),
    ]


def test_the_newest_are_kept_and_read_page_by_page(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        for number in range(KEPT + 3):
            notices.tell(tx, acme.id, Kind.KEY_HELD, f"k{number}", "Held.", at_ms=NOW_MS)
        found = notices.listing(tx, acme.id, limit=KEPT * 2)
        page = notices.listing(tx, acme.id, limit=2, before=found[0].id)
    assert [one.subject for one in found] == [f"k{number}" for number in range(KEPT + 2, 2, -1)]
    assert page == found[1:3]


def test_who_was_deleted_is_told_nothing_and_leaves_nothing(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        shop = a_subuser(tx, acme)
        notices.tell(tx, shop.id, Kind.KEY_HELD, "k1", "Held.", at_ms=NOW_MS)
        delete_subuser(tx, shop, relay=RELAY, by=BY)
        notices.tell(tx, shop.id, Kind.KEY_HELD, "k2", "Held.", at_ms=NOW_MS)
        owners = tx.execute(sa.select(notices.notice.c.owner_id)).scalars().all()
    assert owners == [acme.id]
