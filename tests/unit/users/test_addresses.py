from __future__ import annotations

from ipaddress import ip_address

import pytest
import sqlalchemy as sa

from sekisho.audit import By
from sekisho.db import Database
from sekisho.users import User
from sekisho.users.addresses import KEPT_MAX, is_known, network_of, note
from sekisho.users.tables import user_address
from tests.fakes.control import NOW_MS, an_account, audited
from tests.fakes.people import an_owner


@pytest.fixture
def olga(control: Database) -> User:
    with control.begin() as tx:
        return an_owner(tx, an_account(tx))


def log_in(control: Database, person: User, address: str, at_ms: int = NOW_MS) -> bool:
    with control.begin() as tx:
        return note(tx, person, ip_address(address), by=By(f"user:{person.id}", at_ms, address))


def knows(control: Database, person: User, address: str) -> bool:
    with control.connect() as tx:
        return is_known(tx, person.id, ip_address(address))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222::/64"),
    ],
)
def test_the_neighbourhood_of_an_address(address: str, network: str) -> None:
    assert network_of(ip_address(address)) == network


def test_a_log_in_from_somewhere_new_is_news_but_the_first(control: Database, olga: User) -> None:
    assert not knows(control, olga, "192.0.2.7")
    assert not log_in(control, olga, "192.0.2.7")
    assert not log_in(control, olga, "192.0.2.200")
    assert "user.new_address" not in [action for action, _ in audited(control)]
    assert log_in(control, olga, "198.51.100.1")
    assert not log_in(control, olga, "198.51.100.2")
    assert not log_in(control, olga, "192.0.2.8")
    assert audited(control)[-1] == ("user.new_address", "olga")
    assert knows(control, olga, "192.0.2.99")
    assert knows(control, olga, "198.51.100.99")
    assert not knows(control, olga, "203.0.113.1")


def test_networks_are_ones_own(control: Database, olga: User) -> None:
    with control.begin() as tx:
        other = an_owner(tx, an_account(tx, "other"), "otto")
    log_in(control, olga, "192.0.2.7")
    assert not knows(control, other, "192.0.2.7")


def test_of_many_networks_those_used_last_are_kept(control: Database, olga: User) -> None:
    for number in range(KEPT_MAX):
        log_in(control, olga, f"10.0.{number}.1", NOW_MS + number)
    log_in(control, olga, "10.0.0.1", NOW_MS + 1000)
    assert log_in(control, olga, "192.0.2.1", NOW_MS + 1001)
    with control.connect() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(user_address)).scalar_one() == KEPT_MAX
    assert knows(control, olga, "10.0.0.1")
    assert not knows(control, olga, "10.0.1.1")
    assert knows(control, olga, "10.0.2.1")
