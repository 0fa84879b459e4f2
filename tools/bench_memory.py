"""``make bench-memory``: memory of all processes, idle and while 64 connections send 10 KiB messages that go out.

A page that several processes share counts in parts (PSS). $BENCH_MESSAGES makes a shorter run.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tools.benchlib import Bar, Site, command, number, pss_mib, report, scratch, sink, tell

CONNS = 64
LOAD = f"{CONNS} connections"
BARS = (Bar("pss_mib", "idle", 170), Bar("pss_mib", LOAD, 230), Bar("relay_pss_mib", LOAD, 110))
_SAMPLE_S = 0.5


def measure(bench: Path) -> None:
    messages = number("BENCH_MESSAGES", 20_000)
    samples: list[dict[str, float]] = []
    stopped = threading.Event()

    def watch(pid: int) -> None:
        while not stopped.wait(_SAMPLE_S):
            samples.append(pss_mib(pid))

    with scratch() as folder, sink(bench) as hop:
        site = Site(folder / "site", {"*": hop.port})
        with site.serve() as pid:
            stopped.wait(3)
            idle = pss_mib(pid)
            tell(f"idle {sum(idle.values()):.0f} MiB")
            hop.reset(1)
            watcher = threading.Thread(target=watch, args=(pid,))
            watcher.start()
            try:
                site.load(bench, run=1, messages=messages, conns=CONNS)
                hop.wait(messages)
            finally:
                stopped.set()
                watcher.join()
    peak = max(samples, key=lambda sample: sum(sample.values()))
    figures = {
        ("pss_mib", "idle"): sum(idle.values()),
        ("pss_mib", LOAD): sum(peak.values()),
        ("relay_pss_mib", LOAD): max(relay_mib(sample) for sample in samples),
    }
    found = {"messages": messages, "idle_mib": rounded(idle), "peak_mib": rounded(peak), "samples": len(samples)}
    report("bench-memory", found, [bar.judge(round(figures[bar.name, bar.case], 1)) for bar in BARS], BARS)


def relay_mib(sample: dict[str, float]) -> float:
    """The largest of the processes called a relay worker; its signers, forked from it, carry the name too."""
    return max(mib for name, mib in sample.items() if name.startswith("sekisho-relay"))


def rounded(sample: dict[str, float]) -> dict[str, float]:
    return {name: round(mib, 1) for name, mib in sample.items()}


if __name__ == "__main__":
    sys.exit(command(measure))
