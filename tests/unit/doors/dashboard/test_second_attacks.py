"""Log-ins as somebody would try them who has read over a shoulder, or looks for names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pyotp
import pytest
import sqlalchemy as sa

from sekisho import sessions
from sekisho.accounts import Account
from sekisho.sessions import Stage
from sekisho.sessions.tables import session
from sekisho.users import Role, User, passwords
from sekisho.users.tables import user
from tests.fakes.dashboard import PASSWORD, Browser, Dashboard

ENDED = "/login"
IN = "/"

CHANGING = {"content-length", "x-request-id"}
"""Headers that follow from the name's length, and from chance."""


async def with_the_password(dashboard: Dashboard, browser: Browser, person: User) -> Browser:
    """A browser whose password was right, at the form for the second factor."""
    with dashboard.control.begin() as tx:
        begun = sessions.begin(
            tx,
            user_id=person.id,
            stage=Stage.PASSWORD,
            address="192.0.2.7",
            user_agent="",
            at_ms=dashboard.clock.now_ms(),
        )
    browser.give(begun.token.reveal())
    await browser.get("/login/second")
    assert browser.path == "/login/second"
    return browser


def log_ins(dashboard: Dashboard, person: User) -> int:
    whose = (session.c.user_id == person.id) & (session.c.stage == Stage.FULL.value)
    with dashboard.control.begin() as tx:
        return tx.execute(sa.select(sa.func.count()).select_from(session).where(whose)).scalar_one()


async def show_at_once(browsers: Sequence[Browser], code: str) -> list[tuple[int, str]]:
    """Send one code from all of them at the same time; status and where it leads, without the question mark's part."""
    answers = await asyncio.gather(
        *(browser.post("/login/second", {"code": code}, follow=False) for browser in browsers)
    )
    return [(one.status_code, one.headers.get("location", "").partition("?")[0]) for one in answers]


async def test_a_code_logs_in_once(dashboard: Dashboard, ann: User) -> None:
    first = await with_the_password(dashboard, Browser(dashboard), ann)
    second = await with_the_password(dashboard, Browser(dashboard, address="198.51.100.9"), ann)
    code = dashboard.code(ann)
    assert await show_at_once([first], code) == [(303, IN)]
    answer = await second.post("/login/second", {"code": code})
    assert answer.status_code == 422
    assert "This code was used already." in answer.text
    assert log_ins(dashboard, ann) == 1
    # Nor an older one, which was never used but could have been read with it.
    older = pyotp.TOTP(dashboard.secrets[ann.id]).at(dashboard.clock.now_ms() // 1000 - 30)
    assert await show_at_once([second], older) == [(422, "")]
    assert log_ins(dashboard, ann) == 1


async def test_of_twenty_that_show_one_code_at_the_same_time_one_comes_in(dashboard: Dashboard, ann: User) -> None:
    """Twenty browsers that know the password: one log-in, and no more codes are judged than one person may try."""
    browsers = [await with_the_password(dashboard, Browser(dashboard), ann) for _ in range(20)]
    answers = await show_at_once(browsers, dashboard.code(ann))
    assert answers.count((303, IN)) == 1
    assert answers.count((422, "")) <= 4
    assert {one for one in answers if one != (303, IN)} <= {(422, ""), (303, ENDED)}
    assert log_ins(dashboard, ann) == 1


async def test_one_log_in_completed_twenty_times_at_once_is_one(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    """Twenty requests of one browser: whoever comes second finds a log-in that has gone on."""
    await with_the_password(dashboard, browser, ann)
    answers = await show_at_once([browser] * 20, dashboard.code(ann))
    assert answers.count((303, IN)) == 1
    assert log_ins(dashboard, ann) == 1


class Counting:
    """The one that hashes, and how often it was made to work."""

    def __init__(self) -> None:
        self.runs = 0
        self._hasher = passwords._hasher

    def verify(self, stored: str, given: bytes) -> bool:
        self.runs += 1
        return self._hasher.verify(stored, given)

    def hash(self, given: bytes) -> str:
        self.runs += 1
        return self._hasher.hash(given)

    def check_needs_rehash(self, stored: str) -> bool:
        return self._hasher.check_needs_rehash(stored)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    passwords._nobodys()  # made once for a process: its work is no answer's
    counted = Counting()
    monkeypatch.setattr(passwords, "_hasher", counted)
    return counted


@pytest.mark.parametrize("form", ["{}", "{}@example.com"])
async def test_no_name_is_found_out_by_the_work_or_by_the_answer(
    dashboard: Dashboard, browser: Browser, acme: Account, counting: Counting, form: str
) -> None:
    """Somebody, somebody who has no password, and nobody; an address may be a user name, too, so it is two tries."""
    known, bare, nobody = (form.format(name) for name in ("known", "bare", "nobody"))
    dashboard.a_person(acme, known)
    person = dashboard.a_person(acme, bare, role=Role.ADMIN)
    with dashboard.control.begin() as tx:
        tx.execute(sa.update(user).where(user.c.id == person.id).values(password=""))
    await browser.get("/login")
    for password in ("wrong wrong wrong", "", "x" * 257):
        seen: list[Any] = []
        for name in (known, bare, nobody):
            counting.runs = 0
            answer = await browser.post("/login", {"name": name, "password": password}, follow=False)
            assert f'value="{name}"' in answer.text
            headers = {key: value for key, value in answer.headers.items() if key not in CHANGING}
            seen.append((answer.status_code, counting.runs, answer.text.replace(name, "NAME"), headers))
        assert seen[0] == seen[1] == seen[2]
        assert seen[0][:2] == (422, 2 if "@" in form else 1)


async def test_the_work_is_the_same_when_the_password_is_right(browser: Browser, ann: User, counting: Counting) -> None:
    await browser.get("/login")
    counting.runs = 0
    answer = await browser.post("/login", {"name": ann.username, "password": PASSWORD}, follow=False)
    assert (answer.status_code, counting.runs) == (303, 2)
