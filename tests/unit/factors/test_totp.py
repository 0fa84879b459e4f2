from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from sekisho.factors import totp
from sekisho.secret import Secret

# RFC 6238 appendix B: the ASCII secret "12345678901234567890", SHA-1; the last six of its eight digits.
RFC_SECRET = Secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
RFC_CODES = [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]


@pytest.mark.parametrize(("at_s", "code"), RFC_CODES)
def test_the_vectors_of_the_rfc(at_s: int, code: str) -> None:
    assert totp.matching_step(RFC_SECRET, code, now_ms=at_s * 1000) == at_s // 30


@pytest.mark.parametrize(
    ("late_s", "good"), [(-60, False), (-30, True), (-1, True), (29, True), (59, True), (60, False)]
)
def test_one_step_before_and_after(late_s: int, good: bool) -> None:
    starts_s = 1_111_111_080  # of the step that the code is of
    found = totp.matching_step(RFC_SECRET, "081804", now_ms=(starts_s + late_s) * 1000)
    assert found == (starts_s // 30 if good else None)


@pytest.mark.parametrize("typed", ["081 804", " 081804\n", "08 18 04"])
def test_spaces_are_as_apps_show_them(typed: str) -> None:
    assert totp.matching_step(RFC_SECRET, typed, now_ms=1_111_111_109_000) is not None


@pytest.mark.parametrize(
    "typed", ["", "08180", "0818044", "08180a", "０８１８０４", "-81804", "08180४", "\x00" * 6, "081804" * 1000]
)
def test_what_is_no_code(typed: str) -> None:
    assert totp.matching_step(RFC_SECRET, typed, now_ms=1_111_111_109_000) is None


def test_secrets_are_new_and_long_enough() -> None:
    made = {totp.new_secret().reveal() for _ in range(20)}
    assert len(made) == 20
    assert {len(one) for one in made} == {32}  # of 5 bits each


def test_what_the_app_reads() -> None:
    url = urlsplit(totp.uri(RFC_SECRET, issuer="Sekisho relay.example.net", name="ann@example.com").reveal())
    assert (url.scheme, url.netloc) == ("otpauth", "totp")
    assert parse_qs(url.query) == {"secret": [RFC_SECRET.reveal()], "issuer": ["Sekisho relay.example.net"]}


def test_the_picture_needs_no_style_of_its_own() -> None:
    picture = totp.qr_code(Secret("otpauth://totp/x")).reveal()
    assert picture.startswith("data:image/svg+xml")
    assert "style" not in picture
