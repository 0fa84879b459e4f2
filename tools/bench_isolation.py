"""``make bench-isolation``: what 20,000 messages for a dead and as many for a slow host cost another destination.

Two servers in turn get the same load for the same sink; one has the 40,000 in its queue besides. The dead host refuses
connections, the slow one takes a second for each reply. $BENCH_BACKLOG, $BENCH_MESSAGES and $BENCH_REPEATS make a
shorter run; $BENCH_SETTLE_S is how long a server runs before it is measured.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.benchlib import (
    PROJECT,
    Bar,
    Sink,
    Site,
    command,
    cpu_s,
    free_port,
    number,
    report,
    scratch,
    sink,
    tell,
)

CONNS = 16
CASE = f"{CONNS} connections"
BARS = (
    Bar("delivered_share", CASE, 0.95, at_least=True),
    Bar("lost", CASE, 0),
    Bar("duplicates", CASE, 0),
)
_REPLY_S = 1.0


@dataclass(frozen=True)
class Passage:
    """What became of the load for the other destination."""

    delivered_per_s: float
    cpu_s_per_1000: float
    lost: int
    duplicates: int


def measure(bench: Path) -> None:
    backlog, messages = number("BENCH_BACKLOG", 20_000), number("BENCH_MESSAGES", 8_000)
    settle_s = number("BENCH_SETTLE_S", 10)
    alone: list[Passage] = []
    beside: list[Passage] = []
    with scratch() as folder, sink(bench) as hop, dead_host() as dead, slow_host() as slow:
        routes = {"dead.test": dead, "slow.test": slow, "*": hop.port}
        for run in range(2 * number("BENCH_REPEATS", 5)):
            site = Site(folder / str(run), routes)
            if run % 2:
                site.fill(messages=backlog, domains=1, size=2048, to="dead.test")
                site.fill(messages=backlog, domains=1, size=2048, to="slow.test")
            with site.serve() as pid:
                time.sleep(settle_s)
                passage = pass_by(bench, site, hop, pid, run=run + 1, messages=messages)
            (beside if run % 2 else alone).append(passage)
            tell(f"{'beside' if run % 2 else 'alone'}: {passage.delivered_per_s:.0f}/s")
    # Neighbours in time are compared: what the machine does besides changes in the course of minutes.
    shares = [ours.delivered_per_s / theirs.delivered_per_s for ours, theirs in zip(beside, alone, strict=True)]
    figures = {
        "delivered_share": round(statistics.median(shares), 3),
        "lost": sum(one.lost for one in alone + beside),
        "duplicates": sum(one.duplicates for one in alone + beside),
    }
    found = {
        "backlog": [backlog, backlog],
        "messages": messages,
        "settle_s": settle_s,
        "delivered_per_s": {
            "alone": [round(one.delivered_per_s) for one in alone],
            "beside": [round(one.delivered_per_s) for one in beside],
        },
        "cpu_s_per_1000": {
            "alone": round(statistics.median(one.cpu_s_per_1000 for one in alone), 3),
            "beside": round(statistics.median(one.cpu_s_per_1000 for one in beside), 3),
        },
    }
    report("bench-isolation", found, [bar.judge(figures[bar.name]) for bar in BARS], BARS)


def pass_by(bench: Path, site: Site, hop: Sink, pid: int, *, run: int, messages: int) -> Passage:
    site.load(bench, run=0, messages=200, conns=4, to="other.test")
    hop.reset(run)
    used_s = cpu_s(pid)
    load = site.load(bench, run=run, messages=messages, conns=CONNS, to="other.test")
    stat = hop.wait(messages)
    return Passage(
        delivered_per_s=stat["unique"] / (stat["t_last"] - load["t_start"]),
        cpu_s_per_1000=(cpu_s(pid) - used_s) * 1000 / messages,
        lost=messages - stat["unique"],
        duplicates=stat["duplicates"],
    )


@contextlib.contextmanager
def dead_host() -> Iterator[int]:
    """A port that nobody listens on, kept from being given to others."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


@contextlib.contextmanager
def slow_host() -> Iterator[int]:
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "tools.benchslow", str(port), str(_REPLY_S)], cwd=PROJECT) as process:
        try:
            yield port
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(command(measure))
