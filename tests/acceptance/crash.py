"""Kill -9 under load, again and again, then count: what got a 250 was delivered, is queued, or ended in an event.

    python -m tests.acceptance.crash --rounds 200 [--mx]

Client threads hand in numbered letters all the time; each round kills something at a moment that chance picks, and
starts again what has to be started, with another number of workers. Half-finished transactions count as nothing: only
a 250 that a client saw is a promise. At the end the queue runs empty and every promise is looked up.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import itertools
import os
import random
import shutil
import signal
import smtplib
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.certificates import make_certificate
from tests.acceptance.destinations import Destinations, by_mx, by_route
from tests.acceptance.relay import Relay, eventually, submit
from tests.acceptance.site import Seed, Site, make_seed

CLIENTS = 4
WORKERS = (2, 1, 3, 1)
"""In turn; each step down leaves owners that are gone, whose mail others must adopt."""
FINAL = frozenset({"delivered", "bounce", "dropped"})


class Kill(enum.Enum):
    """What dies."""

    GROUP = "group"
    WORKER = "worker"
    SUPERVISOR = "supervisor"
    SIGNER = "signer"


@dataclass(slots=True)
class Ledger:
    """What clients were promised, by letter number."""

    promised: dict[int, str] = field(default_factory=dict, repr=False)
    """Number → message id of the 250."""
    broken_off: int = 0
    """Transactions that ended without an answer: the client does not know, and may not be told twice."""
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of it all."""

    rounds: Counter[str]
    promised: int
    broken_off: int
    delivered: int
    queued: int
    bounced: int
    lost: list[int]
    duplicates: int
    """Copies beyond the first, over all rounds."""
    unexplained: list[int]
    """Numbers that arrived more often than there were kills while they were on their way."""
    most_after_one_kill: int
    doubled_events: list[str]
    changed: list[str]
    faults: list[str]

    def __str__(self) -> str:
        rounds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.rounds.items()))
        return (
            f"{sum(self.rounds.values())} kills ({rounds}): {self.promised} promised = {self.delivered} delivered"
            f" + {self.queued} queued + {self.bounced} bounced + {len(self.lost)} LOST;"
            f" {self.broken_off} transactions broken off; {self.duplicates} duplicates,"
            f" at most {self.most_after_one_kill} after one kill, {len(self.unexplained)} unexplained;"
            f" {len(self.doubled_events)} doubled events, {len(self.changed)} changed bodies"
        )


class Load:
    """Clients that never give up, each a thread with a connection of its own."""

    def __init__(self, relay: Relay, key: str, destinations: Destinations) -> None:
        self.ledger = Ledger()
        self._relay = relay
        self._destinations = destinations
        self._key = key
        self._lock = threading.Lock()
        self._next = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, name=f"client {n}") for n in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    @property
    def promised(self) -> int:
        return len(self.ledger.promised)

    def _number(self) -> int:
        with self._lock:
            self._next += 1
            return self._next

    def _client(self) -> None:
        while not self._stop.is_set():
            try:
                smtp = self._relay.client(self._key)
            except (OSError, smtplib.SMTPException):
                self._stop.wait(0.02)  # the server is down just now
                continue
            with contextlib.closing(smtp):
                self._session(smtp)

    def _session(self, smtp: smtplib.SMTP) -> None:
        while not self._stop.is_set():
            number = self._number()
            try:
                message_id = submit(smtp, self._destinations.message(number), self._destinations.recipient(number))
            except smtplib.SMTPResponseException as no:
                with self._lock:
                    self.ledger.refused[f"{no.smtp_code} {no.smtp_error!r}"] += 1
                return
            except (OSError, smtplib.SMTPException):
                with self._lock:
                    self.ledger.broken_off += 1
                return
            with self._lock:
                self.ledger.promised[number] = message_id


