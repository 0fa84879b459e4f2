"""The languages that people are spoken to in: English texts in the code, and a catalogue for each other language."""

from __future__ import annotations

import enum
import gettext
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALE: Final = Path(__file__).with_name("locale")
"""One file per language but English, ``ja.po``."""


class Language(enum.StrEnum):
    """By its code (BCP 47)."""

    ENGLISH = "en"
    JAPANESE = "ja"


def N_(text: str) -> str:  # noqa: N802  # gettext's name for it, by which texts are found
    """Mark a text of a table, which is translated where it is shown."""
    return text


@cache
def catalogue(language: Language) -> gettext.NullTranslations:
    """Read the texts of a language, once for a process."""
    if language is Language.ENGLISH:
        return gettext.NullTranslations()
    with (LOCALE / f"{language.value}.po").open("rb") as file:
        texts = read_po(file, locale=language.value)
    compiled = io.BytesIO()
    write_mo(compiled, texts)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def language_of(code: str | None) -> Language:
    """Find the language that a code names; English for what we do not speak."""
    try:
        return Language(code or "")
    except ValueError:
        return Language.ENGLISH


def translator(code: str | None) -> Callable[[str], str]:
    """Give what turns an English text into that language."""
    return catalogue(language_of(code)).gettext
