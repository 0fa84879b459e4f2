from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence

import pytest

from sekisho.delivery.plan import HOPS_MAX, HOSTS_MAX
from sekisho.delivery.site import Hop, MxHost, NoMail, Site
from sekisho.delivery.sites import ADDRESSES_MAX, Sites
from sekisho.delivery.verdict import Temporary
from sekisho.ports.dns import (
    Absent,
    Addresses,
    Exchanger,
    Exchangers,
    NoRecords,
    NoSuchName,
    Resolver,
    TryLater,
)
from sekisho.ports.dnscache import FAILURE_TTL_S
from sekisho.queue.model import Bounced, BounceType
from sekisho.wire.mail.address import parse_path
from tests.fakes.clock import FakeClock
from tests.fakes.dnsserver import Fault, Zone, dns_server


class FakeDns:
    """Implements ports.dns.MailDns; what nobody put is NXDOMAIN."""

    def __init__(self) -> None:
        self.mx: dict[str, Exchangers | Absent] = {}
        self.hosts: dict[str, Addresses | Absent] = {}
        self.asked: list[str] = []

    def put(self, domain: str, *hosts: tuple[int, str], ttl_s: int = 300) -> None:
        self.mx[domain] = Exchangers(tuple(Exchanger(*host) for host in hosts), ttl_s)

    def host(self, name: str, *addresses: str, ttl_s: int = 300) -> None:
        self.hosts[name] = Addresses(addresses, ttl_s)

    async def exchangers(self, name: str) -> Exchangers | Absent:
        self.asked.append(f"MX {name}")
        await asyncio.sleep(0)
        return self.mx.get(name, NoRecords(300) if name in self.hosts else NoSuchName(300))

    async def addresses(self, name: str) -> Addresses | Absent:
        self.asked.append(name)
        await asyncio.sleep(0)
        return self.hosts.get(name, NoSuchName(300))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def dns() -> FakeDns:
    return FakeDns()


@pytest.fixture
def sites(dns: FakeDns, clock: FakeClock) -> Sites:
    return Sites(dns, port=25, allow_private=False, chance=random.Random(1).random, clock=clock)  # noqa: S311


def bounced(answer: object) -> tuple[str, BounceType]:
    assert isinstance(answer, NoMail)
    assert isinstance(answer.verdict, Bounced), answer
    assert answer.verdict.status in answer.verdict.reply
    return answer.verdict.status, answer.verdict.type


def later(answer: object) -> str:
    assert isinstance(answer, NoMail)
    assert isinstance(answer.verdict, Temporary), answer
    assert answer.verdict.status == "4.4.3"
    return answer.verdict.reply


async def found(sites: Sites, domain: str) -> Site:
    site = await sites.find(domain)
    assert isinstance(site, Site), site
    return site


async def hops_of(sites: Sites, domain: str) -> Sequence[Hop] | NoMail:
    return await sites.hops(await found(sites, domain))


def site_of(*hosts: tuple[int, str]) -> Site:
    return Site(tuple(MxHost(*host) for host in hosts))


# Domains


async def test_a_domain_s_exchangers_are_its_site(sites: Sites, dns: FakeDns) -> None:
    dns.put("a.test", (10, "mx1.test"), (20, "mx2.test"))
    dns.put("b.test", (5, "mx1.test"), (50, "mx2.test"))
    assert await sites.find("a.test") == site_of((0, "mx1.test"), (1, "mx2.test"))
    assert await sites.find("b.test") == await sites.find("a.test")


async def test_without_mx_the_domain_is_its_own_host(sites: Sites, dns: FakeDns) -> None:
    dns.host("a.test", "8.8.8.8")
    assert await sites.find("a.test") == Site((MxHost(0, "a.test"),), implicit=True)
    assert await hops_of(sites, "a.test") == (Hop("a.test", "8.8.8.8", 25),)


async def test_the_implicit_site_is_not_the_one_that_an_mx_names(sites: Sites, dns: FakeDns) -> None:
    dns.host("a.test", "8.8.8.8")
    dns.put("b.test", (10, "a.test"))
    assert await sites.find("a.test") != await sites.find("b.test")


@pytest.mark.parametrize("records", [[(0, "")], [(10, "")], [(0, ""), (10, "")]])
async def test_a_null_mx_is_a_bad_address(sites: Sites, dns: FakeDns, records: list[tuple[int, str]]) -> None:
    dns.put("a.test", *records)
    dns.host("a.test", "8.8.8.8")  # not looked at: the domain has said it
    answer = await sites.find("a.test")
    assert bounced(answer) == ("5.1.10", BounceType.BOUNCE)
    assert isinstance(answer, NoMail)
    assert str(answer.verdict.reply).startswith("556 5.1.10 a.test ")


