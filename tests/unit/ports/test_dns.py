from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from sekisho.ports.dns import (
    Addresses,
    Exchanger,
    Exchangers,
    NoRecords,
    NoSuchName,
    Resolver,
    Texts,
    TryLater,
    ascii_name,
)
from sekisho.wire.mail.address import is_domain
from tests.fakes.dnsserver import Fault, Zone, dns_server, unused_udp_port


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.com", "example.com"),
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("a-b.c1.example", "a-b.c1.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｅxample.com", "example.com"),
        ("example。com", "example.com"),
        ("", None),
        (".", None),
        ("com", None),
        ("example.com..", None),
        (".example.com", None),
        ("exa mple.com", None),
        ("exa_mple.com", None),
        ("-a.example", None),
        ("a-.example", None),
        ("*.example.com", None),
        ("a@example.com", None),
        ("192.0.2.1", None),
        ("127.1", None),
        ("[192.0.2.1]", None),
        ("::1", None),
        ("localhost", None),
        ("a.localhost", None),
        ("example.com\n", None),
        ("example.com\x00", None),
        ("xn--a.example", None),
        ("xn--bcher-kva\u200d.example", None),
        ("a\u202eb.example", None),
        ("ä" * 64 + ".example", None),
        (f"{'a' * 64}.example", None),
        ("a." * 130 + "example", None),
    ],
)
def test_names_in_the_spelling_of_the_dns(text: str, name: str | None) -> None:
    assert ascii_name(text) == name


@given(text=st.text(max_size=80))
def test_whatever_is_taken_is_a_lower_case_name_and_stays_itself(text: str) -> None:
    name = ascii_name(text)
    if name is not None:
        assert is_domain(name)
        assert name == name.lower()
        assert "." in name
        assert ascii_name(name) == name


@pytest.fixture
def zone() -> Iterator[Zone]:
    with dns_server() as zone:
        zone.put("t.example", "TXT", ['"one" " two"', '"three"'])
        zone.put("long.example", "TXT", [" ".join(f'"{"x" * 255}"' for _ in range(4))])
        zone.put("many.example", "TXT", [f'"{number}"' for number in range(300)])
        zone.put("octets.example", "TXT", ['"\\200\\000"'])
        zone.put("m.example", "MX", ["20 B.example.", "10 a.example.", "20 a2.example."])
        zone.put("null.example", "MX", ["0 ."])
        zone.put("fails.example", "TXT", "SERVFAIL")
        zone.put("silent.example", "TXT", "silence")
        yield zone


@pytest.fixture
def resolver(zone: Zone) -> Resolver:
    return Resolver([(zone.address, zone.port)], 5.0)


async def test_the_strings_of_a_text_are_joined(resolver: Resolver) -> None:
    answer = await resolver.texts("t.example")
    assert isinstance(answer, Texts)
    assert set(answer.values) == {"one two", "three"}


async def test_a_long_answer_comes_over_tcp(resolver: Resolver) -> None:
    assert await resolver.texts("long.example") == Texts(("x" * 1020,))


async def test_answers_are_looked_at_in_bounds(resolver: Resolver) -> None:
    answer = await resolver.texts("many.example")
    assert isinstance(answer, Texts)
    assert len(answer.values) == 100


async def test_octets_that_are_no_text_are_shown_as_such(resolver: Resolver) -> None:
    answer = await resolver.texts("octets.example")
    assert answer == Texts(("�\x00",))


async def test_exchangers_come_best_first(resolver: Resolver) -> None:
    assert await resolver.exchangers("m.example") == Exchangers(
        (Exchanger(10, "a.example"), Exchanger(20, "a2.example"), Exchanger(20, "b.example"))
    )
    assert await resolver.exchangers("null.example") == Exchangers((Exchanger(0, ""),))


async def test_what_is_not_there_is_said_as_it_is(resolver: Resolver) -> None:
    assert await resolver.texts("nowhere.example") == NoSuchName()
    assert await resolver.texts("m.example") == NoRecords()
    assert await resolver.exchangers("t.example") == NoRecords()


async def test_what_could_not_be_learnt_is_no_answer(resolver: Resolver, zone: Zone) -> None:
    assert await resolver.texts("fails.example") == TryLater("SERVFAIL")
    impatient = Resolver([(zone.address, zone.port)], 0.1)
    assert isinstance(await impatient.texts("silent.example"), TryLater)


