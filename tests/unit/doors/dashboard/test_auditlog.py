from __future__ import annotations

import csv
import io

import pytest
import sqlalchemy as sa

from sekisho import audit
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.audit.chain import verify
from sekisho.audit.export import read_lines
from sekisho.audit.keeper import HeadKeeper
from sekisho.audit.signed import Signer
from sekisho.doors.dashboard import auditlog
from sekisho.users import Role, User
from tests.fakes.control import NOW_MS, SEALER, an_account
from tests.fakes.dashboard import Browser, Dashboard
from tests.unit.doors.dashboard.hostile import HOSTILE, is_harmless, shows

DAY_MS = 86_400_000


def written(dashboard: Dashboard, owner: Account, count: int, **more: object) -> None:
    given = {"action": "key.create", "subject": "", "by": By("user:1", NOW_MS, "192.0.2.9"), **more}
    with dashboard.control.begin() as tx:
        for number in range(count):
            subject = given["subject"] or f"thing-{number}"
            audit.record(
                tx,
                by=given["by"],  # type: ignore[arg-type]
                action=str(given["action"]),
                account_id=owner.id,
                subject=str(subject),
                details={"name": str(subject)},
            )


async def test_entries_come_in_pages_with_names(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    written(dashboard, acme, 120, by=By(f"user:{ann.id}", NOW_MS))
    await browser.enter(ann)
    await browser.get("/audit")
    assert f"user:{ann.id} ({ann.username})" in browser.text
    assert "thing-119" in browser.text
    assert "thing-69<" not in browser.text
    seen = browser.text.count("<td>key.create</td>")
    for _ in range(2):
        older = browser.text.split('<a href="/audit?before=')[1].partition('"')[0]
        await browser.get(f"/audit?before={older}")
        seen += browser.text.count("<td>key.create</td>")
    assert seen == 120
    assert "Older ones" not in browser.text


async def test_entries_are_searched(dashboard: Dashboard, browser: Browser, acme: Account, ann: User) -> None:
    written(dashboard, acme, 1, subject="early", by=By("user:1", NOW_MS - 2 * DAY_MS))
    written(dashboard, acme, 1, subject="late", action="key.revoke", by=By("key:abc", NOW_MS))
    await browser.enter(ann)
    for query, expected in (
        ("action=key.", {"early", "late"}),
        ("action=key.revoke", {"late"}),
        ("subject=early", {"early"}),
        ("actor=key:abc", {"late"}),
        ("since=2026-11-24&action=key.", {"late"}),
        ("until=2026-11-23&action=key.", {"early"}),
    ):
        await browser.get(f"/audit?{query}")
        assert {name for name in ("early", "late") if f">{name}</td>" in browser.text} == expected, query
    await browser.get("/audit?since=yesterday")
    assert browser.page.status_code == 422
    assert "Write a day such as" in browser.text


async def test_somebody_elses_log_is_neither_read_nor_exported(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        other = an_account(tx, "other")
    written(dashboard, other, 3, subject="secret thing")
    await browser.enter(ann)
    for path in ("/audit", "/audit?subject=secret+thing", "/audit/export?format=json", "/audit/export?format=csv"):
        page = await browser.get(path)
        assert page.status_code == 200
        assert "secret thing</td>" not in page.text
        assert '"secret thing"' not in page.text.replace('value="secret thing"', "")


async def test_a_log_is_verified_in_words(dashboard: Dashboard, browser: Browser, acme: Account, ann: User) -> None:
    written(dashboard, acme, 3)
    await browser.enter(ann)
    await browser.get("/audit")
    await browser.post("/audit/verify")
    assert "each what was written and in its place" in browser.text
    assert "No head of it was signed yet" in browser.text
    HeadKeeper(dashboard.control, Signer(SEALER), dashboard.parts.audit_heads).keep()
    await browser.post("/audit/verify")
    assert "It was held against 1 signed head" in browser.text
    assert Signer(SEALER).public_key in browser.text.replace("&#43;", "+")
    with dashboard.control.begin() as tx:
        tx.execute(sa.update(audit.audit).where(audit.audit.c.seq == 2).values(subject="another"))
    await browser.post("/audit/verify")
    assert "The log is not what it was." in browser.text
    assert "It was changed after it was written" in browser.text
    dashboard.parts.audit_heads.write_bytes(b"nonsense\n")
    await browser.post("/audit/verify")
    assert "The signed heads cannot be read" in browser.text


async def test_one_log_is_verified_at_a_time(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    async with dashboard.parts.verifying:
        await browser.post("/audit/verify")
    assert browser.page.status_code == 503
    assert "being verified already" in browser.text


async def test_an_export_can_be_verified_and_a_table_read(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditlog, "_EXPORT_BATCH", 3)
    written(dashboard, acme, 7)
    await browser.enter(ann)
    with dashboard.control.connect() as tx:
        count = tx.execute(sa.select(sa.func.count()).where(audit.audit.c.chain == acme.id)).scalar_one()
    page = await browser.get("/audit/export?format=json")
    assert page.headers["content-disposition"] == 'attachment; filename="audit-log.jsonl"'
    chain, walk = read_lines(page.content.splitlines())
    links = list(walk)
    assert (chain, len(links), list(verify(chain, links))) == (acme.id, count, [])
    page = await browser.get("/audit/export?format=csv")
    rows = list(csv.DictReader(io.StringIO(page.text)))
    assert [row["seq"] for row in rows] == [str(number) for number in range(1, count + 1)]
    assert (await browser.get("/audit/export?format=xml")).status_code == 404


async def test_an_export_wants_the_second_factor(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    dashboard.clock.go(11 * 60)
    await browser.get("/audit/export?format=csv")
    assert browser.path.startswith("/step-up?next=%2Faudit%2Fexport")
    await browser.step_up(ann)
    assert browser.page.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize("path", ["/audit", "/audit/export?format=csv", "/notices"])
async def test_who_may_not_read_it_does_not(dashboard: Dashboard, browser: Browser, acme: Account, path: str) -> None:
    held = frozenset({"access_settings.whitelist.read"})
    await browser.enter(dashboard.a_person(acme, "bob@example.com", role=Role.TEAMMATE, scopes=held))
    assert (await browser.get(path)).status_code == 403
    await browser.get("/")
    await browser.post("/audit/verify")
    assert browser.page.status_code == 403


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_others_wrote_does_no_harm(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, text: str
) -> None:
    with dashboard.control.begin() as tx:
        details: dict[str, audit.Detail] = {text: text, "list": [text, text]}
        by = By(text, NOW_MS, text)
        audit.record(tx, by=by, action=text, account_id=acme.id, subject=text, details=details)
    await browser.enter(ann)
    page = await browser.get("/audit")
    assert shows(page.text, text)
    page = await browser.get("/audit", params=dict.fromkeys(auditlog.FIELDS, text))
    assert page.status_code == 422
    assert is_harmless(page.text, text)
