from __future__ import annotations

import asyncio
from dataclasses import replace

import pyotp
import pytest
import sqlalchemy as sa

from sekisho import links, signup, teammates, users
from sekisho.accounts import Account
from sekisho.doors.dashboard.app import build
from sekisho.letters.tables import letter
from sekisho.links import Purpose
from sekisho.sessions.tables import session
from sekisho.users import Role, User
from tests.fakes.control import BY
from tests.fakes.dashboard import Browser, Dashboard
from tests.fakes.people import MATES, an_invitation

NEW = "several words beside nothing"


def a_link(dashboard: Dashboard, purpose: Purpose, **about: object) -> str:
    with dashboard.control.begin() as tx:
        token = links.make(tx, purpose, at_ms=dashboard.clock.now_ms(), **about)  # type: ignore[arg-type]
    return f"/{purpose.value}/{token.reveal()}"


def opened(dashboard: Dashboard, mode: str) -> Browser:
    """A browser at a server with that mode of sign-up."""
    dashboard.parts = replace(dashboard.parts, signup_mode=mode)
    dashboard.app = build(dashboard.parts)
    return Browser(dashboard)


def asked(dashboard: Dashboard) -> list[tuple[str, str]]:
    with dashboard.control.connect() as tx:
        return [
            (row.kind, row.to_email)
            for row in tx.execute(sa.select(letter).order_by(letter.c.id))
            if row.kind != "factors_changed"
        ]


