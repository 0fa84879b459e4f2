from __future__ import annotations

import pytest

from sekisho.delivery.routes import Route, Routes, RouteTls, Target
from sekisho.ids import AccountId
from sekisho.secret import Secret


def target(host: str) -> Target:
    return Target(host, 25, RouteTls.OFF)


ACCOUNT, OTHER, SUBUSER = AccountId(1), AccountId(2), AccountId(7)

TABLE = Routes(
    [
        Route("special.example.com", target("special")),
        Route("*.example.com", target("below"), account=ACCOUNT),
        Route("example.com", target("itself")),
        Route("*.sub.example.com", target("never for account 1")),
        Route("*", target("subuser's"), subuser=SUBUSER),
        Route("*.org", target("org")),
    ]
)


@pytest.mark.parametrize(
    ("domain", "account", "subuser", "host"),
    [
        ("special.example.com", ACCOUNT, None, "special"),
        ("other.example.com", ACCOUNT, None, "below"),
        ("a.sub.example.com", ACCOUNT, None, "below"),
        ("a.sub.example.com", OTHER, None, "never for account 1"),
        ("example.com", ACCOUNT, None, "itself"),
        ("example.com", ACCOUNT, SUBUSER, "itself"),
        ("notexample.com", ACCOUNT, None, None),
        ("example.net", ACCOUNT, SUBUSER, "subuser's"),
        ("example.net", ACCOUNT, AccountId(8), None),
        ("example.net", ACCOUNT, None, None),
        ("example.org", ACCOUNT, SUBUSER, "subuser's"),
        ("example.org", ACCOUNT, None, "org"),
        ("deep.example.org", OTHER, None, "org"),
        ("org", OTHER, None, None),
    ],
)
def test_the_first_match_wins(domain: str, account: AccountId, subuser: AccountId | None, host: str | None) -> None:
    for _ in range(2):  # the second answer is remembered and must be the same
        found = TABLE.find(domain, account, subuser)
        assert (None if found is None else found.target.host) == host


def test_without_routes_nothing_matches() -> None:
    assert Routes().find("example.com", ACCOUNT, None) is None


def test_answers_kept_are_bounded() -> None:
    for i in range(10_000):
        TABLE.find(f"d{i}.example.net", ACCOUNT, None)
    assert len(TABLE._answers) <= 4096


@pytest.mark.parametrize("domain", ["", "*.", "a.*.example", "*a.example", "Example.com", "**"])
def test_other_patterns_are_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="route domain"):
        Route(domain, target("x"))


@pytest.mark.parametrize("tls", [RouteTls.OFF, RouteTls.OPPORTUNISTIC])
def test_credentials_need_verified_tls(tls: RouteTls) -> None:
    with pytest.raises(ValueError, match="never go out unprotected"):
        Target("smtp.example", 587, tls, "user", Secret("pass"))


@pytest.mark.parametrize(("username", "password"), [("user", None), ("", Secret("pass"))])
def test_user_name_and_password_belong_together(username: str, password: Secret[str] | None) -> None:
    with pytest.raises(ValueError, match="belong together"):
        Target("smtp.example", 587, RouteTls.REQUIRED, username, password)


def test_a_target_is_a_key_and_hides_its_password() -> None:
    one = Target("smtp.example", 587, RouteTls.REQUIRED, "user", Secret("pass"))
    same = Target("smtp.example", 587, RouteTls.REQUIRED, "user", Secret("pass"))
    changed = Target("smtp.example", 587, RouteTls.REQUIRED, "user", Secret("new"))
    assert {one: 1}[same] == 1
    assert one != changed
    assert "pass'" not in repr(one)
    assert "Secret(" in repr(one)


def test_mail_for_a_domain_takes_several_ways_when_a_row_asks_whose_it_is() -> None:
    assert TABLE.splits("example.net")
    unsplit = Routes([Route("a.test", target("x"), account=ACCOUNT), Route("*.test", target("y"))])
    assert [unsplit.splits(name) for name in ("a.test", "b.test", "c.example")] == [True, False, False]
    assert not Routes([Route("*", target("x"))]).splits("a.test")
