"""What only several processes can show: kill -9, appending at once, caps across processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from sekisho.queue.faults import EXIT_SUSPECT
from sekisho.queue.recovery import Report

from .conftest import OpenSpool
from .support import events, rows

pytestmark = pytest.mark.timeout(110)

_ROOT = Path(__file__).parents[3]


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.queue.child", str(directory), *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )


async def finish(*children: subprocess.Popen[str]) -> list[list[str]]:
    """Wait for the children's end; what else they said."""
    told = await asyncio.gather(*(asyncio.to_thread(child.communicate) for child in children))
    return [output.splitlines() for output, _ in told]


async def said(child: subprocess.Popen[str], count: int) -> list[str]:
    """Wait until it has said so much."""
    output = child.stdout
    assert output is not None
    lines = [(await asyncio.to_thread(output.readline)).rstrip() for _ in range(count)]
    assert all(lines), "the child has ended by itself"
    return lines


def of(action: str, lines: Iterable[str]) -> list[str]:
    return [line.split(" ")[1] for line in lines if line.startswith(action)]


async def test_what_was_acknowledged_survives_kill_9(open_spool: OpenSpool, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    lines: list[str] = []
    for _ in range(4):
        # Two at once, one of them killed while both are at work; then the other.
        children = [start(directory, "work") for _ in range(2)]
        for child in children:
            lines += await said(child, 50)
        children[0].kill()
        lines += await said(children[1], 50)
        children[1].kill()
        for rest in await finish(*children):
            lines += rest
    spool = open_spool()
    assert spool.report == Report()
    assert rows(directory, "PRAGMA integrity_check") == ["ok"]

    assert len(of("settled", lines)) > 100
    account_for(directory, lines)


async def test_what_was_acknowledged_survives_failing_storage(open_spool: OpenSpool, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    failing, idle = start(directory, "fail"), start(directory, "capped", "0")
    assert await said(idle, 1) == ["ready"]
    lines = await said(failing, 10)
    for rest in await finish(failing):
        lines += rest
    # The one that saw it, and the one that is told by the marker.
    await asyncio.to_thread(idle.wait)
    await finish(idle)
    assert (failing.returncode, idle.returncode) == (EXIT_SUSPECT, EXIT_SUSPECT)
    recovered = open_spool().report.recovered
    assert recovered is not None
    assert "disk I/O error" in recovered.why
    assert recovered.salvaged.damaged_places == 0
    account_for(directory, lines)


def account_for(directory: Path, lines: list[str]) -> None:
    """Compare what children were told with what is on disk."""
    queued = rows(directory, "SELECT address FROM delivery")
    delivered = [event.split(" ")[1] for event in events(directory)]
    # Everybody is in one place, once; whoever was told something is where that puts them.
    assert max(Counter(queued + delivered).values()) == 1
    assert set(of("accepted", lines)) <= set(queued + delivered)
    assert set(of("settled", lines)) <= set(delivered)
    # No message without deliveries, no delivery without its message.
    assert rows(directory, "SELECT count(*) FROM message") == [len(queued)]
    assert rows(directory, "SELECT seq FROM outbox ORDER BY seq") == list(range(1, len(delivered) + 1))


async def test_caps_are_exact_across_processes(tmp_path: Path) -> None:
    children = [start(tmp_path / "spool", "capped", "40") for _ in range(2)]
    for child in children:
        assert await said(child, 1) == ["ready"]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = Counter(line for lines in await finish(*children) for line in lines)
    assert answers == {"ok": 50, "limit.daily": 30}
    assert rows(tmp_path / "spool", "SELECT count FROM daily") == [50]
    assert rows(tmp_path / "spool", "SELECT count(*) FROM delivery") == [50]
