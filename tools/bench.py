"""``make bench``: this checkout against Postfix + OpenDKIM in one window; prints one JSON document, progress on stderr.

$BENCH names the folder of the bench (default ``../shared/bench``). It may be read-only: it is copied to ``.bench`` and
built there. $BENCH_MESSAGES, $BENCH_REPEATS and $BENCH_CONNS make a shorter run, which says less.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
BUILD = PROJECT / ".bench"
PEERS = ("postfix", "sekisho")
SIZE_BYTES = 10240

Run = Mapping[str, Any]
Case = dict[str, float]


@dataclass(frozen=True)
class Bar:
    """What the project promises, and how the figure is found among the medians."""

    name: str
    conns: int
    limit: float
    at_least: bool

    def judge(self, found: float) -> dict[str, object]:
        kept = found >= self.limit if self.at_least else found <= self.limit
        return {"bar": self.name, "conns": self.conns, "limit": self.limit, "found": found, "pass": kept}


RATIOS = (Bar("delivered_ratio", 16, 4.0, at_least=True), Bar("delivered_ratio", 64, 4.5, at_least=True))
CEILINGS = (
    Bar("cpu_s_per_1000", 16, 1.25, at_least=False),
    Bar("cpu_s_per_1000", 64, 1.25, at_least=False),
    Bar("data_p99_ms", 64, 60.0, at_least=False),
)
NOTHING = ("lost", "duplicates", "changed", "unsigned", "not_accepted")


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def find_bench() -> Path | None:
    """The folder to run in, built; None, with a word on stderr, when there is none."""
    source = Path(os.environ.get("BENCH", PROJECT.parent / "shared" / "bench")).resolve()
    if not (source / "bench.py").is_file():
        tell(f"no bench at {source}: set BENCH to the folder that holds bench.py")
        return None
    if (source / "bin" / "loadgen").is_file() and (source / "state" / "tls.key").is_file():
        return source
    tell(f"{source} is not built: copying it to {BUILD.name}")
    shutil.copytree(source, BUILD, dirs_exist_ok=True, copy_function=copy_if_newer)
    for folder in (BUILD, *(path for path in BUILD.rglob("*") if path.is_dir())):
        folder.chmod(0o755)  # copied from what may be read-only, and about to be built in
    try:
        subprocess.run(["make", "-C", "src"], cwd=BUILD, check=True, stdout=sys.stderr)
        subprocess.run(["sh", "mkcerts.sh"], cwd=BUILD, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        tell(f"the bench could not be built ({error}). Debian: apt-get install gcc make libssl-dev openssl")
        return None
    return BUILD


def copy_if_newer(source: str, target: str) -> None:
    """Copy a file as writable: the original's folder may be read-only, its copy is built in."""
    there = Path(target)
    if not there.exists() or there.stat().st_mtime < Path(source).stat().st_mtime:
        there.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        there.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def missing(peer: str) -> str | None:
    """Why that peer cannot run here; None when it can."""
    if peer == "postfix":
        programs = {"/usr/lib/postfix/sbin/master": "postfix", "opendkim": "opendkim", "saslpasswd2": "sasl2-bin"}
        absent = [package for program, package in programs.items() if shutil.which(program) is None]
        if absent:
            return f"install {' '.join(absent)} libsasl2-modules (apt-get, as root; no service needs to run)"
        return "run as root" if os.geteuid() else None
    return None if (PROJECT / ".venv/bin/sekisho").is_file() else "make install"


def run_peer(bench: Path, peer: str) -> list[Run]:
    """Run all cases of one peer; the bench prints its own lines, which go to stderr."""
    out = BUILD / f"{peer}.jsonl"
    BUILD.mkdir(exist_ok=True)
    out.unlink(missing_ok=True)
    command = [sys.executable, str(bench / "bench.py"), "peer", peer, "--out", str(out), "--sizes", str(SIZE_BYTES)]
    command += ["--conns", os.environ.get("BENCH_CONNS", "16,64")]
    command += ["--messages", os.environ.get("BENCH_MESSAGES", "4000")]
    command += ["--repeats", os.environ.get("BENCH_REPEATS", "3")]
    environment = os.environ | {"PROJECT": str(PROJECT), "BENCH_STATE": str(BUILD / "run")}
    tell(f"{peer} …")
    done = subprocess.run(command, cwd=PROJECT, env=environment, stdout=sys.stderr, check=False)
    if done.returncode or not out.exists():
        tell(f"{peer}: the bench ended with status {done.returncode}; see {BUILD / 'run' / (peer + '.log')}")
        return []
    return [json.loads(line) for line in out.read_text().splitlines()]


