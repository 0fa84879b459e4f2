"""Ways through the pages from end to end: the first minutes, both kinds of second factor, a key, a lost password."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.authenticator import Authenticator
from tests.browser.person import LOG_OUT, Person, press
from tests.browser.place import Place, link_in
from tests.browser.tab import Judge, Language, Tab, tab

NewTab = Callable[..., Tab]

in_japanese = pytest.mark.parametrize("language", ["ja"], indirect=True)


@pytest.fixture(scope="module")
def settled(browser: Browser, judge: Judge, place: Place) -> Person:
    """Somebody whose account is set up; tests log her in anew by her recovery codes."""
    person = Person(place, "settled")
    with tab(browser, judge, place.origin, "ja") as first:
        person.set_up(first)
    return person


def test_a_set_up_link_leads_home_without_scripts(new_tab: NewTab, place: Place, language: Language) -> None:
    Person(place, f"first-{language}").set_up(new_tab(), judged=True)


@in_japanese
def test_a_passkey_is_made_and_logs_in_after_a_password_and_alone(new_tab: NewTab, settled: Person) -> None:
    tab = new_tab(scripts=True)
    device = Authenticator(tab.page)
    settled.log_in(tab)
    tab.page.locator("#name").fill("Phone")
    press(tab, "/security/passkey")
    tab.page.wait_for_url("**/security")
    assert device.credentials == 1
    expect(tab.page.locator("td.wrap", has_text="Phone")).to_be_visible()
    tab.sound()

    tab.page.locator(LOG_OUT).click()
    assert tab.path == "/login"
    tab.sound()
    settled.say_password(tab)
    tab.sound()
    tab.page.locator("button[name=by]").click()
    tab.page.wait_for_url(f"{tab.origin}/")

    # Alone it is good only for a finger that the device knows.
    tab.page.locator(LOG_OUT).click()
    device.recognise(owner=False)
    press(tab, "/login/passkey")
    expect(tab.page.locator("[data-passkey-failed]")).to_be_visible()
    tab.sound()
    device.recognise(owner=True)
    press(tab, "/login/passkey/answer")
    tab.page.wait_for_url(f"{tab.origin}/")
    expect(tab.page.locator(LOG_OUT)).to_be_visible()


@in_japanese
def test_a_recovery_code_logs_in_and_leads_to_where_the_app_is_set_up_anew(new_tab: NewTab, settled: Person) -> None:
    tab = new_tab()
    settled.log_in(tab)
    assert tab.path == "/security"
    tab.sound()


@in_japanese
def test_a_key_asks_for_the_second_factor_again_and_is_shown_once(
    new_tab: NewTab, place: Place, settled: Person
) -> None:
    tab = new_tab()
    settled.log_in(tab)
    tab.open("/keys/new")
    tab.sound()
    tab.page.locator("#name").fill("Shop")
    place.age_step_ups()
    press(tab, "/keys")
    tab.sound()
    tab.page.locator("#code").fill(settled.codes.pop())
    press(tab, "/step-up")
    tab.sound()
    key = tab.page.locator("#key-text").input_value()
    assert re.fullmatch(r"SG\.[\w-]+\.[\w-]+", key)
    tab.open("/keys")
    tab.sound()
    assert "Shop" in tab.page.content()
    assert key not in tab.page.content()


@in_japanese
def test_a_list_of_addresses_that_locks_its_author_out_is_only_tried(new_tab: NewTab, place: Place) -> None:
    tab, person = new_tab(), Person(place, "list")
    person.set_up(tab)
    tab.open("/ip-access")
    tab.sound()
    tab.page.locator("#entries").fill("192.0.2.7")
    press(tab, "/ip-access/add")
    expect(tab.page.locator("#lock-out")).to_be_visible()
    tab.sound()
    assert tab.page.locator("table", has_text="192.0.2.7").count() == 0

    press(tab, "/ip-access/trial")
    tab.sound()
    assert tab.page.locator("main li", has_text="192.0.2.7").count() == 1
    tab.open("/keys")
    assert tab.page.locator(LOG_OUT).count() == 0
    tab.sound()


@in_japanese
def test_a_forgotten_password_is_chosen_anew_by_a_letter(new_tab: NewTab, place: Place) -> None:
    tab, person = new_tab(), Person(place, "forgetful")
    person.set_up(tab)
    tab = new_tab()
    tab.open("/reset")
    tab.sound()
    tab.page.locator("#email").fill(person.email)
    press(tab, "/reset")
    tab.sound()
    link = link_in(place.letter(person.email, number=2))
    tab.open(link)
    tab.sound()
    tab.page.locator("#password").fill("seven quiet lanterns over water")
    press(tab, link.removeprefix(tab.origin))
    assert tab.path == "/login/second"
    tab.page.locator("#code").fill(person.code())
    press(tab, "/login/second")
    assert tab.path == "/"
