from __future__ import annotations

import re

import pyotp

from sekisho import factors
from sekisho.accounts import Account
from sekisho.users import User
from tests.fakes.dashboard import PASSWORD, Browser, Dashboard


async def test_the_first_factor_completes_the_log_in(dashboard: Dashboard, browser: Browser, acme: Account) -> None:
    ann = dashboard.a_person(acme, totp=False)
    await browser.get("/login")
    await browser.post("/login", {"name": ann.username, "password": PASSWORD})
    assert browser.path == "/enrol"
    await browser.get("/keys")
    assert browser.path == "/enrol"
    await browser.post("/enrol/app")
    found = re.search(r'id="secret">([^<]+)<', browser.text)
    assert found
    code = pyotp.TOTP(found[1].replace(" ", "")).at(dashboard.clock.now_ms() // 1000)
    await browser.post("/enrol/app/code", {"code": "000000" if code != "000000" else "000001"})
    assert browser.page.status_code == 422
    await browser.post("/enrol/app/code", {"code": code})
    assert len(re.findall(r"<li><code>[A-Z2-7-]{19}</code>", browser.text)) == 10
    await browser.get("/")
    assert (browser.page.status_code, browser.path) == (200, "/")


async def test_five_wrong_codes_end_the_log_in(browser: Browser, ann: User) -> None:
    await browser.get("/login")
    await browser.post("/login", {"name": ann.username, "password": PASSWORD})
    for _ in range(5):
        assert browser.path.startswith("/login/second")
        await browser.post("/login/second", {"code": "AAAA-AAAA-AAAA-AAAA"})
    assert browser.path == "/login"
    await browser.get("/login/second")
    assert browser.path.startswith("/login?")


async def test_a_code_completes_the_log_in(browser: Browser, ann: User) -> None:
    await browser.log_in(ann)
    assert (browser.page.status_code, browser.path) == (200, "/")


async def test_new_recovery_codes_and_no_last_factor_removed(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    await browser.get("/security")
    assert browser.page.status_code == 200
    await browser.post("/security/recovery")
    assert "<li><code>" in browser.text
    await browser.get("/security")
    await browser.post("/security/app/remove")
    assert browser.page.status_code == 422
    with dashboard.control.connect() as tx:
        assert factors.enrolled(tx, ann.id).totp