async def test_a_set_up_link_makes_the_owner_once_who_must_enrol(
    dashboard: Dashboard, browser: Browser, acme: Account
) -> None:
    with dashboard.control.begin() as tx:
        path = signup.owner_link(tx, acme, by=replace(BY, at_ms=dashboard.clock.now_ms()))
    for _ in range(2):
        assert (await browser.get(path)).status_code == 200
    assert (await browser.post(path, {"password": "password"}, follow=False)).status_code == 422
    answer = await browser.post(path, {"password": NEW}, follow=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/enrol")
    with dashboard.control.connect() as tx:
        owner = users.owner_of(tx, acme.id)
    assert owner is not None
    assert owner.login_email is not None
    assert (await browser.client.get(path)).status_code == 404


async def test_of_two_who_use_a_link_at_once_one_comes_in(dashboard: Dashboard, acme: Account) -> None:
    path = a_link(dashboard, Purpose.SETUP, account_id=acme.id, email="o@example.com")
    browsers = [Browser(dashboard), Browser(dashboard)]
    for one in browsers:
        await one.get(path)
    answers = await asyncio.gather(*(one.post(path, {"password": NEW}, follow=False) for one in browsers))
    assert sorted(answer.status_code for answer in answers) == [303, 404]


async def test_a_reset_ends_sessions_and_still_asks_for_the_second_factor(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    await Browser(dashboard).enter(ann)
    path = a_link(dashboard, Purpose.RESET, user_id=ann.id)
    await browser.get(path)
    answer = await browser.post(path, {"password": NEW}, follow=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login/second")
    with dashboard.control.connect() as tx:
        stages = [row.stage for row in tx.execute(sa.select(session))]
    assert stages == ["password"]
    assert (await browser.client.get("/account")).headers["location"] == "/login/second"


async def test_asking_for_a_reset_says_the_same_whoever_has_the_address(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    texts = set()
    for typed in ("ann@example.com", "nobody@example.com"):
        await browser.get("/reset")
        answer = await browser.post("/reset", {"email": typed}, follow=False)
        assert answer.status_code == 200
        texts.add(answer.text.replace(typed, "NAME"))
    assert len(texts) == 1
    assert asked(dashboard) == [("reset", "ann@example.com"), ("reset", "nobody@example.com")]
    assert ann.login_email == "ann@example.com"


async def test_asking_is_paced_by_address(dashboard: Dashboard, browser: Browser) -> None:
    await browser.get("/reset")
    statuses = [
        (await browser.post("/reset", {"email": f"x{n}@example.com"}, follow=False)).status_code for n in range(11)
    ]
    assert statuses == [200] * 10 + [429]
    assert len(asked(dashboard)) == 10


@pytest.mark.parametrize(("mode", "status"), [("closed", 403), ("invitation", 403), ("open", 200)])
async def test_who_may_ask_for_an_account(dashboard: Dashboard, mode: str, status: int) -> None:
    browser = opened(dashboard, mode)
    assert (await browser.get("/signup")).status_code == status
    await browser.get("/login")
    await browser.post("/signup", {"email": "new@example.com"})
    assert asked(dashboard) == ([("signup", "new@example.com")] if mode == "open" else [])


@pytest.mark.parametrize(("mode", "status"), [("closed", 403), ("invitation", 303), ("open", 303)])
async def test_a_sign_up_link_opens_an_account_with_tight_credits(dashboard: Dashboard, mode: str, status: int) -> None:
    browser = opened(dashboard, mode)
    path = a_link(dashboard, Purpose.SIGNUP, email="new@example.com")
    await browser.get(path)
    if status == 403:
        await browser.get("/login")
    answer = await browser.post(path, {"name": "shop", "password": NEW}, follow=False)
    assert answer.status_code == status
    with dashboard.control.connect() as tx:
        person = users.by_login_email(tx, "new@example.com")
        assert (person is not None) == (status == 303)
        if person is not None:
            assert signup.probation_of(tx, person.tenant_id) is not None


async def test_an_address_is_changed_with_the_second_factor_and_by_its_link(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/account")
    await browser.post("/account/email", {"email": "new@example.com"})
    assert asked(dashboard) == [("email_confirm", "new@example.com"), ("email_asked", "ann@example.com")]
    path = a_link(dashboard, Purpose.EMAIL, user_id=ann.id, email="new@example.com")
    await browser.get(path)
    await browser.post(path)
    with dashboard.control.connect() as tx:
        found = users.user_by_id(tx, ann.id)
    assert found is not None
    assert found.login_email == "new@example.com"
    assert asked(dashboard)[-1] == ("email_changed", "ann@example.com")


async def test_a_password_is_changed_and_other_sessions_end(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    other = Browser(dashboard)
    await other.enter(ann)
    await browser.enter(ann)
    await browser.get("/account")
    assert (await browser.post("/account/password", {"password": NEW})).status_code == 200
    assert (await other.client.get("/account")).headers["location"].startswith("/login")
    assert (await browser.client.get("/account")).status_code == 200


@pytest.mark.parametrize("purpose", Purpose)
async def test_what_is_no_link_opens_nothing(dashboard: Dashboard, purpose: Purpose) -> None:
    browser = opened(dashboard, "open")
    assert (await browser.get(f"/{purpose.value}/{pyotp.random_base32()}")).status_code == 404


async def test_an_invitation_makes_the_teammate_that_was_meant_once(
    dashboard: Dashboard, browser: Browser, acme: Account
) -> None:
    with dashboard.control.begin() as tx:
        invited = an_invitation(tx, acme)
    path = a_link(dashboard, Purpose.INVITE, invitation_id=invited.id, email=invited.email)
    assert (await browser.get(path)).status_code == 200
    assert 'value="new@example.org"' in browser.text
    assert (await browser.post(path, {"name": "mia", "password": "password"}, follow=False)).status_code == 422
    answer = await browser.post(path, {"name": "mia", "password": NEW}, follow=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/enrol")
    with dashboard.control.connect() as tx:
        mia = users.by_username(tx, "mia")
        assert not teammates.pending_of(tx, acme.id)
    assert mia is not None
    assert (mia.tenant_id, mia.role, mia.login_email) == (acme.id, Role.TEAMMATE, "new@example.org")
    assert mia.scopes is not None
    assert mia.scopes >= MATES
    assert (await browser.client.get(path)).status_code == 404
