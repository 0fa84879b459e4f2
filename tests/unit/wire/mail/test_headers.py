from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.mail.headers import (
    FIELDS_MAX,
    SINGLE,
    Field,
    Flaw,
    HeaderFault,
    UnwritableHeaderError,
    find_duplicate,
    format_field,
    parse,
)

_BLOCK = (
    b"Received: from a.example\r\n"
    b"\tby b.example; Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    b"FROM:joe@b.example\r\n"
    b"Subject:  two\r\n"
    b"  words \t\r\n"
    b"X-Empty:\r\n"
    b"X-Empty: \r\n"
    b"X-8bit: \xff\xc3\xb6\r\n"
)


def _fields(block: bytes) -> tuple[Field, ...]:
    found = parse(block)
    assert not isinstance(found, HeaderFault), found
    return found


def test_fields_are_cut_and_kept_as_they_are() -> None:
    fields = _fields(_BLOCK)
    assert [(field.name, field.value) for field in fields] == [
        (b"received", b"from a.example\tby b.example; Tue, 24 Nov 2026 10:00:00 +0000"),
        (b"from", b"joe@b.example"),
        (b"subject", b"two  words"),
        (b"x-empty", b""),
        (b"x-empty", b""),
        (b"x-8bit", b"\xff\xc3\xb6"),
    ]
    assert b"".join(field.raw for field in fields) == _BLOCK
    assert fields[1].raw == b"FROM:joe@b.example\r\n"


def test_nothing_is_no_field() -> None:
    assert parse(b"") == ()


@pytest.mark.parametrize(
    ("block", "flaw", "name"),
    [
        (b"From: a\r\nno field\r\n", Flaw.NO_COLON, b""),
        (b" From: a\r\n", Flaw.CONTINUES_NOTHING, b""),
        (b"\tFrom: a\r\n", Flaw.CONTINUES_NOTHING, b""),
        (b"From : a\r\n", Flaw.NAME_THEN_SPACE, b"from"),
        (b"From\t: a\r\n", Flaw.NAME_THEN_SPACE, b"from"),
        (b"From a: b\r\n", Flaw.NAME_BAD_CHARACTER, b"from?a"),
        (
            b"From joe@b.example Tue Nov 24 10:00:00 2026\r\nTo: a\r\n",
            Flaw.NAME_BAD_CHARACTER,
            b"from?joe@b.example?tue?nov?24?10",
        ),
        (b"Fr\xf6m: a\r\n", Flaw.NAME_BAD_CHARACTER, b"fr?m"),
        (b"Fr\x01m: a\r\n", Flaw.NAME_BAD_CHARACTER, b"fr?m"),
        (b": a\r\n", Flaw.NAME_BAD_CHARACTER, b""),
        (b"X: a\r\n \r\nFrom: a\r\n", Flaw.BLANK_LINE, b"x"),
        (b"X: a\r\n \t \r\n b\r\n", Flaw.BLANK_LINE, b"x"),
        (b"X: a\r\n\r\nFrom: a\r\n", Flaw.BLANK_LINE, b"x"),
        (b"\r\n", Flaw.BLANK_LINE, b""),
        (b"X: a\r\n\r\n", Flaw.BLANK_LINE, b"x"),
        (b"X: " + b"a" * 996 + b"\r\n", Flaw.LINE_TOO_LONG, b"x"),
        (b"X: a\r\n " + b"a" * 998 + b"\r\n", Flaw.LINE_TOO_LONG, b"x"),
        (b"a" * 999 + b"\r\n", Flaw.LINE_TOO_LONG, b"a" * 40),
        (b"X: a", Flaw.BAD_LINE_END, b""),
        (b"X: a\n", Flaw.BAD_LINE_END, b""),
        (b"X: a\r", Flaw.BAD_LINE_END, b""),
        (b"X: a\nFrom: b\r\n", Flaw.BAD_LINE_END, b""),
        (b"X: a\rFrom: b\r\n", Flaw.BAD_LINE_END, b""),
        (b"X: a\r\r\n", Flaw.BAD_LINE_END, b""),
        (b"X: a\n\r\n", Flaw.BAD_LINE_END, b""),
        (b"X: a\0b\r\n", Flaw.NUL, b""),
        (b"X: a\x0bb\r\n", Flaw.VERTICAL_BLANK, b""),
        (b"X: a\x0c\r\n", Flaw.VERTICAL_BLANK, b""),
        (b"X: a\r\n" * (FIELDS_MAX + 1), Flaw.TOO_MANY_FIELDS, b""),
    ],
)
def test_shapes_that_readers_disagree_about_are_faults(block: bytes, flaw: Flaw, name: bytes) -> None:
    assert parse(block) == HeaderFault(flaw, name)


