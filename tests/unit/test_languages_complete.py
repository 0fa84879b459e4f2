"""Every text of the code has its translation; `make messages` brings the catalogues up to date."""

from __future__ import annotations

import io
import re

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from sekisho.languages import Language
from tools.messages import ROOT, faults, merged, read, texts

OTHERS = [language for language in Language if language is not Language.ENGLISH]


@pytest.fixture(scope="module")
def found() -> Catalog:
    return texts()


def catalogue(*lines: str) -> Catalog:
    return read_po(io.StringIO("\n".join(lines) + "\n"), locale="ja")


def test_texts_of_the_code_and_of_pages_are_found(found: Catalog) -> None:
    places = {name for message in found for name, _line in message.locations}
    assert {"sekisho/letters/texts.py", "sekisho/doors/dashboard/templates/login.html"} <= places
    assert ("%(num)s subuser", "%(num)s subusers") in {message.id for message in found}


@pytest.mark.parametrize("language", OTHERS)
def test_everything_is_translated(found: Catalog, language: Language) -> None:
    wrong = list(faults(found, read(language)))
    assert not wrong, "\n".join(["run `make messages`, then translate what is empty:", *wrong])


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_changes_only_with_the_texts(found: Catalog, language: Language) -> None:
    once = merged(found, read(language), language)
    assert merged(found, read_po(io.StringIO(once), locale=language.value), language) == once
    assert str(ROOT) not in once
    assert "Date" not in once
    assert not re.search(r"^#: .*:\d", once, re.MULTILINE)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([], "missing"),
        (['msgid "Hello %(name)s"', 'msgstr ""'], "empty"),
        (["#, fuzzy", 'msgid "Hello %(name)s"', 'msgstr "%(name)s"'], "fuzzy"),
        (['msgid "Hello %(name)s"', 'msgstr "%(nome)s"'], "other placeholders"),
        (['msgid "Hello %(name)s"', 'msgid_plural "Hellos %(name)s"', 'msgstr[0] "%(name)s"'], "missing"),
    ],
)
def test_what_is_wrong_with_one_text(lines: list[str], fault: str) -> None:
    found = Catalog()
    found.add("Hello %(name)s")
    assert list(faults(found, catalogue(*lines))) == [f"{fault}: 'Hello %(name)s'"]


def test_placeholders_of_plurals_and_of_letters_count() -> None:
    found = Catalog()
    found.add(("%(num)s key", "%(num)s keys"))
    found.add("To {host}")
    own = [
        'msgid "%(num)s key"',
        'msgid_plural "%(num)s keys"',
        'msgstr[0] "x"',
        "",
        'msgid "To {host}"',
        'msgstr "{}"',
    ]
    assert [said.partition(":")[0] for said in faults(found, catalogue(*own))] == ["other placeholders"] * 2


def test_what_the_code_does_not_say_is_not_in_a_catalogue() -> None:
    own = catalogue('msgid "Gone"', 'msgstr "x"', "", '#~ msgid "Older"', '#~ msgstr "y"')
    assert list(faults(Catalog(), own)) == ["not in the code: 'Gone'", "obsolete: 'Older'"]


def test_bringing_up_to_date_keeps_what_is_translated_and_drops_what_is_gone() -> None:
    found = Catalog()
    found.add("Kept", locations=[("a.py", 7)])
    found.add("New", locations=[("a.py", 8)])
    own = catalogue('msgid "Gone"', 'msgstr "x"', "", 'msgid "Kept"', 'msgstr "y"')
    assert merged(found, own, Language.JAPANESE).partition("\n\n")[2] == (
        '#: a.py\nmsgid "Kept"\nmsgstr "y"\n\n#: a.py\nmsgid "New"\nmsgstr ""\n'
    )
