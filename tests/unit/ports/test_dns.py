from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.ports.dns import Exchanger, Exchangers, NoRecords, NoSuchName, Resolver, Texts, TryLater, ascii_name
from sekisho.wire.mail.address import is_domain
from tests.fakes.dnsserver import Zone, dns_server, unused_udp_port


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


@pytest.fixture(scope="module")
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


async def test_nobody_there_is_no_answer() -> None:
    resolver = Resolver([("127.0.0.1", unused_udp_port())], 0.3)
    assert isinstance(await resolver.texts("t.example"), TryLater)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".example", "a." * 200, "\x00"])
async def test_a_name_that_is_none_is_no_crash(resolver: Resolver, name: str) -> None:
    assert not isinstance(await resolver.texts(name), Texts)
