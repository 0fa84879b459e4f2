"""The pages as somebody would try them who means no good."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest
import sqlalchemy as sa

from sekisho import sessions
from sekisho.accounts import Account
from sekisho.db import DatabaseUnavailable
from sekisho.doors.dashboard.csrf import token_for
from sekisho.doors.dashboard.forms import FORM_MAX_BYTES
from sekisho.doors.dashboard.places import PLACES, STAGES, Standing
from sekisho.sessions import Stage
from sekisho.sessions.tables import session
from sekisho.users import Role, User
from tests.fakes.control import a_subuser, audited
from tests.fakes.dashboard import PASSWORD, Browser, Dashboard
from tests.fakes.databases import Engine

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

LANDINGS: Final = {Stage.PASSWORD: "/login/second", Stage.ENROL: "/enrol", Stage.FULL: "/"}

one_engine = pytest.mark.parametrize("engine", [Engine.SQLITE])
"""For what no database has a part in."""


def fill(path: str) -> str:
    """Put something into a path that is there for everybody: numbers and names."""
    return re.sub(r"\{(\w+)\}", lambda found: "1" if found[1].endswith("_id") else "x", path)


def places(*standings: Standing) -> Iterator[tuple[str, str]]:
    return (place for place, row in sorted(PLACES.items()) if row.standing in standings)


def stand_at(dashboard: Dashboard, browser: Browser, person: User, stage: Stage) -> str:
    """Give a browser a session that has come so far; its token."""
    with dashboard.control.begin() as tx:
        begun = sessions.begin(
            tx,
            user_id=None if stage is Stage.VISITOR else person.id,
            stage=stage,
            address="192.0.2.7",
            user_agent="",
            at_ms=dashboard.clock.now_ms(),
        )
    browser.give(begun.token.reveal())
    return begun.token.reveal()


# Half a log-in.


@one_engine
@pytest.mark.parametrize("stage", [None, Stage.VISITOR, Stage.PASSWORD, Stage.ENROL])
async def test_half_a_log_in_opens_no_page(
    dashboard: Dashboard, browser: Browser, ann: User, stage: Stage | None
) -> None:
    """Every page that there is, with a token that is right in every other way."""
    await browser.get("/login")
    if stage is not None:
        stand_at(dashboard, browser, ann, stage)
        await browser.get("/login") if stage is Stage.VISITOR else None
    wanted = "/login" if stage in {None, Stage.VISITOR} else LANDINGS[stage]
    before = audited(dashboard.control)
    seen = 0
    for method, path in places(Standing.FULL, Standing.PASSWORD, Standing.ENROL):
        if STAGES[PLACES[method, path].standing] is stage:
            continue
        answer = await browser.client.request(method, fill(path), data={"csrf": token_of(dashboard, browser)})
        assert answer.status_code == 303, (method, path, answer.status_code)
        assert answer.headers["location"].partition("?")[0] == wanted, (method, path)
        seen += 1
    assert seen > 20
    assert audited(dashboard.control) == before


@one_engine
async def test_a_complete_log_in_has_no_business_with_its_halves(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    await browser.enter(ann)
    for method, path in places(Standing.PASSWORD, Standing.ENROL):
        answer = await browser.client.request(method, fill(path), data={"csrf": token_of(dashboard, browser)})
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), (method, path)


@one_engine
async def test_a_teammate_without_scopes_opens_only_what_needs_none(
    dashboard: Dashboard, browser: Browser, acme: Account
) -> None:
    tom = dashboard.a_person(acme, "tom", role=Role.TEAMMATE, scopes=frozenset())
    await browser.enter(tom)
    refused = 0
    for (method, path), place in sorted(PLACES.items()):
        if place.standing is not Standing.FULL or (place.scope is None and not place.managers_only):
            continue
        answer = await browser.client.request(method, fill(path), data={"csrf": token_of(dashboard, browser)})
        assert answer.status_code == 403, (method, path)
        refused += 1
    assert refused > 20
    assert 'href="/keys"' not in browser.text
    assert 'href="/sessions"' in browser.text


@one_engine
async def test_a_subuser_s_person_does_not_reach_what_is_the_parent_s(
    dashboard: Dashboard, browser: Browser, acme: Account
) -> None:
    with dashboard.control.begin() as tx:
        shop = a_subuser(tx, acme)
    await browser.enter(dashboard.a_person(shop, "sam"))
    for (method, path), place in sorted(PLACES.items()):
        if place.not_for_subusers:
            answer = await browser.client.request(method, fill(path), data={"csrf": token_of(dashboard, browser)})
            assert answer.status_code == 403, (method, path)


@one_engine
async def test_what_needs_the_second_factor_again_gets_it_first(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    await browser.enter(ann)
    dashboard.clock.go(600)
    before = audited(dashboard.control)
    for (method, path), place in sorted(PLACES.items()):
        if not place.step_up:
            continue
        answer = await browser.client.request(method, fill(path), data={"csrf": token_of(dashboard, browser)})
        if method == "GET":
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/step-up?next="), path
        else:
            assert answer.status_code == 403, path
            assert 'action="/step-up"' in answer.text, path
    assert audited(dashboard.control) == before


def token_of(dashboard: Dashboard, browser: Browser) -> str:
    """The token that forms of this browser have, made as pages make it."""
    key = dashboard.parts.sealer.derive("dashboard forms")
    held = browser.client.cookies
    return token_for(key, session=held.get("__Host-sekisho") or "", visitor=held.get("__Host-visitor") or "")


# Forms of others.


@one_engine
async def test_no_form_is_taken_without_its_token(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    """Every form that there is: without a token, and with a wrong one."""
    await browser.enter(ann)
    before = audited(dashboard.control)
    for method, path in sorted(PLACES):
        if method == "GET":
            continue
        for fields in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "é"}):
            answer = await browser.client.post(fill(path), data=fields)
            assert answer.status_code == 403, (path, fields)
    assert audited(dashboard.control) == before
    await browser.get("/")
    assert browser.path == "/"


@one_engine
async def test_a_token_is_good_in_one_browser_only(
    browser: Browser, another_browser: Callable[[], Browser], ann: User
) -> None:
    other = another_browser()
    await other.enter(ann)
    await browser.enter(ann)
    answer = await browser.post("/logout", {"csrf": other.csrf}, follow=False)
    assert answer.status_code == 403
    stranger = another_browser()
    await stranger.get("/login")
    for token in (browser.csrf, other.csrf):
        answer = await stranger.post("/login", {"csrf": token, "name": ann.username, "password": PASSWORD})
        assert answer.status_code == 403


@one_engine
async def test_a_token_of_before_the_log_in_is_none_after_it(browser: Browser, ann: User) -> None:
    await browser.get("/login")
    old = browser.csrf
    await browser.enter(ann)
    assert (await browser.post("/logout", {"csrf": old}, follow=False)).status_code == 403


@one_engine
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://relay.example.net.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://relay.example.net:8443"}, 403),
        ({"origin": "ftp://relay.example.net"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "https://relay.example.net"}, 303),
        ({"sec-fetch-site": "none"}, 303),
        ({"origin": "https://relay.example.net"}, 303),
        ({}, 303),
    ],
)
async def test_a_form_from_elsewhere_is_not_taken_whatever_its_token(
    browser: Browser, ann: User, headers: dict[str, str], status: int
) -> None:
    await browser.enter(ann)
    answer = await browser.post("/sessions/others/end", headers=headers, follow=False)
    assert answer.status_code == status


@one_engine
async def test_nothing_changes_by_get(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    before = audited(dashboard.control)
    for method, path in sorted(PLACES):
        if method == "POST":
            answer = await browser.client.get(fill(path))
            assert answer.status_code in {200, 303, 403, 404, 405, 422}, path
    assert audited(dashboard.control) == before
    await browser.get("/")
    assert browser.path == "/"


# Sessions.


@one_engine
async def test_a_session_that_was_planted_is_never_somebody_s(
    dashboard: Dashboard, browser: Browser, another_browser: Callable[[], Browser], ann: User
) -> None:
    """The attacker's own session, and a made-up one, in the victim's browser when he logs in."""
    attacker = another_browser()
    for planted in (stand_at(dashboard, attacker, ann, Stage.VISITOR), "A" * 43):
        await browser.get("/login")
        browser.give(planted)
        await browser.get("/login")
        await browser.post("/login", {"name": ann.username, "password": PASSWORD}, follow=False)
        now = browser.client.cookies["__Host-sekisho"]
        assert now != planted
        attacker.give(planted)
        answer = await attacker.client.get("/login/second")
        assert answer.status_code in {303, 404}
        assert answer.headers.get("location", "/login").partition("?")[0] == "/login"


@one_engine
async def test_a_new_token_at_step_up_and_the_old_one_is_dead(
    browser: Browser, another_browser: Callable[[], Browser], ann: User
) -> None:
    await browser.enter(ann)
    old = browser.client.cookies["__Host-sekisho"]
    await browser.get("/step-up?next=/sessions")
    await browser.step_up(ann)
    assert browser.path == "/sessions"
    assert browser.client.cookies["__Host-sekisho"] != old
    thief = another_browser()
    thief.give(old)
    await thief.get("/")
    assert thief.path == "/login"


@one_engine
async def test_a_change_that_was_under_way_when_its_log_in_ended_is_not_made(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    """Ended between admission and the transaction of the change."""
    await browser.enter(ann)
    store, before = dashboard.parts.store, audited(dashboard.control)
    attempt = store.attempt

    async def late(action: Callable[[sa.Connection], Any]) -> Any:
        with dashboard.control.begin() as tx:
            tx.execute(sa.delete(session))
        return await attempt(action)

    store.attempt = late  # type: ignore[method-assign]
    answer = await browser.post("/sessions/others/end", follow=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert audited(dashboard.control) == before


@one_engine
async def test_cookies_go_nowhere_else(browser: Browser, ann: User) -> None:
    answer = await browser.get("/login")
    await browser.post("/language", {"language": "ja", "next": "/login"}, follow=False)
    logged_in = await browser.post("/login", {"name": ann.username, "password": PASSWORD}, follow=False)
    fields = [*answer.headers.get_list("set-cookie"), *logged_in.headers.get_list("set-cookie")]
    assert {field.partition("=")[0] for field in fields} == {"__Host-visitor", "__Host-sekisho"}
    for field in fields:
        attributes = {part.strip().lower() for part in field.split(";")[1:]}
        assert {"httponly", "secure", "path=/", "samesite=lax"} <= attributes
        assert not any(one.startswith("domain") for one in attributes)


# What every answer has.


@one_engine
async def test_every_answer_says_what_browsers_must_not_do(browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    tries = [(method, fill(path)) for method, path in sorted(PLACES)]
    tries += [("GET", "/nothing"), ("DELETE", "/"), ("GET", "/static/none.css"), ("PUT", "/keys"), ("GET", "/\\x")]
    for method, path in tries:
        answer = await browser.client.request(method, path)
        assert answer.status_code < 500, (method, path)
        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "same-origin", path
        assert answer.headers["x-frame-options"] == "DENY", path
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"]), path
        if not path.startswith("/static/"):
            assert answer.headers["cache-control"] == "no-store", path


@one_engine
async def test_files_are_kept_under_their_version_only(browser: Browser) -> None:
    await browser.get("/login")
    found = re.search(r'href="(/static/style\.css\?v=[0-9a-f]{16})"', browser.text)
    assert found
    answer = await browser.client.get(found[1])
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert "set-cookie" not in answer.headers
    for path in ("/static/style.css", "/static/style.css?v=0"):
        assert (await browser.client.get(path)).headers["cache-control"] == "no-cache"
    for path in ("/static/..%2Fapp.py", "/static/%2e%2e", "/static/app.py", "/static/.", "/static/style.css%00"):
        assert (await browser.client.get(path)).status_code == 404, path


@one_engine
async def test_too_much_is_refused_before_it_is_read(browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    for path in ("/login", "/step-up", "/language"):
        answer = await browser.client.post(path, content=b"a=" + b"x" * FORM_MAX_BYTES)
        assert answer.status_code == 413, path
    answer = await browser.client.post(
        "/login", content=b"&".join([b"a=1"] * 2000), headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 400
    answer = await browser.client.post("/login", json={"csrf": browser.csrf})
    assert answer.status_code == 415


@one_engine
@pytest.mark.parametrize("language", ["en", "ja"])
async def test_errors_are_pages_and_tell_nothing_of_what_is_inside(
    dashboard: Dashboard, browser: Browser, ann: User, language: str
) -> None:
    browser.client.headers["accept-language"] = language
    await browser.enter(ann)

    def broken(*_: object) -> object:
        message = "a secret of ours"
        raise RuntimeError(message)

    answers: list[httpx.Response] = [
        await browser.client.get("/nothing"),
        await browser.client.delete("/"),
        await browser.client.post("/act-for", data={}),
    ]
    dashboard.parts.store.attempt = broken  # type: ignore[assignment, method-assign]
    answers.append(await browser.client.post("/sessions/others/end", data={"csrf": browser.csrf}))
    assert [answer.status_code for answer in answers] == [404, 405, 403, 500]
    for answer in answers:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert f'<html lang="{language}">' in answer.text
        assert answer.text.count("<h1>") == 1
        for word in ("secret of ours", "Traceback", "litestar", "sqlalchemy", ".py"):
            assert word not in answer.text
    assert answers[-1].headers["x-request-id"] in answers[-1].text
    assert answers[1].headers["allow"]


@one_engine
async def test_a_database_that_is_away_is_said_as_such(browser: Browser, ann: User, dashboard: Dashboard) -> None:
    await browser.enter(ann)

    async def away(*_: object) -> object:
        message = "the file is gone"
        raise DatabaseUnavailable(message)

    dashboard.parts.store.read = away  # type: ignore[assignment, method-assign]
    answer = await browser.client.get("/sessions")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "gone" not in answer.text
