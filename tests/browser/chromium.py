"""Debian's Chromium, driven by Playwright's synchronous interface."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from tests.acceptance.judges import program

FLAGS: Final = (
    "--no-sandbox",  # CI runs as root, where Chromium has no sandbox
    "--disable-gpu",
    # It asks its maker for nothing: tests run where nothing but loopback may be reached.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """One browser; skips where there is none, fails in CI.

    While it runs, this thread counts as one with an event loop: no test that makes one may run meanwhile.
    """
    path = program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
