from __future__ import annotations

import html
from collections.abc import Callable

import pytest

from sekisho import factors
from sekisho.factors import ask_to_make, relying_party
from sekisho.refusal import Declined
from sekisho.sessions import Method
from sekisho.sessions.reading import sessions_of
from sekisho.users import User
from sekisho.users.pace import Kind
from tests.fakes.authenticator import Authenticator
from tests.fakes.control import BY
from tests.fakes.dashboard import HOME, PASSWORD, Browser, Dashboard

PATH, ANSWER = "/login/passkey", "/login/passkey/answer"


@pytest.fixture
def key(dashboard: Dashboard, ann: User) -> Authenticator:
    """A device with a passkey of Ann's."""
    party = relying_party(HOME)
    assert party is not None
    device = Authenticator(party)
    asked = ask_to_make(party, ann.id, user_name=ann.username, rp_name="Sekisho", known=())
    answer = device.make(asked.options)
    with dashboard.control.begin() as tx:
        added = factors.add_passkey(tx, ann, "key", answer, rp=party, challenge=asked.challenge, by=BY)
    assert not isinstance(added, Declined)
    return device


async def asked(browser: Browser, path: str = "/") -> str:
    """Begin, and give what the page asks the device for."""
    await browser.get("/login" if path == "/" else f"/login?next={path}")
    await browser.post(PATH, {"next": path})
    assert (browser.page.status_code, browser.path) == (200, PATH)
    return html.unescape(browser.text.partition('data-options="')[2].partition('"')[0])


async def test_a_passkey_alone_is_both_factors(
    dashboard: Dashboard, browser: Browser, ann: User, key: Authenticator
) -> None:
    await browser.post(ANSWER, {"answer": key.show(await asked(browser, "/sessions")), "next": "/sessions"})
    assert (browser.page.status_code, browser.path) == (200, "/sessions")
    with dashboard.control.connect() as tx:
        (one,) = sessions_of(tx, ann.id, dashboard.clock.now_ms())
    assert one.method is Method.PASSKEY


async def test_a_device_that_does_not_verify_its_user_is_one_factor_only(
    dashboard: Dashboard, browser: Browser, ann: User, key: Authenticator
) -> None:
    options = await asked(browser)
    key.verified = False
    await browser.post(ANSWER, {"answer": key.show(options)})
    assert browser.path == "/login"
    with dashboard.control.connect() as tx:
        assert not sessions_of(tx, ann.id, dashboard.clock.now_ms())
    assert dashboard.failed


async def test_an_answer_is_good_once_and_in_its_own_browser(
    dashboard: Dashboard, browser: Browser, key: Authenticator
) -> None:
    answer = key.show(await asked(browser))
    stranger = Browser(dashboard)
    await asked(stranger)
    await stranger.post(ANSWER, {"answer": answer})
    assert stranger.path == "/login"
    await browser.post(ANSWER, {"answer": answer})
    assert browser.path == "/"
    await browser.post("/logout")
    await asked(browser)
    await browser.post(ANSWER, {"answer": answer})
    assert browser.path == "/login"


async def test_the_token_is_new_at_each_step(browser: Browser, key: Authenticator) -> None:
    options = await asked(browser)
    before = dict(browser.client.cookies)
    await browser.post(ANSWER, {"answer": key.show(options)})
    assert browser.path == "/"
    assert dict(browser.client.cookies) != before


@pytest.mark.parametrize("answer", ["", "{}", "nonsense", "[]", '{"id": 5}'])
async def test_what_is_no_answer_lets_nobody_in(browser: Browser, answer: str) -> None:
    await asked(browser)
    await browser.post(ANSWER, {"answer": answer})
    assert browser.path == "/login"
    await browser.get(PATH)
    assert browser.path == "/login"


async def test_an_address_begins_only_so_often(browser: Browser) -> None:
    for _ in range(Kind.ADDRESS.tries):
        await asked(browser)
    await browser.post(PATH)
    assert browser.page.status_code == 429


async def test_one_that_succeeds_is_not_counted(browser: Browser, key: Authenticator) -> None:
    for _ in range(Kind.ADDRESS.tries + 2):
        await browser.post(ANSWER, {"answer": key.show(await asked(browser))})
        assert browser.path == "/"
        await browser.post("/logout")


async def test_who_knows_the_password_cannot_keep_a_passkey_out(
    browser: Browser, another_browser: Callable[[], Browser], ann: User, key: Authenticator
) -> None:
    thief = another_browser()
    await thief.get("/login")
    await thief.post("/login", {"name": ann.username, "password": PASSWORD})
    for _ in range(Kind.FACTOR.tries):
        await thief.post("/login/second", {"code": "AAAA-AAAA-AAAA-AAAA"})
    assert thief.path == "/login"
    await browser.get("/login")
    await browser.post("/login", {"name": ann.username, "password": PASSWORD})
    await browser.post("/login/second", {"by": "passkey"})
    options = html.unescape(browser.text.partition('data-options="')[2].partition('"')[0])
    await browser.post("/login/second", {"answer": key.show(options)})
    assert (browser.page.status_code, browser.path) == (200, "/")
