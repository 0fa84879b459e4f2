"""The judge can say no: what these tests rely on, tried on pages made for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.authenticator import Authenticator
from tests.browser.tab import Tab

pytestmark = pytest.mark.parametrize("language", ["ja"], indirect=True)

GOOD = (
    '<!doctype html><html lang="{lang}"><title>Log in</title><main><h1>Log in</h1>'
    '<label for="name">Name</label> <input id="name"></main></html>'
)


@pytest.fixture
def shown(new_tab: Callable[..., Tab], language: str) -> Callable[[str], Tab]:
    """Shows a page at an address of the server's."""

    def show(html: str) -> Tab:
        tab = new_tab()
        body = html.replace("{lang}", language)
        tab.page.route("**/shown", lambda route: route.fulfill(body=body, content_type="text/html; charset=utf-8"))
        tab.open("/shown")
        return tab

    return show


def test_a_good_page_is_sound(shown: Callable[[str], Tab]) -> None:
    shown(GOOD).sound()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('<label for="name">Name</label>', "", "label: "),
        ("</main>", '<p style="width: 700px">x</p></main>', "px wide"),
        ("h1>", "h2>", "0 headings"),
        ("{lang}", "fr", "lang: fr"),
    ],
)
def test_a_page_that_leaves_somebody_out_is_not(shown: Callable[[str], Tab], old: str, new: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        shown(GOOD.replace(old, new)).sound()


def test_scripts_run_only_where_a_test_wants_them(shown: Callable[[str], Tab]) -> None:
    assert shown(GOOD + "<script>document.title = 'ran'</script>").page.title() == "Log in"


def test_what_the_browser_blocks_is_held_against_the_page(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(scripts=True)
    tab.page.route(
        "**/shown",
        lambda route: route.fulfill(
            body=GOOD + "<script>1</script>",
            content_type="text/html",
            headers={"content-security-policy": "default-src 'none'"},
        ),
    )
    tab.open("/shown")
    with pytest.raises(AssertionError, match="Content Security Policy"):
        tab.finish()
    tab.expected = ("Content Security Policy",)


def test_the_authenticator_makes_a_credential(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(scripts=True)
    tab.open("/healthz")
    device = Authenticator(tab.page)
    tab.page.evaluate(
        """() => navigator.credentials.create({publicKey: {
            rp: {id: "localhost", name: "x"}, user: {id: new Uint8Array(8), name: "ann", displayName: "Ann"},
            challenge: new Uint8Array(32), pubKeyCredParams: [-7, -257].map((alg) => ({type: "public-key", alg})),
            authenticatorSelection: {residentKey: "required", userVerification: "required"}}})"""
    )
    assert device.credentials == 1
