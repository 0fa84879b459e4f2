"""Nobody grants what he lacks, whatever way he takes: judged over all shapes of rights."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.apikeys.scopes import FULL_ACCESS, effective
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import AccountId, KeyId
from sekisho.refusal import Declined, Obstacle
from sekisho.teammates import Grant, Permission, Rights
from sekisho.teammates.granting import all_of, checked_scopes, fault, may_give
from sekisho.teammates.model import MINIMUM

SOME: Final = sorted(FULL_ACCESS)[::17]
BELOW: Final = [scope for scope in SOME if scope in effective(None, of_subuser=True)]

scopes = st.frozensets(st.sampled_from(SOME))
grants = st.one_of(
    st.just(Grant(Permission.ADMIN)),
    st.builds(Grant, st.just(Permission.RESTRICTED), st.frozensets(st.sampled_from(BELOW))),
)
rights = st.one_of(
    st.just(Rights(is_admin=True)),
    st.builds(Rights, scopes=scopes),
    st.builds(Rights, access=st.dictionaries(st.integers(2, 4).map(AccountId), grants)),
)


def granter(held: frozenset[str]) -> Identity:
    return Identity(AccountId(1), None, KeyId("k"), held, KeyPolicy())


def opened(what: Rights) -> frozenset[str]:
    """Everything that these rights open anywhere."""
    found = all_of(what, of_subuser=False)
    for grant in (what.access or {}).values():
        found |= grant.opens
    return found


@given(rights, scopes)
def test_what_is_given_is_no_more_than_what_the_granter_has(what: Rights, held: frozenset[str]) -> None:
    verdict = may_give(granter(held), what, of_subuser=False)
    assert (verdict is None) == (opened(what) <= held | MINIMUM)


@given(rights)
def test_who_has_everything_gives_everything(what: Rights) -> None:
    assert may_give(granter(FULL_ACCESS), what, of_subuser=False) is None
    assert fault(what, of_subuser=False) is None


def test_a_key_one_scope_short_makes_no_administrator() -> None:
    short = granter(FULL_ACCESS - {"alerts.read"})
    declined = may_give(short, Rights(is_admin=True), of_subuser=False)
    assert declined == Declined(Obstacle.SCOPE_UNASSIGNABLE, "nobody gives what he lacks: alerts.read")


@pytest.mark.parametrize(
    "policy", [KeyPolicy(daily=1), KeyPolicy(expires_ms=1), KeyPolicy(from_domains=frozenset("a"))]
)
def test_a_key_with_limits_gives_people_nothing(policy: KeyPolicy) -> None:
    limited = replace(granter(FULL_ACCESS), policy=policy)
    verdict = may_give(limited, Rights(), of_subuser=False)
    assert isinstance(verdict, Declined)
    assert verdict.obstacle is Obstacle.POLICY_UNASSIGNABLE


@pytest.mark.parametrize(
    ("what", "of_subuser", "text"),
    [
        (Rights(is_admin=True, scopes=frozenset({"mail.send"})), False, "an administrator has all scopes"),
        (Rights(is_admin=True, access={}), False, "an administrator has all scopes"),
        (Rights(scopes=frozenset({"mail.send"}), access={}), False, "only for subusers has no scopes"),
        (Rights(access={}), True, "a subuser has no subusers"),
        (Rights(scopes=frozenset({"mail.sned"})), False, "did you mean mail.send?"),
        (Rights(scopes=frozenset({"2fa_exempt"})), False, "set by the system"),
        (Rights(scopes=frozenset({"subusers.read"})), True, "cannot have subusers.read"),
        (
            Rights(access={AccountId(2): Grant(Permission.RESTRICTED, frozenset({"subusers.read"}))}),
            False,
            "cannot have subusers.read",
        ),
    ],
)
def test_rights_that_contradict_themselves(what: Rights, of_subuser: bool, text: str) -> None:
    found = fault(what, of_subuser=of_subuser)
    assert isinstance(found, Declined)
    assert text in found.text


def test_billing_stands_beside_others_for_people() -> None:
    both = frozenset({"billing.read", "mail.send"})
    assert checked_scopes(both, of_subuser=False) == both