def medians(runs: Sequence[Run]) -> Case:
    """One case's repeats as one row; what must be nothing is added up instead."""

    def median(values: Sequence[float | None]) -> float:
        known = [value for value in values if value is not None]
        return round(statistics.median(known), 3) if known else 0.0

    def sink(run: Run, name: str) -> int:
        return int((run.get("sink") or {}).get(name, 0))

    return {
        "accepted_per_s": median([run["load"]["accepted_per_s"] for run in runs]),
        "delivered_per_s": median([run.get("delivered_per_s") for run in runs]),
        "cpu_s_per_1000": median([run["cpu_s_per_1000"] for run in runs]),
        "data_p50_ms": median([(run["load"]["data_ms"] or {}).get("p50") for run in runs]),
        "data_p99_ms": median([(run["load"]["data_ms"] or {}).get("p99") for run in runs]),
        "flushes_per_msg": median([run["flushes_per_msg"] for run in runs]),
        "peak_rss_mib": median([run["peak_rss_mib"] for run in runs]),
        "other_cores": median([run.get("other_cores") for run in runs]),
        "not_accepted": sum(run["load"]["messages"] - run["load"]["accepted"] for run in runs),
        "lost": sum(run.get("lost", 0) for run in runs),
        "duplicates": sum(sink(run, "duplicates") for run in runs),
        "changed": sum(sink(run, "bad_body") for run in runs),
        "unsigned": sum(sink(run, "no_dkim") for run in runs),
        "runs": len(runs),
    }


def by_case(runs: Sequence[Run]) -> dict[int, Case]:
    conns = sorted({run["case"]["conns"] for run in runs})
    return {number: medians([run for run in runs if run["case"]["conns"] == number]) for number in conns}


def verdicts(cases: Mapping[str, Mapping[int, Case]]) -> list[dict[str, object]]:
    """Each bar that these runs can answer."""
    ours, theirs = cases.get("sekisho", {}), cases.get("postfix", {})
    found = [
        bar.judge(round(ours[bar.conns]["delivered_per_s"] / theirs[bar.conns]["delivered_per_s"], 2))
        for bar in RATIOS
        if bar.conns in ours and theirs.get(bar.conns, {}).get("delivered_per_s")
    ]
    found += [bar.judge(ours[bar.conns][bar.name]) for bar in CEILINGS if bar.conns in ours]
    found += [Bar(name, conns, 0, at_least=False).judge(case[name]) for conns, case in ours.items() for name in NOTHING]
    return found


def verdict(judged: Sequence[Mapping[str, object]]) -> bool | None:
    """Whether every bar was kept; None when a run answers only some of them (a peer missing, fewer connections)."""
    if not all(bar["pass"] for bar in judged):
        return False
    answered = {(bar["bar"], bar["conns"]) for bar in judged}
    return True if {(bar.name, bar.conns) for bar in (*RATIOS, *CEILINGS)} <= answered else None


def ratios(cases: Mapping[str, Mapping[int, Case]]) -> dict[str, dict[str, float]]:
    """Sekisho's figure divided by Postfix's, same window, same case."""
    ours, theirs = cases.get("sekisho", {}), cases.get("postfix", {})
    return {
        str(conns): {
            name: round(ours[conns][name] / theirs[conns][name], 2)
            for name in ("accepted_per_s", "delivered_per_s", "cpu_s_per_1000", "data_p99_ms")
            if theirs[conns][name]
        }
        for conns in ours
        if conns in theirs
    }


def main() -> int:
    bench = find_bench()
    if bench is None:
        return 1
    cases: dict[str, dict[int, Case]] = {}
    for peer in PEERS:
        why = missing(peer)
        if why is not None:
            tell(f"{peer} is left out: {why}")
            continue
        cases[peer] = by_case(run_peer(bench, peer))
    judged = verdicts(cases)
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "arch": platform.machine(), "python": platform.python_version()},
        "size_bytes": SIZE_BYTES,
        "cases": {peer: {str(conns): case for conns, case in rows.items()} for peer, rows in cases.items()},
        "ratios": ratios(cases),
        "bars": judged,
        "pass": verdict(judged),
    }
    print(json.dumps(document, indent=1))
    return 0 if cases.get("sekisho") else 1


if __name__ == "__main__":
    sys.exit(main())
