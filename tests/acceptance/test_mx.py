"""Mail to domains by DNS: a real server, a strict DNS server, hosts on loopback addresses of their own."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.certificates import make_certificate
from tests.acceptance.relay import Document, Relay, eventually, letter
from tests.acceptance.site import Seed, Site
from tests.fakes.dnsserver import Fault, Zone, dns_server
from tests.fakes.sink import Sink

NEAR, FAR = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def zone() -> Iterator[Zone]:
    with dns_server() as zone:
        yield zone


@pytest.fixture
def near() -> Iterator[Sink]:
    with Sink(host=NEAR) as sink:
        yield sink
        assert not sink.faults, sink.faults


@pytest.fixture
def site(seed: Seed, near: Sink, zone: Zone, tmp_path: Path) -> Site:
    return by_dns(Site(tmp_path, seed, 0), zone, near.port)


def by_dns(site: Site, zone: Zone, port: int, delivery: str = "allow_private_networks = true") -> Site:
    site.routes = ""
    site.delivery = f'mx_port = {port}\nretry_first = "1s"\nretry_max = "1s"\n{delivery}\n'
    site.tables = f'[dns]\nnameservers = ["{zone.address}:{zone.port}"]\ntimeout = "2s"\n'
    site.write()
    return site


def host(zone: Zone, name: str, address: str) -> None:
    zone.put(name, "A", [address])
    zone.put(name, "AAAA", [])


def told(site: Site, message: str, kind: str) -> Document:
    """The first event of that kind about a message."""
    return eventually(
        lambda: next((e for e in site.events() if (e["message_id"], e["event"]) == (message, kind)), None),
        lambda: f"{kind} of {message}: {site.events()}",
    )


def send(relay: Relay, site: Site, domain: str, number: int = 1) -> str:
    to = f"reader@{domain}"
    return relay.send(site.key, letter(number, to=to), to)


def test_the_best_host_that_answers_takes_the_mail(site: Site, zone: Zone, near: Sink) -> None:
    zone.put("both.test", "MX", ["10 away.both.test.", "20 near.both.test."])
    host(zone, "away.both.test", FAR)  # nobody listens there
    host(zone, "near.both.test", NEAR)
    with site.relay() as relay:
        message = send(relay, site, "both.test")
        near.wait_for(1)
        told(site, message, "delivered")
        assert not [e for e in site.events() if e["event"] == "deferred"], "the next host at once, not later"
        assert relay.stop() == 0


def test_a_domain_without_mx_is_its_own_host(site: Site, zone: Zone, near: Sink) -> None:
    zone.put("plain.test", "MX", [])
    host(zone, "plain.test", NEAR)
    with site.relay() as relay:
        told(site, send(relay, site, "plain.test"), "delivered")
    assert [each.recipients for each in near.letters] == [("reader@plain.test",)]


def test_international_names_travel_as_a_labels(site: Site, zone: Zone, near: Sink) -> None:
    zone.put("xn--bcher-kva.test", "MX", ["10 mx.xn--bcher-kva.test."])
    host(zone, "mx.xn--bcher-kva.test", NEAR)
    with site.relay() as relay:
        told(site, send(relay, site, "xn--bcher-kva.test"), "delivered")
    assert near.letters


@pytest.mark.parametrize(
    ("records", "status", "type_"),
    [
        ({("gone.test", "TXT"): ["unused"]}, "5.1.2", "bounce"),
        ({("refuses.test", "MX"): ["0 ."]}, "5.1.10", "bounce"),
        ({("lost.test", "MX"): ["10 nowhere.test."]}, "5.4.4", "blocked"),
    ],
    ids=["nothing there", "null MX", "no host"],
)
def test_what_cannot_be_mailed_bounces(
    site: Site, zone: Zone, records: dict[tuple[str, str], list[str]], status: str, type_: str
) -> None:
    ((name, _),) = records
    for (owner, kind), data in records.items():
        zone.put(owner, kind, data)
    with site.relay() as relay:
        bounce = told(site, send(relay, site, name), "bounce")
    assert (bounce["status"], bounce["type"]) == (status, type_)
    assert site.queue() == []


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED, Fault.GARBAGE])
def test_dns_in_trouble_defers_and_then_delivers(site: Site, zone: Zone, near: Sink, fault: Fault) -> None:
    zone.put("shaky.test", "MX", fault)
    with site.relay() as relay:
        message = send(relay, site, "shaky.test")
        told(site, message, "deferred")
        zone.put("shaky.test", "MX", ["10 mx.shaky.test."])
        host(zone, "mx.shaky.test", NEAR)
        near.wait_for(1, timeout_s=50)
        assert not [e for e in site.events() if e["event"] == "bounce"]


def test_a_public_name_on_a_private_address_is_not_connected_to(
    seed: Seed, zone: Zone, near: Sink, tmp_path: Path
) -> None:
    site = by_dns(Site(tmp_path, seed, 0), zone, near.port, delivery="")
    zone.put("inside.test", "MX", ["10 mx.inside.test."])
    host(zone, "mx.inside.test", NEAR)
    with site.relay() as relay:
        bounce = told(site, send(relay, site, "inside.test"), "bounce")
    assert (bounce["status"], bounce["type"]) == ("5.4.4", "blocked")
    assert NEAR in bounce["reason"]
    assert near.connections == 0


def test_a_route_comes_before_dns(site: Site, zone: Zone, near: Sink, sink: Sink) -> None:
    for domain in ("routed.test", "other.test"):
        zone.put(domain, "MX", ["10 mx.other.test."])
    host(zone, "mx.other.test", NEAR)
    site.routes = f'[[delivery.routes]]\ndomain = "routed.test"\nhost = "127.0.0.1"\nport = {sink.port}\ntls = "off"\n'
    site.write()
    with site.relay() as relay:
        send(relay, site, "routed.test")
        send(relay, site, "other.test", 2)
        sink.wait_for(1)
        near.wait_for(1)
    assert [each.recipients for each in sink.letters] == [("reader@routed.test",)]
    assert [each.recipients for each in near.letters] == [("reader@other.test",)]


def test_domains_of_one_host_share_its_connections(site: Site, zone: Zone, near: Sink) -> None:
    host(zone, "mx.shared.test", NEAR)
    for number in range(20):
        zone.put(f"d{number}.test", "MX", [f"{10 + number} mx.shared.test."])
    site.tables += '[[delivery.shaping]]\nmx = "*.shared.test"\nconnections = 1\n'
    site.write()
    with site.relay() as relay:
        for number in range(20):
            send(relay, site, f"d{number}.test", number)
        near.wait_for(20)
        assert near.connections == 1
        assert relay.stop() == 0


def test_tls_is_used_as_well_as_it_goes_unless_shaping_demands_it(seed: Seed, zone: Zone, tmp_path: Path) -> None:
    badly = make_certificate(tmp_path / "badly", "somewhere.else")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(badly.chain, badly.key)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Sink(host=NEAR, tls=context))
        site = by_dns(Site(tmp_path, seed, 0), zone, sink.port)
        site.tables += '[[delivery.shaping]]\ndomain = "strict.test"\ntls = "required"\n'
        site.write()
        for domain in ("easy.test", "strict.test"):
            zone.put(domain, "MX", ["10 mx.badly.test."])
        host(zone, "mx.badly.test", NEAR)
        relay = stack.enter_context(site.relay())
        easy, strict = send(relay, site, "easy.test"), send(relay, site, "strict.test", 2)
        delivered, deferred = told(site, easy, "delivered"), told(site, strict, "deferred")
    assert delivered["tls"] == 1
    assert deferred["status"].startswith("4.7.")
    assert "certificate" in deferred["response"]
    assert [each.over_tls for each in sink.letters] == [True]


def test_a_host_that_is_down_says_so_in_the_queue_and_gets_its_mail_when_it_is_back(
    seed: Seed, zone: Zone, tmp_path: Path
) -> None:
    zone.put("down.test", "MX", ["10 mx.down.test."])
    host(zone, "mx.down.test", NEAR)
    sink = Sink(host=NEAR)
    with sink:
        pass  # its port is known now, and closed
    site = by_dns(Site(tmp_path, seed, 0), zone, sink.port)
    with site.relay() as relay:
        messages = [send(relay, site, "down.test", number) for number in range(5)]
        for message in messages:
            told(site, message, "deferred")
        (row,) = site.run("queue", "status")["destinations"]
        assert row["destination"] == "down.test"
        assert row["count"] == 5
        again = Sink(host=NEAR)
        again.port = sink.port
        with again:
            again.wait_for(5, timeout_s=60)
            assert not again.faults
            eventually(lambda: not site.queue(), "an empty queue")
