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


def measure(bench: Path) -> None:
    backlog, messages = number("BENCH_BACKLOG", 20_000), number("BENCH_MESSAGES", 8_000)
    repeats, settle_s = number("BENCH_REPEATS", 5), number("BENCH_SETTLE_S", 10)
    rates: dict[str, list[float]] = {"alone": [], "beside": []}
    lost = duplicates = 0
    with scratch() as folder, sink(bench) as hop, dead_host() as dead, slow_host() as slow:
        routes = {"dead.test": dead, "slow.test": slow, "*": hop.port}
        for run in range(2 * repeats):
            name = ("alone", "beside")[run % 2]
            site = Site(folder / str(run), routes)
            if name == "beside":
                for domain in ("dead.test", "slow.test"):
                    site.fill(messages=backlog, domains=1, size=2048, to=domain)
            with site.serve() as pid:
                time.sleep(settle_s)
                rate, missing, doubled = throughput(bench, site, hop, pid, run=run + 1, messages=messages)
            rates[name].append(rate)
            lost, duplicates = lost + missing, duplicates + doubled
            tell(f"{name}: {rate:.0f}/s")
    alone, beside = statistics.median(rates["alone"]), statistics.median(rates["beside"])
    figures = {"delivered_share": round(beside / alone, 3), "lost": lost, "duplicates": duplicates}
    found = {"backlog": backlog, "messages": messages, "settle_s": settle_s, "delivered_per_s": rates}
    report("bench-isolation", found, [bar.judge(figures[bar.name]) for bar in BARS], BARS)


def throughput(bench: Path, site: Site, hop: Sink, pid: int, *, run: int, messages: int) -> tuple[float, int, int]:
    """Delivered per second, lost, duplicates."""
    site.load(bench, run=0, messages=200, conns=4, to="other.test")
    hop.reset(run)
    used_s = cpu_s(pid)
    load = site.load(bench, run=run, messages=messages, conns=CONNS, to="other.test")
    stat = hop.wait(messages)
    tell(f"{(cpu_s(pid) - used_s) * 1000 / messages:.2f} ms of CPU per message")
    return stat["unique"] / (stat["t_last"] - load["t_start"]), messages - stat["unique"], stat["duplicates"]


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