async def test_exchangers_and_addresses_come_with_their_time(resolver: Resolver, zone: Zone) -> None:
    zone.put("ttl.example", "MX", ["10 a.example."], ttl_s=1234)
    zone.put("ttl.example", "A", ["192.0.2.1", "192.0.2.2"], ttl_s=900)
    zone.put("ttl.example", "AAAA", ["2001:db8::1"], ttl_s=700)
    exchangers, addresses = await resolver.exchangers("ttl.example"), await resolver.addresses("ttl.example")
    assert isinstance(exchangers, Exchangers)
    assert exchangers.ttl_s == 1234
    assert isinstance(addresses, Addresses)
    assert set(addresses.values) == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    assert addresses.values[2] == "2001:db8::1"
    assert addresses.ttl_s == 700


async def test_what_is_not_there_is_believed_for_the_soa_s_minimum(resolver: Resolver) -> None:
    missing, empty = await resolver.exchangers("nowhere.example"), await resolver.exchangers("t.example")
    assert isinstance(missing, NoSuchName)
    assert isinstance(empty, NoRecords)
    assert (missing.ttl_s, empty.ttl_s) == (30, 30)


async def test_addresses_of_one_kind_are_enough(resolver: Resolver, zone: Zone) -> None:
    zone.put("four.example", "A", ["192.0.2.1"])
    zone.put("six.example", "AAAA", ["2001:db8::1"])
    assert await resolver.addresses("four.example") == Addresses(("192.0.2.1",))
    assert await resolver.addresses("six.example") == Addresses(("2001:db8::1",))
    assert await resolver.addresses("t.example") == NoRecords()
    assert await resolver.addresses("nowhere.example") == NoSuchName()


async def test_half_an_answer_about_addresses_is_not_believed_for_long(resolver: Resolver, zone: Zone) -> None:
    zone.put("half.example", "A", ["192.0.2.1"], ttl_s=3600)
    zone.put("half.example", "AAAA", Fault.SERVFAIL)
    answer = await resolver.addresses("half.example")
    assert answer == Addresses(("192.0.2.1",))
    assert isinstance(answer, Addresses)
    assert answer.ttl_s == 60
    zone.put("half.example", "A", [])
    assert await resolver.addresses("half.example") == TryLater("SERVFAIL")


async def test_a_thousand_exchangers_come_over_tcp_and_the_best_are_kept(resolver: Resolver, zone: Zone) -> None:
    zone.put("thousand.example", "MX", [f"{1000 - number} mx{number}.example." for number in range(1000)])
    answer = await resolver.exchangers("thousand.example")
    assert isinstance(answer, Exchangers)
    assert answer.values == tuple(Exchanger(at, f"mx{1000 - at}.example") for at in range(1, 101))
    assert [asked.over for asked in zone.asked if asked.name == "thousand.example"] == ["udp", "tcp"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.SERVFAIL, "SERVFAIL"),
        (Fault.REFUSED, "REFUSED"),
        (Fault.FORMERR, "FORMERR"),
        (Fault.NOTIMP, "NOTIMP"),
        (Fault.REFERRAL, "a referral instead of an answer"),
        (Fault.OTHER_NAME, "an answer to another question"),
        (Fault.OTHER_TYPE, "an answer to another question"),
        (Fault.CONTRADICTION, "an answer that contradicts itself"),
        (Fault.TRUNCATED, "a truncated answer"),
        (Fault.CUT, "a truncated answer"),
        (Fault.CLOSED, "the connection was closed"),
    ],
)
async def test_what_is_no_answer_is_none(resolver: Resolver, zone: Zone, fault: Fault, reason: str) -> None:
    zone.soa = None
    zone.put("fault.example", "MX", fault)
    assert await resolver.exchangers("fault.example") == TryLater(reason)


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.GARBAGE, Fault.WRONG_ID, Fault.OTHER_QUESTION])
async def test_what_does_not_belong_to_the_question_is_passed_over(zone: Zone, fault: Fault) -> None:
    zone.put("fault.example", "MX", fault)
    impatient = Resolver([(zone.address, zone.port)], 0.1)
    assert await impatient.exchangers("fault.example") == TryLater("no answer in time")


async def test_forged_datagrams_do_not_keep_the_true_answer_out(resolver: Resolver, zone: Zone) -> None:
    zone.put("forged.example", "MX", ["10 a.example."])
    zone.forge("forged.example", "MX")
    assert await resolver.exchangers("forged.example") == Exchangers((Exchanger(10, "a.example"),))


