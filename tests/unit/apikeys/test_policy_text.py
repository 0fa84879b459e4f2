from __future__ import annotations

from ipaddress import IPv4Network, ip_network
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.apikeys.policy_text import PolicyFlaw, decode_policy, encode_policy, read_policy
from sekisho.identity import KeyPolicy, Rate

NOW_MS = 1_795_500_000_000  # 2026-11-24T06:00:00Z


def policy(**options: Any) -> KeyPolicy:
    found = read_policy(**options, now_ms=NOW_MS)
    assert isinstance(found, KeyPolicy), found
    return found


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.168.100.14/24", "192.168.100.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_addresses_and_networks(text: str, network: str) -> None:
    assert policy(ips=[text]).ips == (ip_network(network),)


def test_the_same_network_is_kept_once() -> None:
    assert policy(ips=["10.0.0.1/8", "10.0.0.0/8", "::ffff:10.9.9.9/104"]).ips == (IPv4Network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("domain", "name"),
    [("example.com", "example.com"), ("Example.COM.", "example.com"), ("Bücher.example", "xn--bcher-kva.example")],
)
def test_domains(domain: str, name: str) -> None:
    assert policy(from_domains=[domain]).from_domains == {name}


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", Rate(10, 1)), ("600/m", Rate(600, 60)), ("1000000000/m", Rate(1_000_000_000, 60))]
)
def test_rates(text: str, rate: Rate) -> None:
    assert policy(rate=text).rate == rate


@pytest.mark.parametrize(
    ("text", "expires_ms"),
    [
        ("1s", NOW_MS + 1000),
        ("30d", NOW_MS + 30 * 86_400_000),
        ("2w", NOW_MS + 14 * 86_400_000),
        ("12h", NOW_MS + 43_200_000),
        ("2026-11-24T06:00:01Z", NOW_MS + 1000),
        ("2026-11-24t06:00:01.5z", NOW_MS + 1500),
        ("2026-11-24 07:00:01+01:00", NOW_MS + 1000),
        ("2026-11-23T22:00:01-08:00", NOW_MS + 1000),
    ],
)
def test_moments(text: str, expires_ms: int) -> None:
    assert policy(expires=text).expires_ms == expires_ms


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ips", ["192.0.2.1/33"]),
        ("ips", ["example.com"]),
        ("ips", [""]),
        ("ips", ["192.0.2.*"]),
        ("ips", ["1.2.3"]),
        ("ips", ["10.0.0.1"] * 1001),
        ("from_domains", ["localhost"]),
        ("from_domains", ["a@example.com"]),
        ("from_domains", ["*.example.com"]),
        ("from_domains", ["192.0.2.1"]),
        ("from_domains", [""]),
        ("rate", "10"),
        ("rate", "0/s"),
        ("rate", "-1/s"),
        ("rate", "10/h"),
        ("rate", "1.5/s"),
        ("rate", "١/s"),
        ("rate", "9999999999/s"),
        ("rate", ""),
        ("daily", 0),
        ("daily", -5),
        ("daily", 10**10),
        ("max_recipients", 0),
        ("expires", "0d"),
        ("expires", "2026-11-24T06:00:00Z"),
        ("expires", "2020-01-01T00:00:00Z"),
        ("expires", "2027-01-31"),
        ("expires", "2027-01-31T12:00:00"),
        ("expires", "2027-02-30T12:00:00Z"),
        ("expires", "20270131T120000Z"),
        ("expires", "9999-12-31T23:59:59-23:59"),
        ("expires", "999999w"),
        ("expires", "30"),
        ("expires", "30y"),
        ("expires", "tomorrow"),
        ("expires", ""),
    ],
)
def test_what_cannot_be_understood_is_named(option: str, value: object) -> None:
    found = read_policy(**{option: value}, now_ms=NOW_MS)  # type: ignore[arg-type]
    assert isinstance(found, PolicyFlaw)
    assert found.field == {"expires": "expires_at"}.get(option, option)
    assert found.text


@given(text=st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    for options in ({"ips": [text]}, {"from_domains": [text]}, {"rate": text}, {"expires": text}):
        assert isinstance(read_policy(**options, now_ms=NOW_MS), KeyPolicy | PolicyFlaw)


def test_nothing_said_is_no_limit() -> None:
    assert policy() == KeyPolicy()
    assert encode_policy(KeyPolicy()) == "{}"


counts = st.none() | st.integers(min_value=1, max_value=10**9)
policies = st.builds(
    KeyPolicy,
    ips=st.lists(st.ip_addresses().map(ip_network), max_size=3).map(tuple),
    from_domains=st.frozensets(st.sampled_from(["a.example", "b.example"])),
    rate=st.none() | st.builds(Rate, st.integers(1, 10**9), st.sampled_from([1, 60])),
    daily=counts,
    max_recipients=counts,
    expires_ms=counts,
)


@given(found=policies)
def test_what_is_stored_reads_back(found: KeyPolicy) -> None:
    assert decode_policy(encode_policy(found)) == found


@pytest.mark.parametrize("text", ["", "null", "[]", '{"hours": [1]}', '{"daily": "1"}', '{"ips": ["x"]}'])
def test_a_stored_policy_that_is_not_understood_is_a_fault_and_not_a_limit_lifted(text: str) -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        decode_policy(text)
