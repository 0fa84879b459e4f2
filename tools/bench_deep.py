"""``make bench-deep``: a queue of 1,000,000 messages for 10,000 domains: memory, start, and CPU per message.

The queue is filled by way of the spool's own interface, not by SMTP. The server is then started: how soon it takes a
message, how much memory it uses, and what it costs to deliver from the queue. The same from a queue that is filled by
1,000 at a time, by a process beside the running server, is what that cost is compared with.

$BENCH_DEPTH, $BENCH_MESSAGES and $BENCH_REPEATS make a shorter run. A full one takes 5 GB of disk and some minutes.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from tools.benchlib import (
    Bar,
    Sink,
    Site,
    Unfit,
    command,
    cpu_s,
    eventually,
    number,
    pss_mib,
    report,
    scratch,
    sink,
    tell,
)

_SHALLOW = 1000
_PER_DOMAIN = 100
_SIZE = 2048
_RUN = 1
_PROBE_RUN = 2


def bars(depth: int) -> tuple[Bar, Bar, Bar]:
    case = f"{depth} messages"
    return Bar("extra_pss_mib", case, 300), Bar("accepting_after_s", case, 5), Bar("cpu_ratio", case, 1.15)


def measure(bench: Path) -> None:
    depth, messages = number("BENCH_DEPTH", 1_000_000), number("BENCH_MESSAGES", 20_000)
    with scratch() as folder, sink(bench) as hop:
        empty_mib, shallow_s = from_shallow(bench, Site(folder / "shallow", {"*": hop.port}), hop, messages)
        site = Site(folder / "deep", {"*": hop.port})
        began_s = time.monotonic()
        site.fill(messages=depth, domains=max(1, depth // _PER_DOMAIN), size=_SIZE, to="deep.test")
        tell(f"filled in {time.monotonic() - began_s:.0f} s")
        accepting_s, peak_mib, deep_s = from_deep(bench, site, hop, messages)
    figures = {
        "extra_pss_mib": round(peak_mib - empty_mib, 1),
        "accepting_after_s": round(accepting_s, 2),
        "cpu_ratio": round(deep_s / shallow_s, 3),
    }
    found = {
        "depth": depth,
        "messages": messages,
        "empty_pss_mib": round(empty_mib, 1),
        "peak_pss_mib": round(peak_mib, 1),
        "cpu_s_per_1000": {"deep": round(deep_s * 1000, 3), f"{_SHALLOW} messages": round(shallow_s * 1000, 3)},
    }
    judged = [bar.judge(figures[bar.name]) for bar in bars(depth)]
    report("bench-deep", found, judged, bars(1_000_000))


def from_shallow(bench: Path, site: Site, hop: Sink, messages: int) -> tuple[float, float]:
    """Memory of a server with nothing to do, and CPU seconds per message from a queue of a thousand."""
    with site.serve() as pid:
        time.sleep(2)
        empty_mib = sum(pss_mib(pid).values())
        site.load(bench, run=_RUN, messages=200, conns=1)
        used_s = 0.0
        rounds = max(1, messages // _SHALLOW)
        for _ in range(rounds):
            hop.reset(_RUN)
            before_s = cpu_s(pid)
            site.fill(messages=_SHALLOW, domains=_SHALLOW // _PER_DOMAIN, size=_SIZE, to="deep.test", running=True)
            if hop.wait(_SHALLOW)["unique"] < _SHALLOW:
                message = "a message of the shallow queue was not delivered"
                raise Unfit(message)
            used_s += cpu_s(pid) - before_s
    tell(f"shallow: {used_s * 1000 / (rounds * _SHALLOW):.3f} ms of CPU per message")
    return empty_mib, used_s / (rounds * _SHALLOW)


def from_deep(bench: Path, site: Site, hop: Sink, messages: int) -> tuple[float, float, float]:
    """Seconds from the start to a 250, the most memory used, and CPU seconds per message from the queue."""
    samples: list[float] = []
    stopped = threading.Event()

    def watch(pid: int) -> None:
        while not stopped.wait(0.5):
            samples.append(sum(pss_mib(pid).values()))

    hop.reset(_RUN)
    began_s = time.monotonic()
    with site.serve() as pid:
        watcher = threading.Thread(target=watch, args=(pid,))
        watcher.start()
        try:
            # Of another run: the sink does not count it among those of the queue.
            site.load(bench, run=_PROBE_RUN, messages=1, conns=1)
            accepting_s = time.monotonic() - began_s
            tell(f"accepting after {accepting_s:.2f} s")
            eventually(lambda: hop.stat()["unique"] >= messages // 4, "a first part of the queue to be delivered")
            first, before_s = hop.stat()["unique"], cpu_s(pid)
            eventually(lambda: hop.stat()["unique"] >= first + messages, "the next part to be delivered", 600)
            cpu_per_message_s = (cpu_s(pid) - before_s) / (hop.stat()["unique"] - first)
        finally:
            stopped.set()
            watcher.join()
    tell(f"deep: {cpu_per_message_s * 1000:.3f} ms of CPU per message, at most {max(samples):.0f} MiB")
    return accepting_s, max(samples), cpu_per_message_s


if __name__ == "__main__":
    sys.exit(command(measure))
