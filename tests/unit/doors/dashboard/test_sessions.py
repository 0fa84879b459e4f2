from __future__ import annotations

from collections.abc import Callable

from sekisho import sessions
from sekisho.accounts import Account
from sekisho.users import Role, User
from tests.fakes.dashboard import Browser, Dashboard


async def test_one_session_is_ended_from_another(
    browser: Browser, another_browser: Callable[[], Browser], ann: User
) -> None:
    other = another_browser()
    await other.enter(ann)
    await browser.enter(ann)
    await browser.get("/sessions")
    assert browser.text.count("Test/1.0") == 2
    assert "(this one)" in browser.text
    await browser.post("/sessions/1/end")
    assert browser.path == "/sessions"
    assert "The session was ended." in browser.text
    await other.get("/")
    assert other.path == "/login"
    # Said once.
    await browser.get("/sessions")
    assert "The session was ended." not in browser.text


async def test_all_others_are_ended_at_once(
    browser: Browser, another_browser: Callable[[], Browser], ann: User
) -> None:
    others = [another_browser() for _ in range(3)]
    for other in others:
        await other.enter(ann)
    await browser.enter(ann)
    await browser.post("/sessions/others/end")
    assert browser.path == "/sessions"
    assert browser.text.count("Test/1.0") == 1
    for other in others:
        await other.get("/")
        assert other.path == "/login"


async def test_ending_ones_own_logs_out(browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    await browser.post("/sessions/1/end")
    assert browser.path == "/login"
    assert "__Host-sekisho" not in browser.client.cookies


async def test_somebody_else_s_session_is_none_of_ones_own(
    dashboard: Dashboard, browser: Browser, another_browser: Callable[[], Browser], acme: Account, ann: User
) -> None:
    other = another_browser()
    await other.enter(dashboard.a_person(acme, "bob@example.com", role=Role.ADMIN))
    await browser.enter(ann)
    answer = await browser.post("/sessions/1/end")
    missing = await browser.client.post("/sessions/999/end", data={"csrf": browser.csrf})
    assert answer.status_code == missing.status_code == 404
    await other.get("/")
    assert other.path == "/"


async def test_a_browser_s_name_is_shown_as_text(browser: Browser, ann: User, dashboard: Dashboard) -> None:
    browser.client.headers["user-agent"] = "<img src=x onerror=alert(1)>"
    await browser.get("/login")
    await browser.enter(ann)
    with dashboard.control.begin() as tx:
        sessions.begin(
            tx,
            user_id=ann.id,
            stage=sessions.Stage.FULL,
            address="192.0.2.9",
            user_agent="<img src=x onerror=alert(1)>",
            at_ms=dashboard.clock.now_ms(),
        )
    await browser.get("/sessions")
    assert "<img" not in browser.text
    assert "&lt;img" in browser.text
