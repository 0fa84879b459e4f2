from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.service.config import network
from sekisho.service.config.network import Endpoint, parse_endpoint
from sekisho.service.config.values import BadValue


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:25", "127.0.0.1:25"),
        ("[::1]:0", "[::1]:0"),
        ("[::]:587", "[::]:587"),
        ("localhost:8080", "127.0.0.1:8080"),
    ],
)
def test_an_endpoint_is_an_address_and_a_port(text: str, shown: str) -> None:
    assert str(parse_endpoint(text)) == shown


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:5353"])
def test_a_default_port_may_be_left_out(text: str) -> None:
    assert parse_endpoint(text, default_port=53).port == (5353 if text.endswith("5353") else 53)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":25",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "::1:25",
        "host:25",
        "[127.0.0.1:25",
        "127.1:25",
        "1:2:3",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="IP address with a port"):
        parse_endpoint(text)


@given(address=st.ip_addresses(), port=st.integers(0, 65535))
def test_a_printed_endpoint_is_read_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    assert parse_endpoint(str(Endpoint(address, port))) == Endpoint(address, port)


@given(st.text(max_size=60))
def test_no_text_makes_the_readers_fail_in_another_way(text: str) -> None:
    readers = (
        network.host_name(),
        network.host(),
        network.domain_pattern(),
        network.host_pattern(),
        network.web_origin(),
        network.endpoint(),
    )
    for reader in readers:
        with contextlib.suppress(BadValue):
            reader.read(text)
    for many in (network.networks(), network.addresses(), network.endpoints(53)):
        with contextlib.suppress(BadValue):
            many.read([text])


@pytest.mark.parametrize("name", ["relay.example.net", "Relay.Example.NET", "localhost", "xn--bcher-kva.example"])
def test_host_names_are_lower_cased(name: str) -> None:
    assert network.host_name().read(name) == name.lower()


@pytest.mark.parametrize(
    "name", ["", "a..b", "-a.example", "bücher.example", "a b", "127.1", "1.2.3.4", "a." * 130, "a.b."]
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(BadValue, match="host name"):
        network.host_name().read(name)


@pytest.mark.parametrize(
    ("written", "read"),
    [("smtp.Example", "smtp.example"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("::1", "::1")],
)
def test_a_host_is_a_name_or_an_address(written: str, read: str) -> None:
    assert network.host().read(written) == read


@pytest.mark.parametrize("pattern", ["*", "*.example.com", "example.com"])
def test_domain_patterns(pattern: str) -> None:
    assert network.domain_pattern().read(pattern.upper()) == pattern


@pytest.mark.parametrize("pattern", ["", "**", "*.", "a*.example", "*.*.example"])
def test_other_stars_are_no_patterns(pattern: str) -> None:
    with pytest.raises(BadValue):
        network.domain_pattern().read(pattern)


@pytest.mark.parametrize("origin", ["", "https://relay.example", "http://localhost:8080", "https://[::1]:8443"])
def test_web_origins(origin: str) -> None:
    assert network.web_origin().read(origin) == origin


@pytest.mark.parametrize(
    "origin",
    [
        "relay.example",
        "ftp://a.example",
        "https://a.example/path",
        "https://u:p@a.example",
        "https://",
        "https://a:0",
        "https://a:x",
    ],
)
def test_what_is_more_or_less_than_an_origin_is_refused(origin: str) -> None:
    with pytest.raises(BadValue):
        network.web_origin().read(origin)


def test_networks_must_have_no_host_bits() -> None:
    with pytest.raises(BadValue, match="host bits"):
        network.networks().read(["10.0.0.1/8"])
