"""Readers: one written value of the configuration into its typed form, or the reason why not.

A reader says which TOML type it wants (``kind``), so that an environment variable, which is always text, can be turned
into that type first. Reasons are one line, in words for the person who edits the file.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from sekisho.db import Postgres, parse_postgres

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)

_URL_MAX: Final = 2000


class BadValue(Exception):
    """A value cannot be used; the text says why and what is wanted."""


class ConfigError(Exception):
    """The configuration cannot be used: ``key`` is its dotted name (or the file's), ``reason`` one line."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


class Kind(enum.Enum):
    """The TOML type of a key."""

    BOOLEAN = "true or false"
    INTEGER = "a whole number"
    NUMBER = "a number"
    TEXT = "text"
    SIZE = "text or a whole number"
    LIST = "a list of texts"


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """Turn a written value of ``kind`` into ``T``."""

    kind: Kind
    parse: Callable[[Any], T]
    shape: str
    """What may be written, for the reference page."""

    def read(self, written: object) -> T:
        """Give the typed value; raises BadValue."""
        if not _is_kind(written, self.kind):
            message = f"must be {self.kind.value}"
            raise BadValue(message)
        return self.parse(written)


def _is_kind(written: object, kind: Kind) -> bool:
    match kind:
        case Kind.BOOLEAN:
            return isinstance(written, bool)
        case Kind.INTEGER:
            return isinstance(written, int) and not isinstance(written, bool)
        case Kind.NUMBER:
            return isinstance(written, int | float) and not isinstance(written, bool)
        case Kind.TEXT:
            return isinstance(written, str)
        case Kind.SIZE:
            return isinstance(written, str | int) and not isinstance(written, bool)
        case Kind.LIST:
            return isinstance(written, list) and all(isinstance(item, str) for item in written)


def from_text(text: str, kind: Kind) -> object:
    """Turn an environment variable's text into the TOML type that a key wants; raises BadValue."""
    match kind:
        case Kind.BOOLEAN:
            if text not in {"true", "false"}:
                message = "must be true or false"
                raise BadValue(message)
            return text == "true"
        case Kind.INTEGER:
            return _whole_number(text)
        case Kind.NUMBER:
            try:
                return float(text)
            except ValueError:
                message = "must be a number"
                raise BadValue(message) from None
        case Kind.SIZE:
            return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
        case Kind.TEXT:
            return text
        case Kind.LIST:
            return _list_from_text(text)


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        message = "must be a whole number"
        raise BadValue(message)
    return int(text)


def _list_from_text(text: str) -> list[object]:
    """``a, b`` or the TOML spelling ``["a", "b"]``; empty text is the empty list."""
    stripped = text.strip()
    if not stripped.startswith("["):
        return [item.strip() for item in stripped.split(",") if item.strip()]
    try:
        found = json.loads(stripped)
    except ValueError:
        message = 'must be a list: a, b or ["a", "b"]'
        raise BadValue(message) from None
    return list(found)


# Numbers, durations, sizes.

_DURATION: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?(ms|s|m|h|d)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?\s?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)")
_UNIT_BYTES: Final = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}


def parse_duration(text: str) -> float:
    """``"500ms"``, ``"30s"``, ``"5m"``, ``"72h"``, ``"7d"`` in seconds; raises BadValue."""
    found = _DURATION.fullmatch(text)
    if found is None:
        message = 'must be a duration such as "500ms", "30s", "5m", "72h" or "7d"'
        raise BadValue(message)
    return float(f"{found[1]}.{found[2] or 0}") * _UNIT_S[found[3]]


def parse_size(written: str | int) -> int:
    """``"30MiB"`` or a number of bytes, in bytes; raises BadValue."""
    if isinstance(written, int):
        return written
    found = _SIZE.fullmatch(written)
    if found is None:
        message = 'must be a size such as "30MiB", or a number of bytes'
        raise BadValue(message)
    # Whole numbers of digits only: a float would round sizes over 2**53.
    fraction = found[2] or ""
    size_bytes: int = int(found[1] + fraction) * _UNIT_BYTES[found[3]] // 10 ** len(fraction)
    return size_bytes


def _within(value: float, least: float, most: float, show: Callable[[float], str]) -> None:
    if not math.isfinite(value) or not least <= value <= most:
        message = f"must be between {show(least)} and {show(most)}"
        raise BadValue(message)


def integer(least: int, most: int) -> Reader[int]:
    """A whole number in a range."""

    def parse(written: int) -> int:
        _within(written, least, most, lambda bound: str(int(bound)))
        return written

    return Reader(Kind.INTEGER, parse, f"{least} to {most}")


