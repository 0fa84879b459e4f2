from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.apikeys import scopes
from sekisho.apikeys.granting import all_of, may_give_policy, may_give_scopes
from sekisho.identity import Identity, KeyPolicy, Rate
from sekisho.ids import AccountId, KeyId

NO_LIMITS = KeyPolicy()


def granter(*given: str, subuser: int | None = None) -> Identity:
    return Identity(
        AccountId(1), None if subuser is None else AccountId(subuser), KeyId("k" * 22), frozenset(given), NO_LIMITS
    )


@given(own=st.sets(st.sampled_from(sorted(scopes.ALL))), wanted=st.sets(st.sampled_from(sorted(scopes.ALL))))
def test_only_what_is_held_is_given(own: set[str], wanted: set[str]) -> None:
    assert (may_give_scopes(granter(*own), wanted) is None) == (wanted <= own)


def test_full_access_is_all_that_the_granter_has_but_billing() -> None:
    assert all_of(granter(*scopes.FULL_ACCESS), of_subuser=False) is None
    assert all_of(granter(*scopes.ALL), of_subuser=False) is None
    assert all_of(granter("mail.send", "api_keys.create"), of_subuser=False) == frozenset(
        {"mail.send", "api_keys.create"}
    )
    assert all_of(granter(*scopes.BILLING), of_subuser=False) == frozenset()
    # A subuser never gets what is a parent's.
    assert all_of(granter(*scopes.FULL_ACCESS), of_subuser=True) is None
    assert all_of(granter("mail.send", "subusers.read"), of_subuser=True) == frozenset({"mail.send"})


LIMITED = KeyPolicy(
    ips=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
    from_domains=frozenset({"example.com", "example.net"}),
    from_addresses=frozenset({"a@example.com"}),
    max_recipients=10,
    expires_ms=1000,
)
WITHIN = KeyPolicy(
    ips=(ip_network("192.0.2.7/32"), ip_network("2001:db8:1::/48")),
    from_domains=frozenset({"example.com"}),
    from_addresses=frozenset({"a@example.com"}),
    max_recipients=5,
    expires_ms=900,
)


def test_a_policy_within_the_granters_is_given() -> None:
    assert may_give_policy(LIMITED, WITHIN, makes_new=True) is None
    assert may_give_policy(LIMITED, LIMITED, makes_new=True) is None
    assert may_give_policy(NO_LIMITS, NO_LIMITS, makes_new=True) is None
    assert may_give_policy(NO_LIMITS, LIMITED, makes_new=True) is None


@pytest.mark.parametrize(
    "change",
    [
        {"ips": ()},
        {"ips": (ip_network("192.0.2.0/23"),)},
        {"ips": (ip_network("192.0.2.7/32"), ip_network("10.0.0.0/8"))},
        {"ips": (ip_network("::/0"),)},
        {"from_domains": frozenset()},
        {"from_domains": frozenset({"example.org"})},
        {"from_addresses": frozenset()},
        {"from_addresses": frozenset({"b@example.com"})},
        {"max_recipients": None},
        {"max_recipients": 11},
        {"expires_ms": None},
        {"expires_ms": 1001},
    ],
)
def test_a_looser_one_is_not(change: dict[str, object]) -> None:
    assert may_give_policy(LIMITED, replace(WITHIN, **change), makes_new=True) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "wanted", "given"),
    [
        (Rate(10, 1), Rate(10, 1), True),
        (Rate(10, 1), Rate(5, 1), True),
        (Rate(10, 1), Rate(11, 1), False),
        (Rate(10, 1), Rate(10, 60), True),
        (Rate(10, 1), Rate(600, 60), False),
        (Rate(60, 60), Rate(1, 1), True),
        (Rate(60, 60), Rate(2, 1), False),
        (Rate(60, 60), None, False),
    ],
)
def test_a_rate_is_no_faster_at_once_nor_in_the_long_run(own: Rate, wanted: Rate | None, given: bool) -> None:
    refusal = may_give_policy(KeyPolicy(rate=own), KeyPolicy(rate=wanted), makes_new=False)
    assert (refusal is None) == given


@pytest.mark.parametrize("own", [KeyPolicy(rate=Rate(10, 1)), KeyPolicy(daily=10)])
def test_whoever_is_counted_makes_no_keys_that_would_be_counted_by_themselves(own: KeyPolicy) -> None:
    assert may_give_policy(own, own, makes_new=True) is not None
    assert may_give_policy(own, own, makes_new=False) is None


def test_a_daily_limit_is_not_raised() -> None:
    assert may_give_policy(KeyPolicy(daily=10), KeyPolicy(daily=11), makes_new=False) is not None
    assert may_give_policy(KeyPolicy(daily=10), KeyPolicy(), makes_new=False) is not None