def test_bounds_are_reached() -> None:
    assert len(_fields(b"X: a\r\n" * FIELDS_MAX)) == FIELDS_MAX
    assert len(_fields(b"X: a\r\n" * 3)) == 3
    assert parse(b"X: a\r\n" * 4, fields_max=3) == HeaderFault(Flaw.TOO_MANY_FIELDS)
    assert len(_fields(b"X: " + b"a" * 995 + b"\r\n")) == 1


@given(
    st.lists(
        st.sampled_from([b"From", b"X-Y", b":", b" ", b"\t", b"\r\n", b"\r", b"\n", b"\0", b"\xff", b"a: b\r\n"])
    ).map(b"".join)
    | st.binary(max_size=80)
)
def test_every_block_is_either_kept_whole_or_faulty(block: bytes) -> None:
    found = parse(block)
    if isinstance(found, HeaderFault):
        assert found.name.isascii()
        return
    assert b"".join(field.raw for field in found) == block
    for field in found:
        assert field.name == field.name.lower()
        assert field.raw.lower().startswith(field.name + b":")
        assert b"\r" not in field.value
        assert field.raw.endswith(b"\r\n")


def test_of_two_singletons_the_first_is_named() -> None:
    assert find_duplicate(_fields(_BLOCK)) is None
    twice = _fields(b"To: a\r\nfrom: a\r\nX: b\r\nX: c\r\nFROM: b\r\nTo: c\r\n")
    assert find_duplicate(twice) == b"from"
    assert find_duplicate(twice, {b"x"}) == b"x"


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_every_singleton_is_watched(name: bytes) -> None:
    once = name.title() + b": a\r\n"
    assert find_duplicate(_fields(once)) is None
    assert find_duplicate(_fields(once + b"X: y\r\n" + name.upper() + b":b\r\n")) == name


@pytest.mark.parametrize(
    "name", [b"received", b"dkim-signature", b"x-anything", b"comments", b"keywords", b"list-unsubscribe"]
)
def test_others_may_repeat(name: bytes) -> None:
    assert find_duplicate(_fields((name + b": a\r\n") * 2)) is None


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        (b"Date", b"Tue, 24 Nov 2026 10:00:00 +0000", b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n"),
        (b"X", b"", b"X: \r\n"),
        (b"X", b"  a ", b"X: a\r\n"),
        (b"X", b"a\tb", b"X: a\tb\r\n"),
        (b"X", b"a" * 75, b"X: " + b"a" * 75 + b"\r\n"),
        (b"X", b"a" * 995, b"X: " + b"a" * 995 + b"\r\n"),
        (b"X", b"a" * 40 + b" " + b"b" * 40, b"X: " + b"a" * 40 + b"\r\n " + b"b" * 40 + b"\r\n"),
        (b"X", b"a" * 40 + b" \t " + b"b" * 40 + b" c", b"X: " + b"a" * 40 + b"\r\n \t " + b"b" * 40 + b" c\r\n"),
        (b"X", b"a b " + b"c" * 900, b"X: a b\r\n " + b"c" * 900 + b"\r\n"),
    ],
)
def test_fields_are_written_and_folded(name: bytes, value: bytes, field: bytes) -> None:
    assert format_field(name, value) == field


@pytest.mark.parametrize("octet", [*range(9), *range(10, 32), 127])
def test_no_control_character_is_written(octet: int) -> None:
    with pytest.raises(UnwritableHeaderError, match="control character"):
        format_field(b"Subject", b"secret" + bytes((octet,)) + b"x")


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"\xff", b"a\0"])
def test_no_bad_name_is_written(name: bytes) -> None:
    with pytest.raises(UnwritableHeaderError, match="not a field name"):
        format_field(name, b"x")


def test_what_cannot_be_folded_is_refused_without_showing_it() -> None:
    with pytest.raises(UnwritableHeaderError) as caught:
        format_field(b"Subject", b"x" * 2000)
    assert "xx" not in str(caught.value)
    assert "subject" in str(caught.value)


_NAMES = st.text("AbC-", min_size=1, max_size=30).map(str.encode)
_WORDS = [b"a", b"b" * 20, b"c" * 90, b" ", b"  ", b"\t", b"\xc3\xb6", b":", b","]


@given(_NAMES, st.lists(st.sampled_from(_WORDS), max_size=60).map(b"".join))
def test_what_is_written_reads_back(name: bytes, value: bytes) -> None:
    try:
        raw = format_field(name, value)
    except UnwritableHeaderError:
        assert max(map(len, value.replace(b"\t", b" ").split(b" "))) > 900
        return
    (field,) = _fields(raw)
    assert (field.name, field.value) == (name.lower(), value.strip(b" \t"))
    for line in raw.removeprefix(name + b": ").split(b"\r\n"):
        # Longer than it should be only where no blank offered itself.
        assert len(line) <= 78 or not {b" ", b"\t"} & {line.strip(b" \t")[at : at + 1] for at in range(len(line))}
