from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import argon2
import pytest

from sekisho.secret import Secret
from sekisho.users import passwords
from sekisho.users.passwords import (
    PASSWORD_MAX,
    Weakness,
    hash_password,
    needs_rehash,
    verify,
    weakness_by_vendor,
    weakness_of,
)

GOOD = "correct horse battery staple"
STORED = hash_password(Secret(GOOD))


@pytest.mark.parametrize(
    ("password", "weakness"),
    [
        ("", Weakness.LENGTH),
        ("xK9$vLq", Weakness.LENGTH),
        ("x" * (PASSWORD_MAX + 1), Weakness.LENGTH),
        ("password1", Weakness.COMMON),
        ("PassWord1", Weakness.COMMON),
        ("12345678", Weakness.COMMON),
        ("iloveyou1", Weakness.COMMON),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", Weakness.GUESSABLE),
        ("qwertyuiop123456", Weakness.GUESSABLE),
        ("2001-12-24", Weakness.GUESSABLE),
        ("p4ssw0rd!2026", Weakness.GUESSABLE),
        ("Sekisho-2026", Weakness.GUESSABLE),
        (GOOD, None),
        ("xK9$vLqT2m", None),
        ("ひらがなとカタカナと漢字", None),
        ("j2aO71c']let#,$.zJ" * 14, None),
    ],
)
def test_what_is_guessed_first_or_easily_is_refused(password: str, weakness: Weakness | None) -> None:
    assert weakness_of(Secret(password)) is weakness


@pytest.mark.parametrize(
    "password",
    ["Hasenfuss.Weberknecht", "weberknecht hasenfuss", "hasenfuss@weberknecht.example", "HasenfussWeberknecht1"],
)
def test_what_others_know_of_somebody_is_easily_guessed(password: str) -> None:
    assert weakness_of(Secret(password)) is None
    about = ("hasenfuss@weberknecht.example", "hasenfuss")
    assert weakness_of(Secret(password), about=about) is Weakness.GUESSABLE


def test_what_one_is_told_of_somebody_is_not_kept_for_the_next() -> None:
    password = Secret("Hasenfuss.Weberknecht")

    def judge(number: int) -> Weakness | None:
        return weakness_of(password, about=("hasenfuss@weberknecht.example",) if number % 2 else ())

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(judge, range(40)))
    assert found == [None, Weakness.GUESSABLE] * 20


@pytest.mark.parametrize(
    ("password", "weakness"),
    [
        ("short", Weakness.LENGTH),
        ("x" * (PASSWORD_MAX + 1), Weakness.LENGTH),
        ("password1", Weakness.COMMON),
        ("Password1", Weakness.COMMON),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", None),
        ("2001-12-24", None),
    ],
)
def test_of_a_program_less_is_asked(password: str, weakness: Weakness | None) -> None:
    assert weakness_by_vendor(Secret(password)) is weakness


def test_a_password_is_its_own_and_no_other() -> None:
    assert STORED.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert GOOD not in STORED
    assert verify(STORED, Secret(GOOD))
    assert not verify(STORED, Secret(GOOD + " "))
    assert not verify(STORED, Secret(GOOD.upper()))
    assert not verify(STORED, Secret(""))
    assert hash_password(Secret(GOOD)) != STORED


def test_composed_and_decomposed_characters_are_one() -> None:
    stored = hash_password(Secret("caf\u00e9 cr\u00e8me br\u00fbl\u00e9e"))
    assert verify(stored, Secret("cafe\u0301 cre\u0300me bru\u0302le\u0301e"))


@pytest.mark.parametrize("given", ["", GOOD, "x" * 1_000_000, "\ud800\udfff surrogates"])
@pytest.mark.parametrize("stored", ["", "no hash", "$argon2id$broken"])
def test_where_no_password_is_stored_none_is_right(stored: str, given: str) -> None:
    assert not verify(stored, Secret(given))


def test_nobody_costs_as_much_as_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    real = argon2.PasswordHasher.verify

    def watch(self: argon2.PasswordHasher, stored: str, given: bytes) -> bool:
        verified.append(stored)
        return bool(real(self, stored, given))

    monkeypatch.setattr(argon2.PasswordHasher, "verify", watch)
    for stored, given in ((STORED, "wrong one"), ("", "wrong one"), (STORED, "x" * (PASSWORD_MAX + 1))):
        assert not verify(stored, Secret(given))
    # Once each, with equal costs.
    assert [one.split("$")[3] for one in verified] == ["m=19456,t=2,p=1"] * 3


def test_the_stand_in_for_nobody_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_nobodys", lambda: STORED)
    assert not verify("", Secret(GOOD))


def test_what_was_made_when_passwords_cost_less_is_made_again() -> None:
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(GOOD)
    assert needs_rehash(cheap)
    assert verify(cheap, Secret(GOOD))
    assert not needs_rehash(STORED)
