"""Somebody who has an account: knows a password, has a phone with an app and a sheet of recovery codes."""

from __future__ import annotations

import time
from typing import Final

import pyotp

from tests.browser.place import Place
from tests.browser.tab import Tab

STEP_S: Final = 30
LOG_OUT: Final = "form[action='/logout'] button"


class Person:
    """The owner of an account of her own; every page that she goes through is judged where ``judged`` says so."""

    def __init__(self, place: Place, name: str) -> None:
        self.email: Final = f"{name}@people.test"
        self.password = "correct horse battery staple"
        self.codes: list[str] = []
        self._link: Final[str] = place.run("account", "create", name, "--owner", self.email)["setup_url"]
        self._app = pyotp.TOTP(pyotp.random_base32())
        self._last_step = 0

    def set_up(self, tab: Tab, *, judged: bool = False) -> None:
        """Use the set-up link, enrol the app, keep the recovery codes and go on to the first page."""
        look = tab.sound if judged else lambda: None
        tab.open(self._link)
        look()
        tab.page.locator("#password").fill(self.password)
        press(tab, self._link.removeprefix(tab.origin))
        assert tab.path == "/enrol"
        look()
        press(tab, "/enrol/app")
        assert tab.path == "/enrol/app"
        look()
        self._app = pyotp.TOTP(tab.page.locator("#secret").inner_text().replace(" ", ""))
        self._last_step = 0
        tab.page.locator("#code").fill(self.code())
        press(tab, "/enrol/app/code")
        look()
        self.codes = tab.page.locator(".codes code").all_inner_texts()
        assert len(self.codes) == 10
        tab.page.locator("main a.button").click()
        assert tab.path == "/"
        look()

    def say_password(self, tab: Tab) -> None:
        """Fill in the log-in page, which asks for the second factor next."""
        tab.page.locator("#name").fill(self.email)
        tab.page.locator("#password").fill(self.password)
        press(tab, "/login")
        assert tab.path == "/login/second"

    def log_in(self, tab: Tab) -> None:
        """Log in with the password and a recovery code, which leads to /security."""
        tab.open("/login")
        self.say_password(tab)
        tab.page.locator("#code").fill(self.codes.pop())
        press(tab, "/login/second")
        tab.page.wait_for_url("**/security")

    def code(self) -> str:
        """A code of the app that was not used yet: the next one, too, is taken, so that nobody must wait."""
        self._last_step = max(self._last_step + 1, int(time.time()) // STEP_S)
        return self._app.at(self._last_step * STEP_S)


def press(tab: Tab, action: str) -> None:
    """Press the first button of the page's form that goes to ``action``."""
    tab.page.locator(f"main form[action='{action}'] button").first.click()
