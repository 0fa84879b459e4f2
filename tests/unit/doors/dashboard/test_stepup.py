from __future__ import annotations

from collections.abc import Callable

import pytest

from sekisho import sessions
from sekisho.accounts import Account
from sekisho.doors.dashboard import kept
from sekisho.doors.dashboard.forms import Form
from sekisho.doors.dashboard.places import PLACES, Place
from sekisho.sessions.model import STEP_UP_MS
from sekisho.users import Role, User
from tests.fakes.control import SEALER, audited
from tests.fakes.dashboard import Browser, Dashboard

PAGE = "/sessions/others/end"


@pytest.fixture(autouse=True)
def wants_step_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two plain pages that need it, whatever the others become."""
    monkeypatch.setitem(PLACES, ("POST", PAGE), Place(step_up=True))
    monkeypatch.setitem(PLACES, ("GET", "/sessions"), Place(step_up=True))


async def late(dashboard: Dashboard, browser: Browser, person: User) -> None:
    await browser.enter(person)
    dashboard.clock.go(STEP_UP_MS / 1000)


async def test_a_page_is_shown_after_it(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await late(dashboard, browser, ann)
    await browser.get("/sessions?x=1")
    assert browser.path == "/step-up?next=%2Fsessions%3Fx%3D1"
    await browser.step_up(ann)
    assert browser.path == "/sessions?x=1"
    assert ("session.step_up", "") in audited(dashboard.control)
    # Good for ten minutes.
    dashboard.clock.go(STEP_UP_MS / 1000 - 1)
    await browser.get("/sessions")
    assert browser.path == "/sessions"
    dashboard.clock.go(1)
    await browser.get("/sessions")
    assert browser.path.startswith("/step-up")


async def test_a_form_goes_on_after_it(
    dashboard: Dashboard, browser: Browser, another_browser: Callable[[], Browser], ann: User
) -> None:
    other = another_browser()
    await late(dashboard, browser, ann)
    await other.enter(ann)
    answer = await browser.post(PAGE, {"note": "hunter2 hunter2"})
    assert answer.status_code == 403
    assert "hunter2" not in answer.text
    assert "is kept" in answer.text
    await browser.step_up(ann)
    assert browser.path == "/sessions"
    assert "All your other sessions were ended." in browser.text
    await other.get("/")
    assert other.path == "/login"


async def test_a_wrong_code_loses_nothing(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await late(dashboard, browser, ann)
    await browser.post(PAGE)
    sealed = browser.hidden("kept")
    answer = await browser.post("/step-up", {"kept": sealed, "next": "/", "code": "000000"})
    assert answer.status_code == 422
    assert "not right" in answer.text
    assert browser.hidden("kept") == sealed
    assert dashboard.failed[-1][2] == ann.id
    await browser.step_up(ann)
    assert browser.path == "/sessions"


async def test_codes_are_tried_only_so_often(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await late(dashboard, browser, ann)
    await browser.get("/step-up")
    for _ in range(5):
        assert (await browser.post("/step-up", {"code": "000000"})).status_code == 422
    answer = await browser.post("/step-up", {"code": dashboard.code(ann)})
    assert answer.status_code == 429


async def test_a_code_is_good_once(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await late(dashboard, browser, ann)
    await browser.get("/step-up")
    code = dashboard.code(ann)
    await browser.post("/step-up", {"code": code})
    await browser.get("/step-up")
    answer = await browser.post("/step-up", {"code": code})
    assert answer.status_code == 422
    assert "used already" in answer.text


async def test_what_is_too_much_to_keep_is_said(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await late(dashboard, browser, ann)
    answer = await browser.post(PAGE, {"note": "x" * 30_000})
    assert answer.status_code == 403
    assert "too much to be kept" in answer.text


async def test_next_leads_nowhere_else(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    for target in ("//evil.example", "https://evil.example", "/\\evil.example"):
        await browser.get("/step-up", params={"next": target})
        assert browser.hidden("next") == "/"
        answer = await browser.post("/step-up", {"next": target, "code": dashboard.code(ann)}, follow=False)
        assert answer.headers["location"] == "/"
        await browser.get("/")


# The sealed form.


async def test_a_kept_form_opens_nothing_elsewhere(
    dashboard: Dashboard, browser: Browser, another_browser: Callable[[], Browser], acme: Account, ann: User
) -> None:
    await late(dashboard, browser, ann)
    await browser.post(PAGE)
    sealed = browser.hidden("kept")
    await browser.step_up(ann)
    # Taken up by another page, by somebody else's session, changed, or too late: it stands for no token.
    bob = another_browser()
    await bob.enter(dashboard.a_person(acme, "bob@example.com", role=Role.ADMIN))
    changed = sealed[:-4] + ("AAAA" if sealed[-4:] != "AAAA" else "BBBB")
    for who, path, given in (
        (browser, "/logout", sealed),
        (bob, PAGE, sealed),
        (browser, PAGE, changed),
        (browser, PAGE, "é"),
        (browser, PAGE, "x"),
    ):
        answer = await who.client.post(path, data={"kept": given})
        assert answer.status_code == 403, (path, given[:10])
    dashboard.clock.go(kept.GOOD_MS / 1000)
    assert (await browser.client.post(PAGE, data={"kept": sealed})).status_code == 403


def test_neither_token_nor_an_older_form_is_kept(dashboard: Dashboard, ann: User) -> None:
    with dashboard.control.begin() as tx:
        begun = sessions.begin(
            tx, user_id=ann.id, stage=sessions.Stage.FULL, address="", user_agent="", at_ms=dashboard.clock.now_ms()
        )
    form = Form((("csrf", "x"), ("kept", "y"), ("a", "1"), ("a", "2")))
    sealed = kept.keep(form, begun.session, "/keys", SEALER, 5)
    assert sealed is not None
    assert kept.take(sealed, begun.session, "/keys", SEALER, 6) == Form((("a", "1"), ("a", "2")))
    assert kept.take(sealed, begun.session, "/keys/x", SEALER, 6) is None
    assert kept.take(sealed, begun.session, "/keys", SEALER, 4) is None
    assert kept.path_of(sealed, begun.session, SEALER) == "/keys"
