"""What was under way when a worker died, as the next one reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.queue.flights import DEATHS_MAX, FLIGHTS_MAX, SIZE, SUSPECTS_MAX, Entry, Flights, image, parse, suspects
from sekisho.queue.model import Delivery
from tests.fakes.spool import make_message, recipients

ENTRIES = st.builds(Entry, st.sampled_from([b"a" * 16, b"b" * 16]), st.just(0), st.integers(0, 9), st.booleans())
KEYS = st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 0xFFFF_FFFF))


def delivery(number: int = 1) -> Delivery:
    (recipient,) = recipients("r@a.test")
    return Delivery(number << 20, make_message(number), recipient, 0, 0)


def died(memory: bytearray) -> Flights:
    """The next owner of what a process left."""
    return Flights(bytearray(memory))


@given(st.dictionaries(KEYS, st.integers(1, DEATHS_MAX), max_size=20))
def test_what_is_written_is_read_and_nothing_is_in_flight(deaths: dict[tuple[bytes, int], int]) -> None:
    entries = list(parse(image(deaths)))
    assert [(entry.message_id, entry.recipient) for entry in entries] == list(deaths)
    assert not any(entry.in_flight for entry in entries)
    assert suspects(entries) == deaths


@given(st.binary(max_size=400), st.integers(0, 400))
def test_whatever_lies_there_is_read_without_a_murmur(noise: bytes, at: int) -> None:
    torn = bytearray(image({(bytes(16), 0): 1}))
    torn[at : at + len(noise)] = noise
    for content in (noise, bytes(torn), bytes(torn[:at])):
        assert all(entry.deaths <= DEATHS_MAX for entry in parse(content))
    memory = bytearray(torn[:SIZE].ljust(SIZE, b"\0"))
    assert len(suspects(parse(memory))) <= SUSPECTS_MAX
    Flights(memory).begin(delivery())
    assert sum(entry.in_flight for entry in parse(memory)) == 1


@given(
    st.lists(st.builds(Entry, st.sampled_from([b"a" * 16, b"b" * 16]), st.just(0), st.integers(0, 9), st.booleans()))
)
def test_only_what_was_in_flight_has_seen_another_death(entries: list[Entry]) -> None:
    found = suspects(entries)
    assert sum(found.values()) == sum(entry.deaths + entry.in_flight for entry in entries)
    assert all(found.values())


def test_deaths_are_counted_while_it_is_under_way_and_no_longer() -> None:
    memory, one = bytearray(SIZE), delivery()
    for deaths in range(1, 4):
        Flights(memory).begin(one)
        assert died(memory).deaths(one) == deaths
    last = Flights(memory)
    last.begin(one)
    last.over(one)
    last.left(one)
    assert died(memory).deaths(one) == 0


@pytest.mark.parametrize("how", ["rest", "left", "rest_all"])
def test_what_waits_or_left_is_not_to_blame_and_keeps_what_it_had(how: str) -> None:
    memory = bytearray(image({(delivery(1).message.id, 0): 2}))
    flights, suspect, other = Flights(memory), delivery(1), delivery(2)
    for each in (suspect, other):
        flights.begin(each)
        if how != "rest_all":
            getattr(flights, how)(each)
    if how == "rest_all":
        flights.rest_all()
    assert [died(memory).deaths(each) for each in (suspect, other)] == [2, 0]


def test_what_finds_no_room_is_not_watched_and_room_comes_back() -> None:
    memory = bytearray(SIZE)
    flights, many = Flights(memory), [delivery(number) for number in range(1, FLIGHTS_MAX + 3)]
    for each in many:
        flights.begin(each)
    assert sum(entry.in_flight for entry in parse(memory)) == FLIGHTS_MAX
    for each in many:
        flights.left(each)
    assert not list(parse(memory))
    flights.begin(many[-1])
    assert died(memory).deaths(many[-1]) == 1


def test_the_newest_suspects_stay_when_there_are_too_many() -> None:
    entries = [Entry(number.to_bytes(16, "big"), 0, 1, in_flight=False) for number in range(SUSPECTS_MAX + 5)]
    found = suspects(entries)
    assert len(found) == SUSPECTS_MAX
    assert (entries[-1].message_id, 0) in found


def test_a_slot_that_is_taken_over_brings_its_suspects_once(tmp_path: Path) -> None:
    one = delivery()
    Flights.at(tmp_path / "2.flight").begin(one)
    own = Flights.at(tmp_path / "1.flight")
    own.absorb(tmp_path / "2.flight")
    own.absorb(tmp_path / "2.flight")
    own.absorb(tmp_path / "3.flight")
    assert own.deaths(one) == 1
    assert Flights.at(tmp_path / "1.flight").deaths(one) == 1
    assert not (tmp_path / "3.flight").exists()


def test_the_file_survives_a_process_that_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "1.flight"
    pid = os.fork()
    if not pid:
        Flights.at(path).begin(delivery())
        os._exit(1)
    os.waitpid(pid, 0)
    assert Flights.at(path).deaths(delivery()) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 >= SIZE  # no hole: a write must not find the disk full


def test_without_a_file_nothing_is_kept_and_mail_goes_on(tmp_path: Path) -> None:
    flights = Flights.at(tmp_path / "nowhere" / "1.flight")
    flights.begin(delivery())
    flights.over(delivery())
    (tmp_path / "2.flight").mkdir()
    flights.absorb(tmp_path / "2.flight")
