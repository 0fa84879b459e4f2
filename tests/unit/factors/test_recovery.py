from __future__ import annotations

import re

import pytest

from sekisho.factors import recovery


def test_a_set() -> None:
    codes = [code.reveal() for code in recovery.make_codes()]
    assert len(set(codes)) == recovery.COUNT
    assert all(re.fullmatch(r"([A-Z2-7]{4}-){3}[A-Z2-7]{4}", code) for code in codes)


def test_a_code_is_known_however_it_is_typed() -> None:
    code = recovery.make_codes()[0].reveal()
    ways = [code, code.lower(), code.replace("-", ""), code.replace("-", " "), f"  {code}\n"]
    assert len({recovery.digest(way) for way in ways} - {None}) == 1


@pytest.mark.parametrize(
    "typed", ["", "-", "ABCD", "ABCD-EFGH-IJKL-MNO1", "ABCD-EFGH-IJKL-MNOP-QRST-UVWX", "é" * 16, "=" * 16]
)
def test_what_is_no_code(typed: str) -> None:
    assert recovery.digest(typed) is None