def seconds(least: float, most: float) -> Reader[float]:
    """Plain seconds (keys ending in ``_s``)."""

    def parse(written: float) -> float:
        _within(written, least, most, lambda bound: f"{bound:g}")
        return float(written)

    return Reader(Kind.NUMBER, parse, f"seconds, {least:g} to {most:g}")


def percent() -> Reader[float]:
    """A share of a hundred."""

    def parse(written: float) -> float:
        _within(written, 0, 100, lambda bound: f"{bound:g}")
        return float(written)

    return Reader(Kind.NUMBER, parse, "percent, 0 to 100")


def duration(least: str, most: str) -> Reader[float]:
    """A duration in a range, as seconds."""

    def parse(written: str) -> float:
        found = parse_duration(written)
        if not parse_duration(least) <= found <= parse_duration(most):
            message = f"must be between {least} and {most}"
            raise BadValue(message)
        return found

    return Reader(Kind.TEXT, parse, f"duration, {least} to {most}")


def size(least: str, most: str) -> Reader[int]:
    """A size in a range, as bytes."""

    def parse(written: str | int) -> int:
        found = parse_size(written)
        if not parse_size(least) <= found <= parse_size(most):
            message = f"must be between {least} and {most}"
            raise BadValue(message)
        return found

    return Reader(Kind.SIZE, parse, f"size, {least} to {most}")


def boolean() -> Reader[bool]:
    """``true`` or ``false``."""
    return Reader(Kind.BOOLEAN, bool, "true or false")


_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/([smh])")
_RATE_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def rate() -> Reader[float | None]:
    """``"100/s"``, ``"60/m"``, ``"1000/h"``, per second; empty means none."""

    def parse(written: str) -> float | None:
        if not written:
            return None
        found = _RATE.fullmatch(written)
        if found is None:
            message = 'must be a rate such as "100/s", "60/m" or "1000/h"'
            raise BadValue(message)
        return int(found[1]) / _RATE_UNIT_S[found[2]]

    return Reader(Kind.TEXT, parse, "rate: a whole number per s, m or h")


# Texts.


def choice(options: type[E]) -> Reader[E]:
    """One of the words of an enum."""
    words = " or ".join(f'"{option.value}"' for option in options)

    def parse(written: str) -> E:
        try:
            return options(written)
        except ValueError:
            message = f"must be {words}"
            raise BadValue(message) from None

    return Reader(Kind.TEXT, parse, words.replace(" or ", ", "))


def text(*, most: int = 255) -> Reader[str]:
    """Free text on one line."""

    def parse(written: str) -> str:
        if len(written) > most or not written.isprintable():
            message = f"must be printable text of at most {most} characters"
            raise BadValue(message)
        return written

    return Reader(Kind.TEXT, parse, "text")


def tokens() -> Reader[tuple[str, ...]]:
    """Short words of somebody else's vocabulary."""

    def parse(written: list[str]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[!-~]{1,64}", item) for item in written):
            message = "must be words of printable ASCII"
            raise BadValue(message)
        return tuple(written)

    return Reader(Kind.LIST, parse, "list of words")


def database() -> Reader[Postgres | None]:
    """``sqlite`` (None), or the URL of a PostgreSQL database, which may hold a password: errors do not quote it."""

    def parse(written: str) -> Postgres | None:
        if written == "sqlite":
            return None
        if len(written) > _URL_MAX or not written.startswith(("postgresql:", "postgres:")):
            message = 'must be "sqlite" or postgresql://user@host/database'
            raise BadValue(message)
        try:
            return parse_postgres(written)
        except ValueError as wrong:
            raise BadValue(str(wrong)) from None

    return Reader(Kind.TEXT, parse, '"sqlite" or a PostgreSQL URL')


def path() -> Reader[Path | None]:
    """A file or directory; empty means none. Made absolute by the one who knows where the file stood."""

    def parse(written: str) -> Path | None:
        if "\0" in written:
            message = "must be a path"
            raise BadValue(message)
        return Path(written) if written else None

    return Reader(Kind.TEXT, parse, "path")


def directory() -> Reader[Path]:
    """A directory that must be named."""

    def parse(written: str) -> Path:
        if not written or "\0" in written:
            message = "must be a path"
            raise BadValue(message)
        return Path(written)

    return Reader(Kind.TEXT, parse, "path")


def words(options: type[E]) -> Reader[tuple[E, ...]]:
    """One or more of the words of an enum, each once."""
    one = choice(options)

    def parse(written: list[str]) -> tuple[E, ...]:
        if not written or len(set(written)) != len(written):
            message = f"must name at least one of {one.shape}, each once"
            raise BadValue(message)
        return tuple(one.parse(item) for item in written)

    return Reader(Kind.LIST, parse, f"list of {one.shape}")