async def test_a_lost_datagram_is_asked_again(zone: Zone) -> None:
    zone.put("lost.example", "MX", ["10 a.example."])
    zone.lose("lost.example", "MX")
    resolver = Resolver([(zone.address, zone.port)], 1.5)
    assert await resolver.exchangers("lost.example") == Exchangers((Exchanger(10, "a.example"),))
    assert zone.times("lost.example", "MX") == 2


async def test_the_next_server_is_asked_when_one_refuses(zone: Zone) -> None:
    zone.put("second.example", "MX", ["10 a.example."])
    with dns_server() as lame:
        lame.put("second.example", "MX", Fault.REFUSED)
        resolver = Resolver([(lame.address, lame.port), (zone.address, zone.port)], 5.0)
        assert await resolver.exchangers("second.example") == Exchangers((Exchanger(10, "a.example"),))


@pytest.mark.parametrize("follows", [True, False], ids=["server follows", "server does not"])
@pytest.mark.parametrize("with_soa", [True, False])
async def test_aliases_are_followed(resolver: Resolver, zone: Zone, follows: bool, with_soa: bool) -> None:
    zone.put("alias.example", "CNAME", ["alias2.example."], ttl_s=20)
    zone.put("alias2.example", "CNAME", ["m.example."])
    zone.put("to-nothing.example", "CNAME", ["nowhere.example."])
    zone.put("to-text.example", "CNAME", ["t.example."])
    zone.follows = follows
    if not (with_soa and follows):  # who does not follow has no SOA to show for where the alias leads
        zone.soa = None
    answer = await resolver.exchangers("alias.example")
    assert answer == await resolver.exchangers("m.example")
    assert isinstance(answer, Exchangers)
    assert answer.ttl_s == 20
    assert await resolver.exchangers("to-nothing.example") == NoSuchName()
    assert await resolver.exchangers("to-text.example") == NoRecords()


@pytest.mark.parametrize("follows", [True, False], ids=["server follows", "server does not"])
async def test_aliases_in_a_circle_end(resolver: Resolver, zone: Zone, follows: bool) -> None:
    zone.put("round.example", "CNAME", ["about.example."])
    zone.put("about.example", "CNAME", ["round.example."])
    zone.follows, zone.soa = follows, None
    assert await resolver.exchangers("round.example") == TryLater("aliases without an end")


async def test_questions_under_way_are_bounded(resolver: Resolver, zone: Zone) -> None:
    resolver._room = asyncio.Semaphore(1)
    zone.put("slow.example", "MX", ["10 a.example."])
    zone.put("quick.example", "MX", ["10 a.example."])
    zone.hold("slow.example", "MX")
    slow = asyncio.create_task(resolver.exchangers("slow.example"))
    await asyncio.to_thread(zone.wait_for, "slow.example", "MX")
    quick = asyncio.create_task(resolver.exchangers("quick.example"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not zone.times("quick.example", "MX")
    zone.release("slow.example", "MX")
    assert await slow == await quick == Exchangers((Exchanger(10, "a.example"),))


async def test_a_clock_set_back_does_not_prolong_a_question(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    zone.put("silent.example", "MX", Fault.GARBAGE)
    monkeypatch.setattr("time.time", lambda: -300_000_000.0 if zone.asked else 0.0)
    impatient = Resolver([(zone.address, zone.port)], 0.1)
    assert await impatient.exchangers("silent.example") == TryLater("no answer in time")


def test_it_asks_on_the_loop_of_the_workers_too(zone: Zone) -> None:
    zone.put("uv.example", "MX", ["10 a.example."])
    zone.put("uv-long.example", "MX", [f"10 {'x' * 60}{number}.example." for number in range(10, 30)])

    async def ask() -> None:
        resolver = Resolver([(zone.address, zone.port)], 5.0)
        assert await resolver.exchangers("uv.example") == Exchangers((Exchanger(10, "a.example"),))
        answer = await resolver.exchangers("uv-long.example")
        assert isinstance(answer, Exchangers)
        assert len(answer.values) == 20
        nobody = Resolver([("127.0.0.1", unused_udp_port())], 0.1)
        assert isinstance(await nobody.exchangers("uv.example"), TryLater)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


async def test_nobody_there_is_no_answer() -> None:
    resolver = Resolver([("127.0.0.1", unused_udp_port())], 0.3)
    assert isinstance(await resolver.texts("t.example"), TryLater)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".example", "a." * 200, "\x00"])
async def test_a_name_that_is_none_is_no_crash(resolver: Resolver, name: str) -> None:
    assert not isinstance(await resolver.texts(name), Texts)
