"""``make bench-burst``: how fast 64 connections get their 250s in a burst, while what they send is being delivered.

A burst is 1,500 messages after some seconds of quiet: under a load that goes on, accepting and delivering take turns.
$BENCH_MESSAGES and $BENCH_REPEATS make a shorter run, $BENCH_SIZES is the size of a message.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from tools.benchlib import Bar, Document, Sink, Site, command, cpu_s, flushes, number, report, scratch, sink, tell
from tools.benchpeers import synced

CONNS = 64
_QUIET_S = 3.0
CASE = f"{CONNS} connections"
BARS = (
    Bar("accepted_per_s", CASE, 3000, at_least=True),
    Bar("delivered_meanwhile", CASE, 1, at_least=True),
    Bar("lost", CASE, 0),
    Bar("duplicates", CASE, 0),
    *synced(CASE),
)


def measure(bench: Path) -> None:
    messages, size = number("BENCH_MESSAGES", 1500), number("BENCH_SIZES", 10240)
    with scratch() as folder, sink(bench) as hop:
        site = Site(folder / "site", {"*": hop.port})
        with site.serve() as pid:
            burst(bench, site, hop, pid, run=1, messages=500, size=size)
            runs = []
            for run in range(2, 2 + number("BENCH_REPEATS", 5)):
                runs.append(burst(bench, site, hop, pid, run=run, messages=messages, size=size))
                rate, meanwhile = runs[-1]["accepted_per_s"], runs[-1]["delivered_meanwhile"]
                tell(f"accepted {rate:.0f}/s, {meanwhile} delivered meanwhile")
    medians = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    medians |= {name: sum(run[name] for run in runs) for name in ("lost", "duplicates")}
    found = {"messages": messages, "size_bytes": size, "runs": len(runs), "medians": medians}
    report("bench-burst", found, [bar.judge(medians[bar.name]) for bar in BARS], BARS)


def burst(bench: Path, site: Site, hop: Sink, pid: int, *, run: int, messages: int, size: int) -> Document:
    time.sleep(_QUIET_S)
    hop.reset(run)
    flushed, used_s = flushes(), cpu_s(pid)
    load = site.load(bench, run=run, messages=messages, conns=CONNS, size=size)
    meanwhile = hop.stat()["unique"]
    stat = hop.wait(messages)
    return {
        "accepted_per_s": load["accepted_per_s"],
        "data_p99_ms": load["data_ms"]["p99"],
        "delivered_meanwhile": meanwhile,
        "delivered_per_s": round(stat["unique"] / (stat["t_last"] - load["t_start"]), 1),
        "cpu_s_per_1000": (cpu_s(pid) - used_s) * 1000 / messages,
        "flushes_per_msg": (flushes() - flushed) / messages,
        "lost": messages - stat["unique"],
        "duplicates": stat["duplicates"],
    }


if __name__ == "__main__":
    sys.exit(command(measure))
