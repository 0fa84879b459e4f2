from __future__ import annotations

import base64
import binascii
import email.header
import email.mime.multipart
import email.mime.text
import quopri
import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sekisho.apikeys.model import new_text
from sekisho.leaks import scan
from sekisho.leaks.scan import CANDIDATES_MAX, RUNS_MAX, candidates, candidates_in_file, candidates_in_header

KEY = b"SG.abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_abcde"
ANY = st.binary(max_size=200)
SECRETS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=65, max_size=65)


@st.composite
def keys(draw: st.DrawFn) -> bytes:
    text = draw(SECRETS).encode()
    return b"SG." + text[:22] + b"." + text[22:]


def lines(text: bytes, length: int) -> bytes:
    return b"".join(text[at : at + length] + b"\r\n" for at in range(0, len(text), length))


def test_the_example_has_the_form_of_a_key() -> None:
    assert len(KEY) == len(new_text().reveal()) == 69
    assert candidates(KEY) == (KEY,)


@given(key=keys(), before=ANY, after=ANY)
def test_a_key_as_it_is_is_found_wherever_it_stands(key: bytes, before: bytes, after: bytes) -> None:
    assert key in candidates(before + key + after)


@given(key=keys(), before=ANY, after=ANY, length=st.integers(1, 100), safe=st.booleans())
def test_a_key_in_base64_is_found_at_any_alignment_and_line_length(
    key: bytes, before: bytes, after: bytes, length: int, safe: bool
) -> None:
    encode = base64.urlsafe_b64encode if safe else base64.b64encode
    body = b"--=_1\r\n\r\n" + lines(encode(before + key + after), length) + b"\r\n--=_1--\r\n"
    assert key in candidates(body)


@given(key=keys(), before=ANY, after=ANY, tabs=st.booleans())
def test_a_key_in_quoted_printable_is_found(key: bytes, before: bytes, after: bytes, tabs: bool) -> None:
    text = before.replace(b"\r", b"").replace(b"\n", b"") + key + after
    assert key in candidates(quopri.encodestring(text, quotetabs=tabs).replace(b"\n", b"\r\n"))


@given(key=keys(), escaped=st.sets(st.integers(2, 68)), breaks=st.sets(st.integers(0, 69)))
@example(key=KEY, escaped={2, 25}, breaks={1, 2, 3})
@example(key=KEY, escaped=set(range(2, 69)), breaks=set(range(70)))
def test_soft_line_breaks_and_escapes_hide_nothing(key: bytes, escaped: set[int], breaks: set[int]) -> None:
    body = b"".join(
        (b"=\r\n" if at in breaks else b"") + (b"=%02X" % octet if at in escaped else bytes([octet]))
        for at, octet in enumerate(key)
    )
    assert key in candidates(b"see: " + body + b" !")


@given(key=keys(), before=st.text(max_size=60), after=st.text(max_size=60))
def test_a_key_in_encoded_words_of_a_header_is_found(key: bytes, before: str, after: str) -> None:
    for charset in ("utf-8", "iso-2022-jp"):
        try:
            subject = email.header.Header(f"{before}ü鍵 {key.decode()} {after}", charset, errors="replace").encode()
        except (UnicodeError, email.errors.HeaderParseError, ValueError):
            continue
        folded = b"Subject: " + subject.encode("ascii", "replace").replace(b"\n", b"\r\n") + b"\r\n"
        if charset == "utf-8":
            assert key in candidates_in_header(folded)
        else:
            candidates_in_header(folded)  # whatever it is: no crash


def test_a_key_in_a_folded_and_encoded_header_is_found() -> None:
    words = [KEY[at : at + 20] for at in range(0, 69, 20)]
    b = b"\r\n ".join(b"=?utf-8?B?" + base64.b64encode(word) + b"?=" for word in words)
    q = b"\r\n\t".join(b"=?UTF-8?q?" + word.replace(b"_", b"=5F").replace(b".", b"=2E") + b"?=" for word in words)
    for field in (b, q):
        assert candidates_in_header(b"Subject: " + field + b"\r\nX-A: =?utf-8?B?a?= =?x?\r\n") == (KEY,)
    assert candidates_in_header(b"X-Key: " + KEY + b"\r\n") == (KEY,)