async def test_a_null_mx_beside_others_is_passed_over(sites: Sites, dns: FakeDns) -> None:
    dns.put("a.test", (0, ""), (10, "mx.test"))
    assert await sites.find("a.test") == site_of((0, "mx.test"))


async def test_what_does_not_exist_is_a_bad_address(sites: Sites, dns: FakeDns) -> None:
    assert bounced(await sites.find("a.test")) == ("5.1.2", BounceType.BOUNCE)
    dns.mx["b.test"] = NoRecords()
    dns.hosts["b.test"] = NoRecords()
    assert bounced(await sites.find("b.test")) == ("5.1.2", BounceType.BOUNCE)


async def test_trouble_with_dns_is_never_a_bounce(sites: Sites, dns: FakeDns) -> None:
    dns.mx["a.test"] = TryLater("SERVFAIL")
    dns.host("a.test", "8.8.8.8")
    assert "SERVFAIL" in later(await sites.find("a.test"))
    dns.mx["b.test"] = NoRecords()
    dns.hosts["b.test"] = TryLater("no answer in time")
    assert "no answer in time" in later(await sites.find("b.test"))


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "127.1", "0x7f.1", "2130706433", "a..b", "-a.test", "a b.test", "\\000.test"]
)
async def test_an_mx_that_is_no_host_name_is_passed_over(sites: Sites, dns: FakeDns, host: str) -> None:
    dns.put("a.test", (5, host), (10, "mx_1.test"))
    dns.put("b.test", (5, host))
    assert await sites.find("a.test") == site_of((0, "mx_1.test"))
    assert bounced(await sites.find("b.test")) == ("5.4.4", BounceType.BLOCKED)


async def test_an_international_domain_is_asked_for_by_its_a_label(sites: Sites, dns: FakeDns) -> None:
    mailbox = parse_path("someone@XN--BCHER-KVA.test")
    assert mailbox is not None
    assert parse_path("someone@bücher.test") is None  # a U-label needs SMTPUTF8, which is not offered
    dns.put("xn--bcher-kva.test", (10, "xn--mx-xka.test"))
    assert await sites.find(mailbox.domain) == site_of((0, "xn--mx-xka.test"))


# Time


async def test_what_is_known_is_not_asked_again_until_its_time_is_over(
    sites: Sites, dns: FakeDns, clock: FakeClock
) -> None:
    dns.put("a.test", (10, "mx.test"), ttl_s=300)
    dns.host("mx.test", "8.8.8.8", ttl_s=30)
    assert sites.known("a.test") is None
    site = await found(sites, "a.test")
    await sites.hops(site)
    clock.go(29)
    assert sites.known("a.test") is site
    await sites.hops(site)
    assert dns.asked == ["MX a.test", "mx.test"]
    clock.go(2)
    await sites.hops(site)
    assert dns.asked == ["MX a.test", "mx.test", "mx.test"]
    clock.go(300)
    assert sites.known("a.test") is None


async def test_what_is_not_there_is_remembered_too(sites: Sites, clock: FakeClock) -> None:
    assert isinstance(await sites.find("a.test"), NoMail)
    clock.go(299)
    assert isinstance(sites.known("a.test"), NoMail)
    clock.go(2)
    assert sites.known("a.test") is None


async def test_trouble_is_forgotten_soon(sites: Sites, dns: FakeDns, clock: FakeClock) -> None:
    dns.mx["a.test"] = TryLater("SERVFAIL")
    later(await sites.find("a.test"))
    later(sites.known("a.test"))
    dns.put("a.test", (10, "mx.test"))
    clock.go(FAILURE_TTL_S + 0.1)
    assert await sites.find("a.test") == site_of((0, "mx.test"))


async def test_a_host_s_trouble_is_forgotten_soon(sites: Sites, dns: FakeDns, clock: FakeClock) -> None:
    dns.put("a.test", (10, "b.test"))
    dns.mx["b.test"] = NoRecords(3600)
    dns.hosts["b.test"] = TryLater("SERVFAIL")
    later(await hops_of(sites, "a.test"))
    later(await sites.find("b.test"))
    dns.host("b.test", "8.8.8.8")
    clock.go(FAILURE_TTL_S + 0.1)
    assert await hops_of(sites, "a.test") == await hops_of(sites, "b.test") == (Hop("b.test", "8.8.8.8", 25),)


