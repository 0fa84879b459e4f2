"""What is under way, in a file that outlives the process: who was there when a worker died is known afterwards.

A message may kill the worker that sends it: a crash in a library, all memory taken. Nobody is left to count that, so
what begins is entered beforehand, in memory that is mapped to a file: the kernel keeps it when the process is gone,
and an entry costs no system call. Whoever takes over a dead worker's slot reads its file: all that was in flight is
suspect from then on, with one death more to its name, until it is settled. Nothing depends on the file: what a power
failure or a full disk makes of it costs counts, never mail.

Entries go by message id and recipient, which are never given out again, as rows are.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from sekisho.queue.model import Delivery

_log = structlog.get_logger(__name__)

FLIGHTS_MAX: Final = 8192
"""Entries in one file: twice what memory holds. What finds no room is not watched."""
SUSPECTS_MAX: Final = FLIGHTS_MAX // 2
"""Of them, what was found by others' deaths; the newest ones when there are more."""
DEATHS_MAX: Final = 0xFFFF

_HEADER: Final = b"sekisho flights\x00".ljust(23, b"\x00") + b"\x01"
_ENTRY: Final = struct.Struct("<16sIHBx")
"""Message id, recipient's index, deaths, state."""
_STATE: Final = _ENTRY.size - 2
_FREE, _RESTING, _FLYING = range(3)
SIZE: Final = len(_HEADER) + FLIGHTS_MAX * _ENTRY.size

Key = tuple[bytes, int]


class Entry(NamedTuple):
    """One recipient's message."""

    message_id: bytes
    recipient: int
    deaths: int
    in_flight: bool


def parse(content: bytes | bytearray | mmap.mmap) -> Iterator[Entry]:
    """Read a file, whatever it holds."""
    if content[: len(_HEADER)] != _HEADER:
        return
    for at in range(len(_HEADER), len(content) - _ENTRY.size + 1, _ENTRY.size):
        if content[at + _STATE] in {_RESTING, _FLYING}:
            message_id, recipient, deaths, state = _ENTRY.unpack_from(content, at)
            yield Entry(message_id, recipient, deaths, state == _FLYING)


def suspects(entries: Iterable[Entry]) -> dict[Key, int]:
    """Count the deaths after one more: what was in flight has seen it, what was not keeps what it had."""
    found: dict[Key, int] = {}
    for entry in entries:
        deaths = entry.deaths + entry.in_flight
        if deaths:
            key = entry.message_id, entry.recipient
            found[key] = min(found.get(key, 0) + deaths, DEATHS_MAX)
    return {key: found[key] for key in sorted(found)[-SUSPECTS_MAX:]}


def image(deaths: dict[Key, int]) -> bytes:
    """Write a file in which nothing is in flight."""
    entries = b"".join(_ENTRY.pack(*key, count, _RESTING) for key, count in deaths.items())
    return (_HEADER + entries).ljust(SIZE, b"\x00")


class Flights:
    """One worker's file, and what it took over from others. All calls come from the loop."""

    def __init__(self, memory: mmap.mmap | bytearray | None = None) -> None:
        """``memory``: SIZE bytes; what a worker before left there is taken over. None = kept for nobody."""
        self._memory = bytearray(SIZE) if memory is None else memory
        self._places: dict[int, int] = {}
        """Of what began here, by row."""
        self._suspects: dict[Key, int] = {}
        """Places of what was found."""
        self._begin_with(suspects(parse(self._memory)))

    @classmethod
    def at(cls, path: Path) -> Flights:
        """Map a file, made if need be; where that cannot be, nothing is kept beyond this process."""
        try:
            return cls(_map(path))
        except OSError as error:
            _log.warning("spool.flights_unkept", path=str(path), error=str(error))
            return cls()

    def absorb(self, path: Path) -> None:
        """Take over what the owner of a slot that is ours now had under way."""
        if not path.exists():
            return
        try:
            left = _map(path)
        except OSError as error:
            _log.warning("spool.flights_unkept", path=str(path), error=str(error))
            return
        with contextlib.closing(left):
            for key, deaths in suspects(parse(left)).items():
                self._suspect(key, deaths)
            left[:] = image({})

    def deaths(self, delivery: Delivery) -> int:
        """How many workers died while this was under way, since it was settled last."""
        place = self._suspects.get((delivery.message.id, delivery.recipient.index)) if self._suspects else None
        return 0 if place is None else self._deaths_at(place)

    def begin(self, delivery: Delivery) -> None:
        """It is worked on from now on."""
        place = self._places.get(delivery.row)
        if place is None:
            key = delivery.message.id, delivery.recipient.index
            place = self._suspects.get(key)
            if place is None:
                if not self._free:
                    return
                place = self._places[delivery.row] = self._free.pop()
                _ENTRY.pack_into(self._memory, place, *key, 0, _FLYING)
                return
            self._places[delivery.row] = place
        self._memory[place + _STATE] = _FLYING

    def rest(self, delivery: Delivery) -> None:
        """It waits: a death now is not its doing."""
        place = self._places.get(delivery.row)
        if place is not None:
            self._memory[place + _STATE] = _RESTING

    def over(self, delivery: Delivery) -> None:
        """Its attempt came to something: whatever was held against it is forgotten."""
        place = self._places.pop(delivery.row, None)
        if self._suspects:
            place = self._suspects.pop((delivery.message.id, delivery.recipient.index), place)
        if place is not None:
            self._vacate(place)

    def left(self, delivery: Delivery) -> None:
        """It leaves memory; a suspect that is not ``over`` stays one."""
        place = self._places.pop(delivery.row, None)
        if place is None:
            return
        if self._suspects and (delivery.message.id, delivery.recipient.index) in self._suspects:
            self._memory[place + _STATE] = _RESTING
        else:
            self._vacate(place)

    def rest_all(self) -> None:
        """The process ends in good order: nothing here is to blame for that."""
        for place in self._places.values():
            self._memory[place + _STATE] = _RESTING

    def _begin_with(self, found: dict[Key, int]) -> None:
        self._memory[:] = image(found)
        places = range(len(_HEADER), SIZE, _ENTRY.size)
        self._suspects = dict(zip(found, places, strict=False))
        self._free = list(reversed(places[len(found) :]))

    def _suspect(self, key: Key, deaths: int) -> None:
        place = self._suspects.get(key)
        if place is not None:
            deaths = min(deaths + self._deaths_at(place), DEATHS_MAX)
        elif self._free and len(self._suspects) < SUSPECTS_MAX:
            place = self._suspects[key] = self._free.pop()
        else:
            return
        _ENTRY.pack_into(self._memory, place, *key, deaths, _RESTING)

    def _deaths_at(self, place: int) -> int:
        _, _, deaths, _ = _ENTRY.unpack_from(self._memory, place)
        return int(deaths)

    def _vacate(self, place: int) -> None:
        self._memory[place + _STATE] = _FREE
        self._free.append(place)


def _map(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # All of it now: to write where the disk has no room ends a process.
        os.posix_fallocate(descriptor, 0, SIZE)
        return mmap.mmap(descriptor, SIZE)
    finally:
        os.close(descriptor)
