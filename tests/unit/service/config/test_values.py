from __future__ import annotations

import contextlib
import enum
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.service.config import values
from sekisho.service.config.values import BadValue, Kind, from_text, parse_duration, parse_size


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(("text", "per_second"), [("", None), ("1/s", 1), ("90/m", 1.5), ("1800/h", 0.5)])
def test_a_rate_is_read_per_second(text: str, per_second: float | None) -> None:
    assert values.rate().read(text) == per_second


@pytest.mark.parametrize("text", ["0/s", "1", "1/d", "1.5/s", "-1/s", " 1/s", "1/s ", "1234567890/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="rate"):
        values.rate().read(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("72h", 259_200), ("7d", 604_800), ("0s", 0), ("1.5h", 5400)],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "1 s", "1S", "1w", "1h30m", "1e3s", "１s", "1.s", "9" * 10 + "s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="duration"):
        parse_duration(text)


@given(number=st.integers(0, 999_999_999), unit=st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_every_whole_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    factor = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert math.isclose(parse_duration(f"{number}{unit}"), number * factor)


@given(st.text(max_size=20))
def test_no_text_makes_the_readers_fail_in_another_way(text: str) -> None:
    for parse in (parse_duration, parse_size, values.path().read, values.choice(Colour).read):
        with contextlib.suppress(BadValue):
            parse(text)


@pytest.mark.parametrize(
    ("written", "size"),
    [("30MiB", 31_457_280), ("1KiB", 1024), ("0.5GiB", 536_870_912), ("10 MB", 10_000_000), ("7B", 7), (12, 12)],
)
def test_a_size_is_read_as_bytes(written: str | int, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "30", "MiB", "-1MiB", "1mib", "1MiBs", "1  MiB", "1.MiB", "1,5MiB"])
def test_what_is_no_size_is_refused(written: str) -> None:
    with pytest.raises(BadValue, match="size"):
        parse_size(written)


@given(number=st.integers(0, 10**15 - 1), power=st.integers(0, 4))
def test_sizes_are_exact_however_large(number: int, power: int) -> None:
    unit = ["B", "KiB", "MiB", "GiB", "TiB"][power]
    assert parse_size(f"{number}{unit}") == number << 10 * power


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.BOOLEAN, "true", True),
        (Kind.BOOLEAN, "false", False),
        (Kind.INTEGER, "-3", -3),
        (Kind.NUMBER, "2.5", 2.5),
        (Kind.SIZE, "30MiB", "30MiB"),
        (Kind.SIZE, "1024", 1024),
        (Kind.TEXT, "  as it is ", "  as it is "),
        (Kind.LIST, "a, b,", ["a", "b"]),
        (Kind.LIST, '["a", "b"]', ["a", "b"]),
        (Kind.LIST, "", []),
    ],
)
def test_text_of_the_environment_becomes_what_the_file_would_hold(kind: Kind, text: str, value: object) -> None:
    assert from_text(text, kind) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.BOOLEAN, "yes"),
        (Kind.BOOLEAN, ""),
        (Kind.INTEGER, "1.0"),
        (Kind.INTEGER, "0x1"),
        (Kind.INTEGER, "١"),
        (Kind.NUMBER, "many"),
        (Kind.LIST, "[a"),
    ],
)
def test_text_of_the_wrong_kind_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(BadValue):
        from_text(text, kind)


@pytest.mark.parametrize(
    ("reader", "written"),
    [
        (values.integer(1, 5), 0),
        (values.integer(1, 5), 6),
        (values.integer(1, 5), True),
        (values.integer(1, 5), 1.0),
        (values.seconds(0, 60), math.nan),
        (values.seconds(0, 60), math.inf),
        (values.seconds(0, 60), "30s"),
        (values.duration("1s", "1m"), "2m"),
        (values.duration("1s", "1m"), 30),
        (values.size("1KiB", "1MiB"), "2MiB"),
        (values.size("1KiB", "1MiB"), 5),
        (values.boolean(), "true"),
        (values.boolean(), 1),
        (values.choice(Colour), "green"),
        (values.words(Colour), []),
        (values.words(Colour), ["red", "red"]),
        (values.words(Colour), "red"),
        (values.words(Colour), [1]),
        (values.text(), "two\nlines"),
        (values.text(most=3), "four"),
        (values.path(), "nul\0"),
        (values.directory(), ""),
    ],
)
def test_values_out_of_range_or_kind_are_refused(reader: values.Reader[object], written: object) -> None:
    with pytest.raises(BadValue, match="must"):
        reader.read(written)


def test_an_empty_path_is_none() -> None:
    assert values.path().read("") is None
    assert values.path().read("a/b") == Path("a/b")