# Hosts


async def test_hops_are_the_addresses_of_all_hosts_best_first(sites: Sites, dns: FakeDns) -> None:
    dns.put("a.test", (20, "backup.test"), (10, "mx1.test"), (10, "mx2.test"))
    dns.host("mx1.test", "8.8.8.1", "2a00::1")
    dns.host("mx2.test", "8.8.8.2")
    dns.host("backup.test", "8.8.8.3")
    first = [Hop("mx1.test", "8.8.8.1", 25), Hop("mx1.test", "2a00::1", 25)]
    second, last = [Hop("mx2.test", "8.8.8.2", 25)], [Hop("backup.test", "8.8.8.3", 25)]
    drawn = {tuple(plan) for _ in range(50) if not isinstance(plan := await hops_of(sites, "a.test"), NoMail)}
    assert drawn == {(*first, *second, *last), (*second, *first, *last)}


async def test_hosts_without_addresses_or_answers_are_passed_over(sites: Sites, dns: FakeDns) -> None:
    dns.put("a.test", (5, "gone.test"), (6, "broken.test"), (7, "inside.test"), (10, "mx.test"))
    dns.hosts["broken.test"] = TryLater("SERVFAIL")
    dns.host("inside.test", "10.0.0.1")
    dns.host("mx.test", "8.8.8.8", "127.0.0.1")
    assert await hops_of(sites, "a.test") == (Hop("mx.test", "8.8.8.8", 25),)


async def test_hosts_that_are_all_gone_are_a_bounce(sites: Sites, dns: FakeDns) -> None:
    dns.put("a.test", (5, "gone.test"), (6, "empty.test"))
    dns.hosts["empty.test"] = NoRecords()
    answer = await hops_of(sites, "a.test")
    assert bounced(answer) == ("5.4.4", BounceType.BLOCKED)
    assert isinstance(answer, NoMail)
    assert "gone.test, empty.test" in str(answer.verdict.reply)


async def test_one_host_that_dns_kept_from_us_makes_it_temporary(sites: Sites, dns: FakeDns) -> None:
    dns.put("a.test", (5, "gone.test"), (6, "inside.test"), (7, "broken.test"))
    dns.host("inside.test", "10.0.0.1")
    dns.hosts["broken.test"] = TryLater("SERVFAIL")
    assert "broken.test" in later(await hops_of(sites, "a.test"))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "::ffff:127.0.0.1"])
async def test_private_addresses_are_refused_and_named(sites: Sites, dns: FakeDns, address: str) -> None:
    dns.put("a.test", (5, "inside.test"))
    dns.host("inside.test", address)
    dns.host("b.test", address)
    for domain, host in (("a.test", "inside.test"), ("b.test", "b.test")):
        answer = await hops_of(sites, domain)
        assert bounced(answer) == ("5.4.4", BounceType.BLOCKED)
        assert isinstance(answer, NoMail)
        assert f"{host} is {address}, a" in str(answer.verdict.reply)


async def test_private_addresses_may_be_allowed(dns: FakeDns, clock: FakeClock) -> None:
    sites = Sites(dns, port=2525, allow_private=True, chance=lambda: 0.0, clock=clock)
    dns.put("a.test", (5, "inside.test"))
    dns.host("inside.test", "10.0.0.1", "0.0.0.0", "::1", "224.0.0.1")
    assert await hops_of(sites, "a.test") == (Hop("inside.test", "10.0.0.1", 2525), Hop("inside.test", "::1", 2525))


async def test_an_implicit_host_that_is_gone_since_is_a_bad_address(
    sites: Sites, dns: FakeDns, clock: FakeClock
) -> None:
    dns.hosts["a.test"] = Addresses(("8.8.8.8",), 10)
    site = await found(sites, "a.test")
    dns.hosts["a.test"] = NoRecords()
    clock.go(11)
    assert bounced(await sites.hops(site)) == ("5.1.2", BounceType.BOUNCE)


async def test_what_one_domain_costs_is_bounded(sites: Sites, dns: FakeDns) -> None:
    dns.put("a.test", *((10, f"mx{number}.test") for number in range(100)))
    for number in range(100):
        dns.host(f"mx{number}.test", *(f"8.{number}.{at}.8" for at in range(100)))
    plan = await hops_of(sites, "a.test")
    assert not isinstance(plan, NoMail)
    assert len(plan) == HOPS_MAX
    assert len(dns.asked) == 1 + HOSTS_MAX


