from __future__ import annotations

import pytest

from sekisho.doors.dashboard.language import choose, negotiate
from sekisho.languages import Language

EN, JA = Language.ENGLISH, Language.JAPANESE


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", EN),
        ("ja", JA),
        ("ja-JP,ja;q=0.9,en;q=0.8", JA),
        ("en-GB,en;q=0.9,ja;q=0.8", EN),
        ("fr-CH, fr;q=0.9, ja;q=0.5, en;q=0.4", JA),
        ("fr, de;q=0.9", EN),
        ("ja;q=0", EN),
        ("ja;q=0, en;q=0.1", EN),
        ("JA", JA),
        ("ja;q=wrong", EN),
        ("ja;level=1", JA),
        ("*", EN),
        (";;;,,,", EN),
        ("en;q=nan, ja;q=0.5", JA),
        ("x" * 10_000 + ",ja", EN),
    ],
)
def test_what_a_browser_asks_for(header: str, wanted: Language) -> None:
    assert negotiate(header) is wanted


def test_ones_own_choice_counts_before_the_browser_s() -> None:
    assert choose("ja", "en", "en") is JA
    assert choose(None, "ja", "en") is JA
    assert choose(None, "", "ja") is JA
    assert choose("xx", "../", "ja") is JA
