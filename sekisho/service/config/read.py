"""Read the configuration: one TOML file, then the environment over it, into the frozen value.

The tree that the file gives is walked along the model's keys; what the model does not name is refused with the nearest
name, what a later version brings is refused with its name.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from sekisho.secret import Secret
from sekisho.service.config import later, rules
from sekisho.service.config.model import KEY, REQUIRED, Config, Key, Section, Tables
from sekisho.service.config.values import BadValue, ConfigError, from_text

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _FromEnvironment:
    """A text that an environment variable put in the tree."""

    variable: str
    text: str


def read(
    text: str,
    name: str,
    environ: Mapping[str, str],
    *,
    base: Path,
    data_dir: Path | None,
    passwords: tuple[Secret[str] | None, ...],
    client_secret: Secret[str] | None,
) -> Config:
    """Read a file's text (``name`` is for errors) and the variables over it; raises ConfigError."""
    try:
        tree: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, f"is not TOML: {error}") from None
    _lay_over(tree, environ)
    if data_dir is not None:
        server = tree.setdefault("server", {})
        if isinstance(server, dict):
            server["data_dir"] = str(data_dir)
    return rules.finish(_table(Config, tree, ""), base, passwords, client_secret)


def _lay_over(tree: dict[str, object], environ: Mapping[str, str]) -> None:
    """Put every ``SEKISHO_SECTION__KEY`` where the file would have it."""
    for variable in sorted(environ):
        *tables, last = variable.partition("_")[2].lower().split("__")
        place = tree
        for table in tables:
            inner = place.setdefault(table, {})
            if not isinstance(inner, dict):
                raise ConfigError(variable, "names no key that an environment variable can set")
            place = cast("dict[str, object]", inner)
        place[last] = _FromEnvironment(variable, environ[variable])


# The tree along the model.


def _table(model: type[T], tree: object, at: str) -> T:
    """Read one table into its dataclass; ``at`` is its dotted name with the final dot, empty at the top."""
    if not isinstance(tree, dict):
        raise ConfigError(at.rstrip("."), "must be a table")
    fields = {
        entry.name: (field.name, entry)
        for field in dataclasses.fields(cast("Any", model))
        if (entry := field.metadata.get(KEY)) is not None
    }
    found: dict[str, Any] = {}
    for name, written in cast("dict[str, object]", tree).items():
        _refuse_later(at, name, written)
        if name not in fields:
            raise ConfigError(_name_of(at, name, written), _unknown(name, fields))
        attribute, entry = fields[name]
        match entry:
            case Key():
                found[attribute] = _value(entry, f"{at}{name}", written)
            case Section():
                section = _type_of(model, attribute)
                found[attribute] = _table(section, written, f"{at}{name}.")
            case Tables():
                found[attribute] = _rows(entry, written, f"{at}{name}")
    for name, (attribute, entry) in fields.items():
        if attribute not in found and isinstance(entry, Key) and entry.written is REQUIRED:
            raise ConfigError(key=f"{at}{name}", reason="is missing")
    return model(**found)


def _type_of(model: type[Any], attribute: str) -> type[Any]:
    """The dataclass of a section: its default factory, which is the class itself."""
    (field,) = (field for field in dataclasses.fields(model) if field.name == attribute)
    return cast("type[Any]", field.default_factory)


def _rows(entry: Tables, written: object, at: str) -> tuple[Any, ...]:
    if isinstance(written, _FromEnvironment):
        raise ConfigError(written.variable, "an array of tables can only be set in the file")
    if not isinstance(written, list):
        raise ConfigError(at, f"must be an array of tables ([[{at}]])")
    return tuple(_table(entry.row, row, f"{at}[{position}].") for position, row in enumerate(written))


def _value(entry: Key, name: str, written: object) -> object:
    try:
        if isinstance(written, _FromEnvironment):
            return _checked(entry, name, from_text(written.text, entry.reader.kind))
        return _checked(entry, name, written)
    except BadValue as wrong:
        raise ConfigError(_name_of("", name, written), str(wrong)) from None


def _checked(entry: Key, name: str, written: object) -> object:
    if (reason := later.refusal(_without_positions(name), written)) is not None:
        raise BadValue(reason)
    return entry.reader.read(written)


def _refuse_later(at: str, name: str, written: object) -> None:
    """Refuse a table or key that the model does not have yet, but the contract does."""
    dotted = _without_positions(f"{at}{name}")
    if dotted in later.WHOLE and (reason := later.refusal(dotted, written)) is not None:
        raise ConfigError(_name_of(at, name, written), reason)


def _without_positions(name: str) -> str:
    """``smtp.listeners[0].accept`` → ``smtp.listeners.accept``."""
    return ".".join(part.partition("[")[0] for part in name.split("."))


def _name_of(at: str, name: str, written: object) -> str:
    """How the person who wrote it knows the key."""
    return written.variable if isinstance(written, _FromEnvironment) else f"{at}{name}"


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"is not a key of this version; did you mean {near[0]}?" if near else "is not a key of this version"
