"""``make bench-api``: how fast the Web API answers, and takes mail while it is being delivered.

A cheap GET (``/v3/scopes``) on one connection and on 16; mail/send of 10 KiB over 16 connections. $BENCH_MESSAGES and
$BENCH_REPEATS make a shorter run, $BENCH_SIZES is the size of a message.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tools import benchhttp
from tools.benchlib import Bar, Document, Sink, Site, command, cpu_s, flushes, number, report, scratch, sink, tell

CONNS = 16
GET, SEND = "GET, 1 connection", f"mail/send, {CONNS} connections"
BARS = (
    Bar("p50_ms", GET, 3),
    Bar("accepted_per_s", SEND, 700, at_least=True),
    Bar("delivered_meanwhile", SEND, 1, at_least=True),
    Bar("lost", SEND, 0),
    Bar("duplicates", SEND, 0),
    Bar("changed", SEND, 0),
)
_MASK = (1 << 64) - 1


def measure(bench: Path) -> None:
    messages, size, repeats = number("BENCH_MESSAGES", 3000), number("BENCH_SIZES", 10240), number("BENCH_REPEATS", 3)
    with scratch() as folder, sink(bench) as hop:
        site = Site(folder / "site", {"*": hop.port})
        with site.serve() as pid:
            port = urlsplit(site.ready["http"]).port or 0
            key = site.keys[0]
            get(port, key, pid, conns=1, requests=100)
            single = get(port, key, pid, conns=1, requests=500)
            many = get(port, key, pid, conns=CONNS, requests=500)
            tell(f"GET: p50 {single['p50_ms']} ms, {many['per_s']}/s over {CONNS}")
            send(port, key, hop, pid, run=1, messages=500, size=size)
            runs = [send(port, key, hop, pid, run=run, messages=messages, size=size) for run in range(2, 2 + repeats)]
    medians = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    medians |= {name: sum(run[name] for run in runs) for name in ("lost", "duplicates", "changed")}
    judged = [bar.judge(single["p50_ms"] if bar.case == GET else medians[bar.name]) for bar in BARS]
    found = {"messages": messages, "size_bytes": size, "runs": repeats, "get": single, "get_16": many, "send": medians}
    report("bench-api", found, judged, BARS)


def get(port: int, key: str, pid: int, *, conns: int, requests: int) -> Document:
    """Ask so often; all of one run stay within the 1,200 a minute that an account may read."""
    request = f"GET /v3/scopes HTTP/1.1\r\nHost: relay.test\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    used_s = cpu_s(pid)
    found = benchhttp.run(port, lambda _: request, conns=conns, requests=requests)
    return {**found, "cpu_ms_each": round((cpu_s(pid) - used_s) * 1000 / requests, 3)}


def send(port: int, key: str, hop: Sink, pid: int, *, run: int, messages: int, size: int) -> Document:
    hop.reset(run)
    flushed, used_s = flushes(), cpu_s(pid)
    load = benchhttp.run(port, mails(key, run, size), conns=CONNS, requests=messages)
    meanwhile = hop.stat()["unique"]
    stat = hop.wait(messages)
    accepted = load["statuses"].get("202", 0)
    tell(f"accepted {load['per_s']}/s, {meanwhile} delivered meanwhile, {load['statuses']} {load['first_error']}")
    return {
        "accepted_per_s": load["per_s"] if accepted == messages else 0.0,
        "p50_ms": load["p50_ms"],
        "p99_ms": load["p99_ms"],
        "delivered_meanwhile": meanwhile,
        "delivered_per_s": round(stat["unique"] / (stat["t_last"] - load["t_start"]), 1),
        "cpu_s_per_1000": (cpu_s(pid) - used_s) * 1000 / messages,
        "client_cpu_s_per_1000": load["client_cpu_s"] * 1000 / messages,
        "flushes_per_msg": (flushes() - flushed) / messages,
        "lost": accepted - stat["unique"],
        "duplicates": stat["duplicates"],
        "changed": stat["bad_body"],
    }


def mails(key: str, run: int, size: int) -> Callable[[int], bytes]:
    """Make the requests of a run: one text, and a number that the sink finds again."""
    line = "0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.\r\n"
    text = (line * (size // len(line) + 1))[: size - 2] + "\r\n"
    document = {
        "personalizations": [{"to": [{"email": "reader@sink.test"}]}],
        "from": {"email": "bench@example.test", "name": "Bench"},
        "subject": "A message of the bench",
        "content": [{"type": "text/plain", "value": text}],
        "headers": {
            "X-Bench-Run": str(run),
            "X-Bench-Seq": "SEQUENCE",
            "X-Bench-T": str(time.monotonic_ns()),
            "X-Bench-Hash": f"{_hash(text.encode()):016x}",
        },
    }
    before, after = json.dumps(document).split("SEQUENCE")
    head = (
        "POST /v3/mail/send HTTP/1.1\r\nHost: relay.test\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(before) + 8 + len(after)}\r\n\r\n"
    )
    first, last = (head + before).encode(), after.encode()
    return lambda number: b"%b%08d%b" % (first, number, last)


def _hash(body: bytes) -> int:
    """As the sink computes it."""
    found = 0x9E3779B97F4A7C15 ^ len(body)
    whole = len(body) // 8 * 8
    for at in range(0, whole, 8):
        found = (found ^ int.from_bytes(body[at : at + 8], "little")) * 0xFF51AFD7ED558CCD & _MASK
        found ^= found >> 32
    found = (found ^ int.from_bytes(body[whole:], "little")) * 0xFF51AFD7ED558CCD & _MASK
    return found ^ found >> 29


if __name__ == "__main__":
    sys.exit(command(measure))