@pytest.mark.parametrize("charset", ["us-ascii", "utf-8"])
def test_what_a_mail_program_makes_of_it_is_seen_through(charset: str) -> None:
    message = email.mime.multipart.MIMEMultipart()
    message.attach(email.mime.text.MIMEText("Hello\n" * 40, "plain", "us-ascii"))
    message.attach(email.mime.text.MIMEText(f"config:\n\tSENDGRID_API_KEY={KEY.decode()}\n", "x-env", charset))
    assert candidates(message.as_bytes().replace(b"\n", b"\r\n")) == (KEY,)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"SG.",
        b"SG.=",
        b"SG=2E=",
        b"U0cu",
        b"NHL",
        b"TRy4",
        b"The TRL of the NHL is at URL SG.2",
        KEY[:-1],
        KEY.replace(b".", b",", 1),
        KEY[:30] + b" " + KEY[30:],
        base64.b64encode(KEY[:-1]),
        base64.b64encode(b"x" + KEY[:-1]),
    ],
)
def test_what_is_no_key_is_not_taken_for_one(text: bytes) -> None:
    assert candidates(text) == candidates_in_header(text) == ()


@given(ANY | st.text("SUNTG0HR.cLy2=\r\nAx?-_", max_size=300).map(str.encode))
def test_nothing_makes_it_fail(text: bytes) -> None:
    for found in (candidates(text), candidates_in_header(text)):
        assert all(len(key) == 69 for key in found)


def test_so_many_are_looked_up_and_no_more() -> None:
    texts = [new_text().reveal() for _ in range(CANDIDATES_MAX + 5)]
    body = b"\r\n".join(texts)
    assert set(candidates(body)) <= set(texts)
    assert len(candidates(body)) == CANDIDATES_MAX
    assert candidates(b"\r\n".join([KEY] * 50)) == (KEY,)
    escaped = b"\r\n".join(text.replace(b".", b"=2E") for text in texts)
    assert len(candidates(escaped)) == CANDIDATES_MAX


@pytest.mark.parametrize("shift", range(-90, 91, 7))
def test_a_file_is_read_in_pieces_and_a_key_across_two_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    monkeypatch.setattr(scan, "PIECE_BYTES", 10_000)
    path = tmp_path / "body"
    chance = random.Random(shift)  # noqa: S311
    raw = b"".join(b"%07d" % chance.randrange(10**7) for _ in range(3000))
    place = 7500 // 4 * 3 + shift
    for dressed in (
        raw[: 10_000 + shift] + KEY + raw,
        lines(base64.b64encode(raw[:place] + KEY + raw), 76),
        quopri.encodestring(raw[: 9000 + shift] + b"=\xff" * 100 + KEY + raw).replace(b"\n", b"\r\n"),
    ):
        path.write_bytes(dressed)
        assert candidates_in_file(path) == (KEY,)


@pytest.mark.parametrize(
    "unit",
    [
        b"SG.",
        b"SG2",
        b"U0cu",
        b"NHL",
        b"TRy4",
        b"=?utf-8?q?a?= ",
        b"=?",
        b"=",
        b"SG=2E" + b"a" * 22 + b" ",
        KEY[:-1] + b" ",
    ],
)
def test_a_megabyte_made_for_it_is_scanned_in_linear_time(unit: bytes) -> None:
    # With the square of its length it would not come to an end.
    text = unit * (1_000_000 // len(unit))
    assert candidates_in_header(text) == ()


def test_a_flood_of_likely_places_is_not_looked_at_to_the_end() -> None:
    assert candidates(b"NHLi" * (RUNS_MAX - 1) + b" " + KEY) == (KEY,)
    assert candidates(b"NHLi" * RUNS_MAX + b" " + KEY) == ()


def test_binascii_takes_what_it_is_given() -> None:
    # What the scanner leaves to it must not raise on odd input.
    assert binascii.a2b_qp(b"=", header=True) == b""