async def test_of_a_host_s_addresses_so_many_are_kept(sites: Sites, dns: FakeDns) -> None:
    dns.host("a.test", *(f"8.8.8.{number}" for number in range(100)))
    drawn: set[Hop] = set()
    for _ in range(100):
        plan = await hops_of(sites, "a.test")
        assert not isinstance(plan, NoMail)
        drawn.update(plan)
    assert len(drawn) == ADDRESSES_MAX


async def test_verdicts_are_of_one_bounded_line(sites: Sites, dns: FakeDns) -> None:
    long = ".".join(["x" * 60] * 4)
    dns.put("a.test", *((10, f"{number}.{long}") for number in range(3)))
    answer = await hops_of(sites, "a.test")
    assert isinstance(answer, NoMail)
    assert len(str(answer.verdict.reply)) <= 512


# Over sockets: what a server's misbehaviour comes to


@pytest.fixture
def zone() -> Iterator[Zone]:
    with dns_server() as zone:
        yield zone


@pytest.fixture
def asking(zone: Zone, clock: FakeClock) -> Sites:
    resolver = Resolver([(zone.address, zone.port)], 2.0)
    return Sites(resolver, port=25, allow_private=True, chance=lambda: 0.0, clock=clock)


@pytest.mark.parametrize(
    "fault", sorted(set(Fault) - {Fault.GARBAGE, Fault.OTHER_QUESTION, Fault.SILENCE, Fault.WRONG_ID})
)
@pytest.mark.parametrize("soa", [True, False])
async def test_no_fault_of_a_server_bounces_mail(asking: Sites, zone: Zone, fault: Fault, soa: bool) -> None:
    if not soa:
        zone.soa = None
    zone.put("a.test", "MX", fault)
    zone.put("a.test", "A", ["127.0.0.1"])  # believed to have no MX, it would be delivered to the wrong host
    zone.put("b.test", "MX", ["10 mx.b.test."])
    zone.put("mx.b.test", "A", fault)
    zone.put("mx.b.test", "AAAA", fault)
    later(await asking.find("a.test"))
    later(await hops_of(asking, "b.test"))


@pytest.mark.parametrize("fault", [Fault.GARBAGE, Fault.OTHER_QUESTION, Fault.SILENCE, Fault.WRONG_ID])
async def test_no_silence_bounces_mail(zone: Zone, clock: FakeClock, fault: Fault) -> None:
    impatient = Sites(
        Resolver([(zone.address, zone.port)], 0.1), port=25, allow_private=True, chance=lambda: 0.0, clock=clock
    )
    zone.put("a.test", "MX", fault)
    zone.put("a.test", "A", ["127.0.0.1"])
    assert "no answer in time" in later(await impatient.find("a.test"))


async def test_an_alias_of_a_mail_domain_is_followed(asking: Sites, zone: Zone) -> None:
    zone.put("alias.test", "CNAME", ["a.test."])
    zone.put("a.test", "MX", ["10 mx.test."])
    zone.put("mx.test", "CNAME", ["host.test."])  # against RFC 2181 §10.3, and everywhere
    zone.put("host.test", "A", ["127.0.0.1"])
    assert await hops_of(asking, "alias.test") == (Hop("mx.test", "127.0.0.1", 25),)


async def test_aliases_in_a_circle_are_trouble(asking: Sites, zone: Zone) -> None:
    zone.put("a.test", "CNAME", ["b.test."])
    zone.put("b.test", "CNAME", ["a.test."])
    assert "aliases without an end" in later(await asking.find("a.test"))


async def test_a_thousand_exchangers_are_a_site_like_any_other(asking: Sites, zone: Zone) -> None:
    zone.put("a.test", "MX", [f"{number} mx{number}.test." for number in range(1000)])
    zone.put("mx7.test", "A", ["127.0.0.1"])
    site = await found(asking, "a.test")
    assert len(site.hosts) == 100
    assert await asking.hops(site) == (Hop("mx7.test", "127.0.0.1", 25),)
    assert sum(asked.kind == "A" for asked in zone.asked) == HOSTS_MAX


async def test_a_null_mx_as_it_is_written(asking: Sites, zone: Zone) -> None:
    zone.put("a.test", "MX", ["0 ."])
    assert bounced(await asking.find("a.test")) == ("5.1.10", BounceType.BOUNCE)
