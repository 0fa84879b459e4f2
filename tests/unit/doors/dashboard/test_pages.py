from __future__ import annotations

import jinja2
import pytest

from sekisho.doors.dashboard import pages
from sekisho.doors.dashboard.pages import own_path, when
from sekisho.languages import Language


@pytest.mark.parametrize("path", ["/", "/keys", "/keys/abc?x=1&y=2", "/audit?next=https://elsewhere.example/", "/a#b"])
def test_a_path_of_ours_is_followed(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "keys",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\\/evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/ /evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "/.//evil.example",
        "/x/..//evil.example",
        "/keys\r\nSet-Cookie: a=b",
        "/keys\0",
        "/\x7f",
        "/\u2028",
        "/\uff0fevil.example",
        "/" + "x" * 2000,
        "?next=/",
        "#x",
    ],
)
def test_nobody_is_led_elsewhere(path: str) -> None:
    assert own_path(path) == "/"


def test_a_moment_is_shown_in_utc() -> None:
    assert when(0) == '<time datetime="1970-01-01T00:00:00Z">1970-01-01 00:00 UTC</time>'


def test_every_template_compiles_in_every_language() -> None:
    pages.prepare()


def test_what_is_shown_is_escaped_and_what_is_missing_is_a_fault() -> None:
    environment = pages._environment(Language.ENGLISH)
    hostile = "<script>alert(1)</script>"
    assert environment.from_string("{{ x }}{{ _('%(x)s', x=x) }}").render(x=hostile).count("&lt;script&gt;") == 2
    with pytest.raises(jinja2.UndefinedError):
        environment.from_string("{{ y }}").render(x=1)


def test_no_template_says_that_something_is_safe() -> None:
    for path in sorted((pages._HERE / "templates").iterdir()):
        text = path.read_text()
        for word in (
            "|safe",
            "| safe",
            "Markup",
            "autoescape",
            "style=",
            "onclick",
            "onload",
            "onsubmit",
            "javascript:",
        ):
            assert word not in text, (path.name, word)
        # No script stands in a page: all of it comes from a file.
        assert text.count("<script") == text.count("<script src="), path.name