class Crash:
    """The rounds. ``chance`` picks moments and victims."""

    def __init__(self, site: Site, destinations: Destinations, chance: random.Random) -> None:
        self.site = site
        self.destinations = destinations
        self.chance = chance
        self.kills: list[tuple[float, Kill]] = []
        destinations.lead(site)

    def run(self, rounds: int) -> Summary:
        relay = self.site.relay()
        self._workers(0)
        relay.start()
        load = Load(relay, self.site.key, self.destinations)
        load.start()
        try:
            for number in range(rounds):
                before = load.promised
                self._more(load, before + 5)
                time.sleep(self.chance.uniform(0, 0.4))
                self._kill(relay, list(Kill)[number % len(Kill)], number)
        finally:
            load.stop()
        self._drain(relay)
        assert relay.stop() == 0
        return self._count(load.ledger)

    def _more(self, load: Load, count: int) -> None:
        def what() -> str:
            return f"letters accepted; {len(self.kills)} kills so far, {load.ledger}"

        eventually(lambda: load.promised >= count, what, timeout_s=60)

    def _kill(self, relay: Relay, kill: Kill, number: int) -> None:
        match kill:
            case Kill.GROUP:
                self._note(kill)
                relay.kill_group()
            case Kill.SUPERVISOR:
                self._note(kill)
                os.kill(relay.pid, signal.SIGKILL)
                # Its workers hear of it by end of file on a pipe; two servers on one spool would be worse than none.
                relay.wait()
            case Kill.WORKER | Kill.SIGNER:
                before = relay.workers
                victim = self.chance.choice(before if kill is Kill.WORKER else relay.signers)
                self._note(kill)
                os.kill(victim, signal.SIGKILL)
                # A worker ends with its signer; the supervisor starts another in either case.
                eventually(lambda: relay.workers != before and len(relay.workers) >= len(before), "a new worker")
                return
        self._workers(number + 1)
        relay.start()

    def _note(self, kill: Kill) -> None:
        self.kills.append((time.monotonic(), kill))

    def _workers(self, number: int) -> None:
        self.site.server = f"workers = {WORKERS[number % len(WORKERS)]}"
        self.site.write()

    def _drain(self, relay: Relay) -> None:
        """Wait until nothing is queued; events follow by their mover."""
        assert relay.running
        self.destinations.revive()
        eventually(lambda: not self.site.queue(), lambda: f"an empty queue: {self.site.queue()[:3]}", timeout_s=240)

    def _count(self, ledger: Ledger) -> Summary:
        arrived: Counter[int] = Counter()
        for sink in self.destinations.sinks:
            for (number, _), count in sink.copies().items():
                arrived[number] += count
        queued = {row["message_id"] for row in self.site.queue()}
        events = self.site.events()
        final = {event["message_id"]: event["event"] for event in events if event["event"] in FINAL}
        lost, settled = [], Counter[str]()
        for number, message_id in ledger.promised.items():
            if arrived[number]:
                settled["delivered"] += 1
            elif message_id in queued:
                settled["queued"] += 1
            elif final.get(message_id) == "bounce" and self.destinations.refuses(number):
                settled["bounced"] += 1
            else:
                lost.append(number)
        after = self._duplicates_by_kill()
        names = Counter(event["sg_event_id"] for event in events)
        ends = Counter(event["message_id"] for event in events if event["event"] in FINAL)
        return Summary(
            rounds=Counter(kill.value for _, kill in self.kills),
            promised=len(ledger.promised),
            broken_off=ledger.broken_off,
            delivered=settled["delivered"],
            queued=settled["queued"],
            bounced=settled["bounced"],
            lost=lost,
            duplicates=sum(count - 1 for count in arrived.values()),
            unexplained=after.pop(None, []),
            most_after_one_kill=max((len(numbers) for numbers in after.values()), default=0),
            doubled_events=[name for name, count in (names + ends).items() if count > 1],
            changed=self.destinations.changed(),
            faults=self.destinations.faults(),
        )

    def _duplicates_by_kill(self) -> dict[int | None, list[int]]:
        """Lay each repeated letter at the kill between its copies; None holds those with no kill between."""
        times: dict[int, list[float]] = {}
        for arrived in self.destinations.letters():
            if (number := arrived.sequence) is not None:
                times.setdefault(number, []).append(arrived.at)
        found: dict[int | None, list[int]] = {}
        for number, moments in times.items():
            for first, second in itertools.pairwise(sorted(moments)):
                between = [index for index, (at, _) in enumerate(self.kills) if first - 1 < at < second]
                found.setdefault(between[0] if between else None, []).append(number)
        return found


IN_FLIGHT_MAX = 64
"""Deliveries that one kill may repeat: eight connections to a next hop or three to each of five sets of MX hosts, the
next message already in the pipe on some, and outcomes of the last few milliseconds that were not on disk yet."""


def judge(summary: Summary) -> None:
    """Raise AssertionError unless every promise was kept."""
    assert not summary.lost, summary
    assert not summary.unexplained, summary
    assert not summary.doubled_events, summary
    assert not summary.changed, summary
    assert not summary.faults, summary.faults[:5]
    assert summary.queued == 0, summary
    assert summary.most_after_one_kill <= IN_FLIGHT_MAX, summary


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--mx", action="store_true", help="deliver to domains by DNS, not to one next hop")
    options.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF)
    chosen = options.parse_args()
    with (by_mx if chosen.mx else by_route)() as destinations:
        place = Path(tempfile.mkdtemp(prefix="sekisho-crash-"))
        seed: Seed = make_seed(place / "seed", make_certificate(place / "tls"))
        site = Site(place, seed, 0)
        chance = random.Random(chosen.seed)  # noqa: S311 - not a secret
        try:
            summary = Crash(site, destinations, chance).run(chosen.rounds)
        finally:
            site.relay().kill_group()
        print(summary)
        judge(summary)
        shutil.rmtree(place)  # kept when anything went wrong: it holds the evidence


if __name__ == "__main__":
    main()
