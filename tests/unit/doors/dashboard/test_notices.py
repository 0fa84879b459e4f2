from __future__ import annotations

import pytest

from sekisho import notices
from sekisho.accounts import Account
from sekisho.notices import Kind
from sekisho.users import User
from tests.fakes.control import NOW_MS, an_account
from tests.fakes.dashboard import Browser, Dashboard
from tests.unit.doors.dashboard.hostile import HOSTILE, shows


def told(dashboard: Dashboard, owner: Account, subject: str, text: str, kind: Kind = Kind.KEY_HELD) -> None:
    with dashboard.control.begin() as tx:
        notices.tell(tx, owner.id, kind, subject, text, at_ms=NOW_MS)


async def test_what_was_told_is_listed_in_pages(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/notices")
    assert "There is none." in browser.text
    for number in range(60):
        told(dashboard, acme, f"k{number}", f"notice number {number}.")
    await browser.get("/notices")
    assert "notice number 59." in browser.text
    assert "notice number 9." not in browser.text
    assert '<a href="/keys/k59/radius">' in browser.text
    older = browser.text.split('<a href="/notices?before=')[1].partition('"')[0]
    await browser.get(f"/notices?before={older}")
    assert "notice number 9." in browser.text
    assert "Older ones" not in browser.text


async def test_nobody_reads_what_others_were_told(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    with dashboard.control.begin() as tx:
        other = an_account(tx, "other")
    told(dashboard, other, "k", "a secret of others")
    await browser.enter(ann)
    for path in ("/notices", "/notices?before=999999", "/notices?before=x"):
        assert (await browser.get(path)).status_code == 200
        assert "a secret of others" not in browser.text


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_others_wrote_does_no_harm(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, text: str
) -> None:
    told(dashboard, acme, text, text, Kind.CANARY_USED)
    await browser.enter(ann)
    assert shows((await browser.get("/notices")).text, text)
