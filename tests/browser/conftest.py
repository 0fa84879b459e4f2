"""What the tests in a browser share: one browser, one judge and one server while tests of this package run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import chromium
from tests.browser.place import Place
from tests.browser.tab import LANGUAGES, Judge, Language, Tab, tab

NewTab = Callable[..., AbstractContextManager[Tab]]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def judge(browser: Browser) -> Judge:
    return Judge(browser)


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Place(tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Language:
    """Each language in turn."""
    found: Language = request.param
    return found


@pytest.fixture
def new_tab(browser: Browser, judge: Judge, place: Place, language: Language) -> Iterator[Callable[..., Tab]]:
    """Makes people's browsers, in one language."""
    with contextlib.ExitStack() as undo:
        make = partial(tab, browser, judge, place.origin, language)
        yield lambda **options: undo.enter_context(make(**options))
