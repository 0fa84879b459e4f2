"""Who may connect and how failed logins are slowed: counters per host, shared by its workers without locks.

The supervisor makes one ``SharedCounts`` before it forks: an anonymous shared mapping in which every worker has
columns of its own, so each number has one writer. A worker adds to its own column first and then reads the sum over
all; if that is too much it takes its own back. Two workers that do so at once may both refuse: never both admit.

Addresses and keys are counted in count-min sketches: fixed memory whatever a peer does, sums never too low, and a
keyed hash with a key of this boot so that nobody can choose addresses that collide with a victim's.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import struct
from ipaddress import IPv4Address, IPv6Address

from sekisho.doors.smtp.bounds import Limits
from sekisho.identity import IPAddress, undisguised
from sekisho.ids import KeyId

_ROWS = 4
_WIDTH = 16_384
_SKETCH = _ROWS * _WIDTH
# One worker's columns, in int32: the number of its connections, the sketch of addresses and keys, and two halves of
# the window of failures, each behind the number of the half it counts.
_TOTAL = 0
_CONNECTIONS = 1
_FAILURES = _CONNECTIONS + _SKETCH
_HALF = 1 + _SKETCH
_WORKER = _FAILURES + 2 * _HALF

_hashes = struct.Struct(f"={_ROWS}I").unpack


class SharedCounts:
    """The numbers of one host. Make it before forking."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._hash_key = secrets.token_bytes(16)
        # Pages that no peer's number falls into are never touched: the mapping costs what is used of it.
        self.numbers = memoryview(mmap.mmap(-1, workers * _WORKER * 4)).cast("i")

    def forget(self, worker: int) -> None:
        """Zero the columns of a worker that died: its connections are gone. The supervisor's call."""
        at = worker * _WORKER
        self.numbers[at : at + _WORKER] = memoryview(bytes(_WORKER * 4)).cast("i")

    def cells(self, name: bytes) -> list[int]:
        """Give the sketch cells that a name is counted in."""
        digest = hashlib.blake2b(name, digest_size=4 * _ROWS, key=self._hash_key).digest()
        return [row * _WIDTH + number % _WIDTH for row, number in enumerate(_hashes(digest))]


def subject(address: IPAddress) -> bytes:
    """Give what an address is counted as: itself, or its /64, which one IPv6 customer owns."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped.packed
        return address.packed[:8]
    return address.packed


def plain_address(text: str) -> IPAddress:
    """Read a peer name: without a zone, and IPv4 as IPv4 also when it came through an IPv6 socket."""
    if ":" not in text:
        return IPv4Address(text)
    return undisguised(IPv6Address(text.partition("%")[0]))


class Admission:
    """One worker's use of the counts. ``now_s`` is a monotonic clock that all workers of the host share."""

    __slots__ = ("_base", "_counts", "_numbers", "limits")

    def __init__(self, counts: SharedCounts, worker: int, limits: Limits) -> None:
        self._counts = counts
        self._numbers = counts.numbers
        self._base = worker * _WORKER
        self.limits = limits

    def connect(self, address: IPAddress) -> bool:
        """Count a new connection; False (and not counted) when there are too many."""
        self._numbers[self._base + _TOTAL] += 1
        if self._total() <= self.limits.connections and self._add(
            b"a" + subject(address), self.limits.connections_per_address
        ):
            return True
        self._numbers[self._base + _TOTAL] -= 1
        return False

    def disconnect(self, address: IPAddress) -> None:
        self._numbers[self._base + _TOTAL] -= 1
        self._subtract(b"a" + subject(address))

    def enter(self, key: KeyId) -> bool:
        """Count a session that logged in with a key; False (and not counted) when there are too many."""
        return self._add(b"k" + key.encode(), self.limits.connections_per_key)

    def leave(self, key: KeyId) -> None:
        self._subtract(b"k" + key.encode())

    def failures(self, address: IPAddress, now_s: float) -> int:
        """How many logins from here failed lately; never too low."""
        half = self._half(now_s)
        cells = self._counts.cells(subject(address))
        return min(sum(self._numbers[block + 1 + cell] for block in self._blocks(half)) for cell in cells)

    def failed(self, address: IPAddress, now_s: float) -> int:
        """Count a failed login and give their number."""
        half = self._half(now_s)
        numbers, block = self._numbers, self._base + _FAILURES + half % 2 * _HALF
        if numbers[block] != half:
            # Emptied before it is named: who reads between sees an old name and skips it.
            numbers[block + 1 : block + _HALF] = memoryview(bytes(_SKETCH * 4)).cast("i")
            numbers[block] = half
        for cell in self._counts.cells(subject(address)):
            numbers[block + 1 + cell] += 1
        return self.failures(address, now_s)

    def delay_ms(self, failures: int) -> int:
        """How long after its beginning a failed login is answered, the failure itself counted."""
        doublings = min(max(failures - 1, 0), 16)
        return min(self.limits.failure_delay_ms << doublings, self.limits.failure_delay_max_ms)

    def _half(self, now_s: float) -> int:
        # From 1, so that a fresh mapping holds no half that could be meant.
        return int(now_s / (self.limits.failure_window_s / 2)) + 1

    def _blocks(self, half: int) -> list[int]:
        """Where the current half and the one before stand, of every worker."""
        numbers = self._numbers
        blocks = (
            worker * _WORKER + _FAILURES + part * _HALF for worker in range(self._counts.workers) for part in (0, 1)
        )
        return [block for block in blocks if numbers[block] in (half, half - 1)]

    def _total(self) -> int:
        return sum(self._numbers[worker * _WORKER + _TOTAL] for worker in range(self._counts.workers))

    def _add(self, name: bytes, limit: int) -> bool:
        numbers, own = self._numbers, self._base + _CONNECTIONS
        cells = self._counts.cells(name)
        for cell in cells:
            numbers[own + cell] += 1
        everybody = range(_CONNECTIONS, self._counts.workers * _WORKER, _WORKER)
        if min(sum(numbers[at + cell] for at in everybody) for cell in cells) <= limit:
            return True
        for cell in cells:
            numbers[own + cell] -= 1
        return False

    def _subtract(self, name: bytes) -> None:
        numbers, own = self._numbers, self._base + _CONNECTIONS
        for cell in self._counts.cells(name):
            numbers[own + cell] -= 1
