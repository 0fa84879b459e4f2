from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from sekisho.service.config import Config, reference
from sekisho.service.config.later import LATER, WHOLE
from sekisho.service.config.model import KEY, Key, Section, Tables


def entries(model: Any, at: str) -> Iterator[tuple[str, Key]]:
    for field in dataclasses.fields(model):
        match field.metadata.get(KEY):
            case Section(name=name):
                yield from entries(field.default_factory, f"{at}{name}.")
            case Tables(name=name, row=row):
                yield from entries(row, f"{at}{name}.")
            case Key() as key:
                yield f"{at}{key.name}", key


KEYS = dict(entries(Config, ""))


def test_the_page_has_every_key_with_its_sentence() -> None:
    page = reference()
    for name, key in KEYS.items():
        assert f"| `{key.name}` |" in page, name
        assert key.doc.endswith("."), name
        assert key.doc.replace("|", "\\|") in page, name


def test_what_comes_later_is_a_key_of_the_model_or_refused_whole() -> None:
    for name in LATER:
        assert (name in KEYS) != (name in WHOLE), name
        assert f"| `{name}` |" in reference()
