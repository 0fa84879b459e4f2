from __future__ import annotations

import pytest

from sekisho.languages import Language, translator
from sekisho.letters import Kind
from sekisho.letters.texts import WHAT, Facts, text_of

FACTS = Facts(
    host="relay.example.net",
    url="https://relay.example.net",
    link="https://relay.example.net/x/TOKEN",
    account="acme",
    username="ann",
    new_email="new@example.com",
    who="bob@example.com",
    address="192.0.2.1",
    what="totp_added",
    at_ms=1_795_500_000_000,
)

WITH_LINK = {Kind.SIGNUP, Kind.SIGNUP_INVITED, Kind.INVITE, Kind.RESET, Kind.EMAIL_CONFIRM}


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_text_and_its_link_stands_on_a_line_of_its_own(kind: Kind, language: Language) -> None:
    subject, text = text_of(kind, FACTS, translator(language))
    assert subject
    assert "\n" not in subject
    assert "{" not in subject + text
    assert (FACTS.link in text.splitlines()) == (kind in WITH_LINK)
    assert text.endswith("\n")
    assert "2026-11-24" in text


@pytest.mark.parametrize("kind", Kind)
def test_nothing_is_left_in_english_for_japanese_readers(kind: Kind) -> None:
    untranslated: list[str] = []

    def say(text: str) -> str:
        found = translator("ja")(text)
        if found == text:
            untranslated.append(text)
        return found

    for what in (*WHAT, "else"):
        for known in (False, True):
            for address in ("", "192.0.2.1"):
                text_of(kind, Facts(host="h", url="u", known=known, what=what, address=address), say)
    assert untranslated == []


def test_whoever_has_an_account_is_told_so_and_gets_no_link() -> None:
    for kind in (Kind.SIGNUP, Kind.SIGNUP_INVITED):
        _, text = text_of(kind, Facts(host="h", url="https://h", known=True, link="NOT THIS"), translator("en"))
        assert "https://h/login" in text
        assert "NOT THIS" not in text


@pytest.mark.parametrize("what", WHAT)
def test_each_change_of_a_factor_is_called_by_its_name(what: str) -> None:
    _, text = text_of(Kind.FACTORS_CHANGED, Facts(host="h", url="u", what=what), translator("en"))
    assert "The second factor was changed." not in text
