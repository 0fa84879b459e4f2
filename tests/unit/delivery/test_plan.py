from __future__ import annotations

import ipaddress
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.delivery.plan import HOPS_MAX, HOSTS_MAX, hops, order, ranked
from sekisho.delivery.site import MxHost
from sekisho.ports.dns import Exchanger


def constant() -> float:
    return 0.0


NAMES = st.sampled_from([f"mx{number}.example" for number in range(40)])
ADDRESSES = st.lists(st.ip_addresses().map(str), max_size=30)
HOSTS = st.lists(st.tuples(st.integers(0, 5), NAMES, ADDRESSES), max_size=HOSTS_MAX).map(
    lambda rows: [(MxHost(rank, name), addresses) for rank, name, addresses in sorted(rows, key=lambda row: row[0])]
)
CHANCES = st.integers().map(lambda seed: random.Random(seed).random)  # noqa: S311


@pytest.mark.parametrize(
    ("exchangers", "site"),
    [
        ([(10, "a"), (20, "b")], [(0, "a"), (1, "b")]),
        ([(65535, "b"), (0, "a")], [(0, "a"), (1, "b")]),
        ([(10, "b"), (10, "a"), (20, "c")], [(0, "a"), (0, "b"), (1, "c")]),
        ([(20, "a"), (10, "a"), (15, "b")], [(0, "a"), (1, "b")]),
        ([(10, "a"), (10, "a")], [(0, "a")]),
    ],
)
def test_preferences_become_ranks(exchangers: list[tuple[int, str]], site: list[tuple[int, str]]) -> None:
    assert ranked([Exchanger(*each) for each in exchangers]) == tuple(MxHost(*each) for each in site)


@given(
    exchangers=st.lists(st.builds(Exchanger, st.integers(0, 65535), NAMES)),
    shuffled=st.randoms(use_true_random=False),
)
def test_equal_answers_are_one_site_in_whatever_order_they_came(
    exchangers: list[Exchanger], shuffled: random.Random
) -> None:
    site = ranked(exchangers)
    assert {mx.host for mx in site} == {each.host for each in exchangers}
    assert len({mx.host for mx in site}) == len(site)
    ranks = [mx.rank for mx in site]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(range(len(set(ranks))))
    other = [Exchanger(each.preference, each.host) for each in exchangers]
    shuffled.shuffle(other)
    assert ranked(other) == site


def test_equals_take_turns() -> None:
    hosts = ranked([Exchanger(10, "a"), Exchanger(10, "b"), Exchanger(20, "c")])
    chance = random.Random(1).random  # noqa: S311
    drawn = Counter(tuple(mx.host for mx in order(hosts, chance)) for _ in range(400))
    assert set(drawn) == {("a", "b", "c"), ("b", "a", "c")}
    assert min(drawn.values()) > 150


@given(ranks=st.lists(st.integers(0, 5), max_size=60), chance=CHANCES)
def test_better_ranks_come_first_and_not_too_many(ranks: list[int], chance: Callable[[], float]) -> None:
    hosts = [MxHost(rank, f"mx{at}.example") for at, rank in enumerate(ranks)]
    ordered = order(hosts, chance)
    assert len(ordered) == min(len(hosts), HOSTS_MAX)
    assert [mx.rank for mx in ordered] == sorted(ranks)[:HOSTS_MAX]


def test_addresses_of_a_host_alternate_and_ipv4_begins() -> None:
    found = hops(
        [(MxHost(0, "a"), ["2001:db8::1", "192.0.2.1", "192.0.2.2", "2001:db8::2", "192.0.2.3"])], 25, constant
    )
    assert [hop.address for hop in found] == ["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2", "192.0.2.3"]
    assert {(hop.host, hop.port) for hop in found} == {("a", 25)}


def test_an_address_of_two_hosts_is_tried_once() -> None:
    found = hops([(MxHost(0, "a"), ["192.0.2.1"]), (MxHost(1, "b"), ["192.0.2.1", "192.0.2.2"])], 25, constant)
    assert [(hop.host, hop.address) for hop in found] == [("a", "192.0.2.1"), ("b", "192.0.2.2")]


def test_a_host_with_many_addresses_keeps_no_other_from_its_turn() -> None:
    many = [f"192.0.2.{number}" for number in range(100)]
    found = hops([(MxHost(0, "a"), many), (MxHost(1, "b"), ["198.51.100.1", "198.51.100.2"])], 25, constant)
    assert [hop.host for hop in found] == ["a"] * 10 + ["b"] * 2


@given(hosts=HOSTS, chance=CHANCES)
def test_a_plan_is_of_what_was_found_in_order_and_bounded(
    hosts: list[tuple[MxHost, list[str]]], chance: Callable[[], float]
) -> None:
    plan = hops(hosts, 25, chance)
    every = {address for _mx, addresses in hosts for address in addresses}
    addresses = [hop.address for hop in plan]
    assert len(set(addresses)) == len(addresses) == min(len(every), HOPS_MAX)
    for hop in plan:
        assert any(mx.host == hop.host and hop.address in found for mx, found in hosts)
    # Whoever has an address of its own is there, unless there are more such hosts than hops.
    owned: list[set[str]] = []
    for _mx, found in hosts:
        if own := set(found).difference(*owned):
            owned.append(own)
    if len(owned) <= HOPS_MAX:
        assert all(own & set(addresses) for own in owned)
    places = [next(at for at, own in enumerate(owned) if address in own) for address in addresses]
    assert places == sorted(places)
    for at, own in enumerate(owned):
        tried = [address for place, address in zip(places, addresses, strict=True) if place == at]
        if tried and any(ipaddress.ip_address(address).version == 4 for address in own):
            assert ipaddress.ip_address(tried[0]).version == 4


def test_addresses_of_a_host_take_turns_too() -> None:
    chance = random.Random(1).random  # noqa: S311
    hosts = [(MxHost(0, "a"), ["192.0.2.1", "192.0.2.2"])]
    drawn = Counter(hops(hosts, 25, chance)[0].address for _ in range(400))
    assert min(drawn["192.0.2.1"], drawn["192.0.2.2"]) > 150
