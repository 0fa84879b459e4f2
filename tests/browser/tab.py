"""One tab of one person's browser, and the judgement of what it shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Response

Language = Literal["en", "ja"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "ja")

NARROW_PX: Final = 320
"""WCAG 2.2, 1.4.10: a page is read at this width without scrolling sideways."""

WAIT_MS: Final = 20_000
"""Only ends a failing test."""


@dataclass
class Tab:
    """``page`` is Playwright's; what goes wrong in it is collected and held against the test at its end."""

    page: Page
    origin: str
    language: Language
    judge: Judge
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Parts of faults that the test brings about itself."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("response", self._look_at)

    def open(self, path: str) -> None:
        """Go to a path of the server's, or to a whole address."""
        self.page.goto(path if path.startswith("http") else self.origin + path)

    @property
    def path(self) -> str:
        """Where the tab is, without the query."""
        return self.page.url.removeprefix(self.origin).partition("?")[0]

    def sound(self) -> None:
        """Insist that what is shown can be used by everybody: language, one heading, axe, a narrow screen."""
        faults = self.judge.faults(self.page.url, self.page.content())
        if (spoken := self.page.locator("html").get_attribute("lang")) != self.language:
            faults.append(f"lang: {spoken}, not {self.language}")
        if (headings := self.page.locator("h1").count()) != 1:
            faults.append(f"{headings} headings h1")
        assert not faults, f"{self.page.url}\n" + "\n".join(faults)

    def _note(self, message: ConsoleMessage) -> None:
        """Take what the browser complains of: blocked scripts and styles, missing files."""
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.faults.append(message.text)

    def _look_at(self, response: Response) -> None:
        kind = response.request.resource_type
        if response.status >= 500 or (response.status >= 400 and kind != "document"):
            self.faults.append(f"{response.status} {response.url}")
        if not response.url.startswith((self.origin, "data:")) and kind != "document":
            self.faults.append(f"third party: {response.url}")

    def finish(self) -> None:
        """Hold what went wrong against the test."""
        found = [fault for fault in self.faults if not any(part in fault for part in self.expected)]
        assert not found, "\n".join(found)


class Judge:
    """Looks at a page's text in a tab of its own, where scripts run: the tab that is judged may have none."""

    def __init__(self, browser: Browser) -> None:
        self._axe: Final = Axe()
        # The judge's script is none of the page's own, so its policy does not count here.
        self._context: Final = browser.new_context(bypass_csp=True)
        self._page: Final = self._context.new_page()
        self._page.set_default_timeout(WAIT_MS)

    def faults(self, url: str, content: str) -> list[str]:
        """What is wrong with ``content``, with the style and pictures that it has at ``url``."""
        self._page.route(url, lambda route: route.fulfill(body=content, content_type="text/html; charset=utf-8"))
        try:
            self._page.set_viewport_size({"width": 1280, "height": 800})
            self._page.goto(url)
            found = [
                f"{one['id']}: {one['help']}: {node['html']}"
                for one in self._axe.run(self._page).response["violations"]
                for node in one["nodes"]
            ]
            self._page.set_viewport_size({"width": NARROW_PX, "height": 800})
            width_px = self._page.evaluate("document.scrollingElement.scrollWidth")
            if width_px > NARROW_PX:
                found.append(f"{width_px} px wide on a screen of {NARROW_PX}")
        finally:
            self._page.unroute(url)
        return found


@contextlib.contextmanager
def tab(
    browser: Browser, judge: Judge, origin: str, language: Language, *, scripts: bool = False, trusting: bool = False
) -> Iterator[Tab]:
    """A new person's browser, without memory, and without scripts unless the test is about them."""
    context = browser.new_context(locale=language, java_script_enabled=scripts, ignore_https_errors=trusting)
    try:
        found = Tab(context.new_page(), origin, language, judge)
        yield found
        found.finish()
    finally:
        context.close()
