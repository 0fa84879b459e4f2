from __future__ import annotations

import os
import warnings
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from sekisho.doors.smtp.admission import Admission, SharedCounts, plain_address, subject
from sekisho.doors.smtp.bounds import Limits
from sekisho.ids import KeyId

LIMITS = Limits(connections=6, connections_per_address=3, connections_per_key=2, failures=4, failure_window_s=600)
A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")


def two_workers() -> tuple[SharedCounts, Admission, Admission]:
    counts = SharedCounts(2)
    return counts, Admission(counts, 0, LIMITS), Admission(counts, 1, LIMITS)


def test_an_address_is_counted_over_all_workers() -> None:
    _, first, second = two_workers()
    assert [first.connect(A), second.connect(A), first.connect(A)] == [True] * 3
    assert not first.connect(A)
    assert not second.connect(A)
    assert second.connect(B)
    second.disconnect(A)
    assert first.connect(A)


def test_the_total_is_counted_over_all_workers() -> None:
    _, first, second = two_workers()
    addresses = [IPv4Address(number) for number in range(7)]
    assert [(first if number % 2 else second).connect(address) for number, address in enumerate(addresses)] == (
        [True] * 6 + [False]
    )
    first.disconnect(addresses[1])
    assert second.connect(addresses[6])


def test_a_refused_connection_leaves_no_trace() -> None:
    _, first, _ = two_workers()
    for _ in range(3):
        first.connect(A)
    for _ in range(50):
        assert not first.connect(A)
    for _ in range(3):
        first.disconnect(A)
    assert [first.connect(A) for _ in range(4)] == [True] * 3 + [False]


def test_keys_are_counted_apart_from_addresses() -> None:
    _, first, second = two_workers()
    key, other = KeyId("a" * 22), KeyId("b" * 22)
    assert [first.enter(key), second.enter(key), second.enter(key), first.enter(other)] == [True, True, False, True]
    first.leave(key)
    assert second.enter(key)


def test_a_dead_workers_numbers_are_forgotten() -> None:
    counts, first, second = two_workers()
    for _ in range(3):
        first.connect(A)
    first.failed(A, 1000.0)
    counts.forget(0)
    assert second.connect(A)
    assert second.failures(A, 1000.0) == 0


def test_one_ipv6_customer_is_one_subject() -> None:
    assert subject(ip_address("2001:db8::1")) == subject(ip_address("2001:db8::ffff:1"))
    assert subject(ip_address("2001:db8::1")) != subject(ip_address("2001:db8:0:1::1"))
    assert subject(ip_address("::ffff:192.0.2.1")) == subject(A)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", A),
        ("::ffff:192.0.2.1", A),
        ("fe80::1%eth0", IPv6Address("fe80::1")),
        ("2001:db8::1", IPv6Address("2001:db8::1")),
    ],
)
def test_peer_names_are_read(text: str, address: IPv4Address | IPv6Address) -> None:
    assert plain_address(text) == address


def test_failures_are_counted_over_all_workers_and_fade() -> None:
    _, first, second = two_workers()
    assert first.failures(A, 10_000.0) == 0
    assert first.failed(A, 10_000.0) == 1
    assert second.failed(A, 10_100.0) == 2
    assert first.failed(A, 10_250.0) == 3
    assert first.failures(B, 10_250.0) == 0
    # 10,000 and 10,100 stand in one half of five minutes (from 9,900), 10,250 in the next (from 10,200).
    assert first.failures(A, 10_499.0) == 3
    assert second.failures(A, 10_550.0) == 1
    assert first.failures(A, 10_850.0) == 0
    assert first.failed(A, 10_850.0) == 1


def test_an_idle_workers_old_numbers_do_not_come_back() -> None:
    _, first, second = two_workers()
    first.failed(A, 10_000.0)
    # The same block is used again two halves later, whoever reads.
    assert second.failures(A, 10_600.0) == 0
    assert second.failed(A, 10_600.0) == 1
    assert first.failed(A, 10_600.0) == 2


def test_delays_double_to_their_end() -> None:
    _, first, _ = two_workers()
    assert [first.delay_ms(number) for number in (0, 1, 2, 3, 4, 5, 6, 1000)] == [
        500,
        500,
        1000,
        2000,
        4000,
        8000,
        8000,
        8000,
    ]


def test_the_counts_are_seen_across_a_fork() -> None:
    counts = SharedCounts(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads, which the child does not touch
        child = os.fork()
    if child == 0:
        admission = Admission(counts, 1, LIMITS)
        os._exit(0 if admission.connect(A) and admission.connect(A) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    admission = Admission(counts, 0, LIMITS)
    assert admission.connect(A)
    assert not admission.connect(A)
    counts.forget(1)
    assert admission.connect(A)


def test_many_addresses_do_not_make_each_other_refused() -> None:
    counts = SharedCounts(1)
    admission = Admission(counts, 0, Limits(connections=100_000, connections_per_address=10))
    assert all(admission.connect(IPv4Address(0x0A000000 + number)) for number in range(10_000))
