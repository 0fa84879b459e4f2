"""``make bench-idle``: what an idle, logged-in TLS connection costs in memory, and how long a login takes beside 5,000.

$BENCH_CONNS makes a shorter run. Both ends are on this machine: it needs as many descriptors twice, in two processes.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
import time
from pathlib import Path

import uvloop

from tools.benchlib import Bar, Site, Unfit, command, number, pss_mib, raise_descriptors, report, scratch, sink, tell

_PER_KEY = 900
"""Connections of one key; the door allows 1,000."""
_AT_ONCE = 64
_LOGINS = 20

_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_CONTEXT.check_hostname = False
_CONTEXT.verify_mode = ssl.CERT_NONE


def bars(connections: int) -> tuple[Bar, Bar]:
    case = f"{connections} connections"
    return Bar("kib_per_connection", case, 50), Bar("login_s", case, 1)


def measure(bench: Path) -> None:
    connections = number("BENCH_CONNS", 5000)
    raise_descriptors()
    with scratch() as folder, sink(bench) as hop:
        site = Site(folder / "site", {"*": hop.port}, keys=-(-connections // _PER_KEY) + 1)
        with site.serve() as pid:
            found = uvloop.run(hold(site, pid, connections))
    promised = bars(connections)
    judged = [bar.judge(found[bar.name]) for bar in promised]
    report("bench-idle", {"connections": connections, **found}, judged, bars(5000))


async def hold(site: Site, pid: int, connections: int) -> dict[str, float]:
    await login(site.port, site.keys[-1])
    empty_mib = sum(pss_mib(pid).values())
    slots = asyncio.Semaphore(_AT_ONCE)
    held: list[asyncio.StreamWriter] = []

    async def join(index: int) -> None:
        async with slots:
            held.append(await login(site.port, site.keys[index // _PER_KEY]))

    began_s = time.monotonic()
    await asyncio.gather(*map(join, range(connections)))
    opened_s = time.monotonic() - began_s
    await asyncio.sleep(2)
    full_mib = sum(pss_mib(pid).values())
    tell(f"{connections} connections in {opened_s:.1f} s: {empty_mib:.0f} MiB before, {full_mib:.0f} MiB after")
    longest_s = 0.0
    for _ in range(_LOGINS):
        began_s = time.monotonic()
        (await login(site.port, site.keys[-1])).close()
        longest_s = max(longest_s, time.monotonic() - began_s)
    if any(one.is_closing() for one in held):
        message = "some connections were closed meanwhile"
        raise Unfit(message)
    for one in held:
        one.close()
    return {
        "empty_mib": round(empty_mib, 1),
        "full_mib": round(full_mib, 1),
        "opened_s": round(opened_s, 2),
        "kib_per_connection": round((full_mib - empty_mib) * 1024 / connections, 1),
        "login_s": round(longest_s, 3),
    }


async def login(port: int, key: str) -> asyncio.StreamWriter:
    """Connect, STARTTLS, AUTH; the connection stays open as long as the writer is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await hear(reader, b"220")
    await say(reader, writer, b"EHLO client.test", b"250")
    await say(reader, writer, b"STARTTLS", b"220")
    await writer.start_tls(_CONTEXT)
    await say(reader, writer, b"EHLO client.test", b"250")
    await say(reader, writer, b"AUTH PLAIN " + base64.b64encode(f"\0apikey\0{key}".encode()), b"235")
    return writer


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes, code: bytes) -> None:
    writer.write(line + b"\r\n")
    await hear(reader, code)


async def hear(reader: asyncio.StreamReader, code: bytes) -> None:
    while (line := await reader.readline()).startswith(code):
        if line[3:4] == b" ":
            return
    message = f"{code.decode()} was expected, but {line.decode('ascii', 'replace').strip() or 'the end'} came"
    raise Unfit(message)


if __name__ == "__main__":
    sys.exit(command(measure))
