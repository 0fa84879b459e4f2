"""Who somebody is whom a provider lets in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from sekisho import oidc, users
from sekisho.db import Database
from sekisho.oidc import Outsider
from sekisho.users import User
from sekisho.users.actions import prove_email
from tests.fakes.control import BY, an_account, audited

ISSUER = "https://id.example.test"
ANN = Outsider(ISSUER, "ann-1", "Ann@Example.com", frozenset({"pwd"}))


@pytest.fixture
def tx(control: Database) -> Iterator[sa.Connection]:
    with control.begin() as tx:
        yield tx


def person(tx: sa.Connection, name: str, *, proved: bool = True) -> User:
    made = users.add(
        tx, an_account(tx, name), username=name, email=f"{name}@example.com", password="x", proved=proved, by=BY
    )
    assert isinstance(made, User)
    return made


def test_nobody_is_made_of_a_stranger(tx: sa.Connection) -> None:
    person(tx, "bob")
    assert oidc.find(tx, ANN) is None


def test_an_address_that_both_sides_verified_leads_to_its_owner(tx: sa.Connection) -> None:
    ann = person(tx, "ann")
    assert oidc.find(tx, ANN) == oidc.Linked(ann, by_address=True)


@pytest.mark.parametrize("email", [None, "bob@example.com"])
def test_an_address_that_one_side_has_not_verified_leads_nowhere(tx: sa.Connection, email: str | None) -> None:
    person(tx, "ann")
    person(tx, "bob", proved=False)
    assert oidc.find(tx, dataclasses.replace(ANN, email=email)) is None


def test_a_linked_person_is_known_whatever_becomes_of_his_address(tx: sa.Connection) -> None:
    ann = person(tx, "ann")
    assert oidc.link(tx, ann, ISSUER, "ann-1", by=BY)
    assert oidc.find(tx, dataclasses.replace(ANN, email=None)) == oidc.Linked(ann, by_address=False)
    assert isinstance(moved := prove_email(tx, ann, "new@example.com", by=BY), User)
    person(tx, "bob")
    assert oidc.find(tx, dataclasses.replace(ANN, email="bob@example.com")) == oidc.Linked(moved, by_address=False)


def test_whoever_has_the_address_at_the_provider_later_is_somebody_else(tx: sa.Connection) -> None:
    ann = person(tx, "ann")
    assert oidc.link(tx, ann, ISSUER, "ann-1", by=BY)
    assert oidc.find(tx, dataclasses.replace(ANN, subject="ann-2")) is None


def test_subjects_are_told_apart_exactly_and_by_issuer(tx: sa.Connection) -> None:
    ann = person(tx, "ann")
    assert oidc.link(tx, ann, ISSUER, "ann-1", by=BY)
    for other in (dataclasses.replace(ANN, subject="ANN-1"), dataclasses.replace(ANN, issuer=ISSUER + "/")):
        assert oidc.find(tx, dataclasses.replace(other, email=None)) is None


def test_one_subject_is_one_person_and_one_person_one_subject(tx: sa.Connection) -> None:
    ann, bob = person(tx, "ann"), person(tx, "bob")
    assert oidc.link(tx, ann, ISSUER, "ann-1", by=BY)
    assert not oidc.link(tx, bob, ISSUER, "ann-1", by=BY)
    assert not oidc.link(tx, ann, ISSUER, "ann-2", by=BY)
    assert oidc.link(tx, bob, ISSUER, "bob-1", by=BY)


def test_an_end_is_an_end_and_all_is_told(control: Database) -> None:
    with control.begin() as tx:
        ann = person(tx, "ann")
        assert not oidc.unlink(tx, ann, ISSUER, by=BY)
        oidc.link(tx, ann, ISSUER, "ann-1", by=BY)
        assert oidc.unlink(tx, ann, ISSUER, by=BY)
        assert oidc.find(tx, dataclasses.replace(ANN, email=None)) is None
        oidc.link(tx, ann, ISSUER, "ann-1", by=BY)
        oidc.erase_user(tx, ann.id)
        assert not oidc.is_linked(tx, ann.id, ISSUER)
    told = [row for row in audited(control) if "oidc" in row[0]]
    assert told == [("user.oidc_link", "ann"), ("user.oidc_unlink", "ann"), ("user.oidc_link", "ann")]
