"""Brings ``sekisho/locale`` up to date with the texts of the code, and says what is left to translate.

A catalogue has every text in the order of the code, with the files it stands in: no dates and no line numbers, so that
it changes only when a text does. Texts that are gone are dropped, new ones come in empty; nothing is guessed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from sekisho.languages import LOCALE, Language

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE: Final = ROOT / "sekisho"
TEMPLATES: Final = SOURCE / "doors" / "dashboard" / "templates"

KEYWORDS: Final = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
"""What a text stands in; ``sekisho.languages`` says when it is ``N_``."""

HEADER: Final = """msgid ""
msgstr ""
"Project-Id-Version: Sekisho\\n"
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plurals};\\n"

"""
_PLACE: Final = re.compile(r"%\(\w+\)[a-z]|\{\w*\}")


def texts() -> Catalog:
    """Collect what the code says, in the order of its files."""
    found = Catalog()
    for method, files in (
        ("python", sorted(SOURCE.rglob("*.py"))),
        ("jinja2.ext.babel_extract", sorted(TEMPLATES.rglob("*.html"))),
    ):
        for path in files:
            with path.open("rb") as file:
                for text in _texts_of(method, file):
                    found.add(text, locations=[(path.relative_to(ROOT).as_posix(), 0)])
    return found


def _texts_of(method: str, file: BinaryIO) -> Iterator[str | tuple[str, str]]:
    options = {"silent": "false"} if method != "python" else {}
    for _line, text, _comments, _context in extract(method, file, keywords=KEYWORDS, options=options):
        # The extractor gives one text as a string, and singular and plural as a pair.
        yield text if isinstance(text, str) else (text[0], text[1])


def read(language: Language) -> Catalog:
    with (LOCALE / f"{language.value}.po").open("rb") as file:
        return read_po(file, locale=language.value, abort_invalid=True)


def merged(found: Catalog, translated: Catalog, language: Language) -> str:
    """Write the texts that were found, each with its translation if it has one, as a catalogue."""
    new = Catalog(locale=language.value)
    for message in found:
        if not message.id:
            continue
        old = translated.get(_key(message))
        if old is None or old.id != message.id:
            new.add(message.id, locations=message.locations)
        else:
            flags = old.flags & {"fuzzy"}
            new.add(message.id, old.string, message.locations, flags, user_comments=old.user_comments)
    body = io.BytesIO()
    write_po(body, new, width=0, omit_header=True, include_lineno=False)
    header = HEADER.format(language=language.value, plurals=new.plural_forms.rstrip(";"))
    return header + body.getvalue().decode().strip() + "\n"


def faults(found: Catalog, translated: Catalog) -> Iterator[str]:
    """Say what keeps a catalogue from being the whole translation of the texts, and nothing else."""
    for message in found:
        if not message.id:
            continue
        own = translated.get(_key(message))
        if own is None or own.id != message.id:
            yield f"missing: {_shown(message)}"
        elif own.fuzzy:
            yield f"fuzzy: {_shown(message)}"
        elif not all(_strings(own)):
            yield f"empty: {_shown(message)}"
        elif any(_places(string) != _places(_longest(message)) for string in _strings(own)):
            yield f"other placeholders: {_shown(message)}"
    for message in translated:
        if message.id and found.get(_key(message)) is None:
            yield f"not in the code: {_shown(message)}"
    yield from (f"obsolete: {_shown(message)}" for message in translated.obsolete.values())


def _key(message: Message) -> str:
    """Give what a catalogue finds a message by: its text, which is the singular where it has two."""
    return message.id if isinstance(message.id, str) else message.id[0]


def _longest(message: Message) -> str:
    """Give the text whose placeholders count: the plural where it has two, for a singular may say "one"."""
    return message.id if isinstance(message.id, str) else message.id[1]


def _strings(message: Message) -> Iterable[str]:
    return [message.string] if isinstance(message.string, str) else message.string or [""]


def _places(text: str) -> list[str]:
    return sorted(_PLACE.findall(text))


def _shown(message: Message) -> str:
    return repr(_key(message))


def main() -> None:
    found = texts()
    for language in Language:
        if language is not Language.ENGLISH:
            (LOCALE / f"{language.value}.po").write_text(merged(found, read(language), language), encoding="utf-8")
            for fault in faults(found, read(language)):
                print(f"{language.value}.po: {fault}")


if __name__ == "__main__":
    main()
