"""The door itself: readable by everybody, and as quiet about who exists as it should be."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.tab import Tab


def test_what_is_wrong_is_said_beside_the_form(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    tab.open("/")
    assert tab.path == "/login"
    tab.sound()
    tab.page.locator("input[name=name]").fill("nobody@example.test")
    tab.page.locator("input[name=password]").fill("correct horse battery staple")
    tab.page.locator("main form[action='/login'] button").click()
    assert tab.path == "/login"
    assert tab.page.locator("input[name=name]").input_value() == "nobody@example.test"
    assert tab.page.locator("input[name=password]").input_value() == ""
    tab.sound()


def test_a_page_for_others_leads_to_the_log_in(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    tab.open("/keys")
    assert tab.page.url == f"{tab.origin}/login?next=%2Fkeys"
