"""This checkout and Postfix + OpenDKIM under the same load in one window: runs, medians, ratios."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.benchlib import BUILD, COMMAND, PROJECT, Bar, Document, Unfit, number, report, tell

PEERS = ("postfix", "sekisho")

NOTHING = ("lost", "duplicates", "changed", "unsigned", "not_accepted")

Run = Mapping[str, Any]
Case = dict[str, float]
Cases = Mapping[str, Mapping[str, Case]]
"""By peer, then by case."""


@dataclass(frozen=True)
class Matrix:
    """What is run: connections (``32x``: one connection per message) by sizes."""

    conns: str
    sizes: str
    messages: int
    repeats: int = 3


def compare(bench: Path, name: str, matrix: Matrix, promised: Sequence[Bar]) -> None:
    """Run the matrix with each peer there is, and print the document."""
    cases: dict[str, dict[str, Case]] = {}
    for peer in PEERS:
        why = missing(peer)
        if why is not None:
            tell(f"{peer} is left out: {why}")
            continue
        cases[peer] = by_case(run_peer(bench, peer, matrix))
    if not cases.get("sekisho"):
        message = "nothing was measured of this checkout"
        raise Unfit(message)
    report(name, {"cases": cases, "ratios": ratios(cases)}, verdicts(cases, promised), promised)


def missing(peer: str) -> str | None:
    """Why that peer cannot run here; None when it can."""
    if peer == "postfix":
        programs = {"/usr/lib/postfix/sbin/master": "postfix", "opendkim": "opendkim", "saslpasswd2": "sasl2-bin"}
        absent = [package for program, package in programs.items() if shutil.which(program) is None]
        if absent:
            return f"install {' '.join(absent)} libsasl2-modules (apt-get, as root; no service needs to run)"
        return "run as root" if os.geteuid() else None
    return None if COMMAND.is_file() else "make install"


def run_peer(bench: Path, peer: str, matrix: Matrix) -> list[Run]:
    """Run all cases of one peer; the bench prints its own lines, which go to stderr."""
    out = BUILD / f"{peer}.jsonl"
    out.unlink(missing_ok=True)
    command = [sys.executable, str(bench / "bench.py"), "peer", peer, "--out", str(out)]
    command += ["--sizes", os.environ.get("BENCH_SIZES", matrix.sizes)]
    command += ["--conns", os.environ.get("BENCH_CONNS", matrix.conns)]
    command += ["--messages", str(number("BENCH_MESSAGES", matrix.messages))]
    command += ["--repeats", str(number("BENCH_REPEATS", matrix.repeats))]
    environment = os.environ | {"PROJECT": str(PROJECT), "BENCH_STATE": str(BUILD / "run")}
    tell(f"{peer} …")
    done = subprocess.run(command, cwd=PROJECT, env=environment, stdout=sys.stderr, check=False)
    if done.returncode or not out.exists():
        tell(f"{peer}: the bench ended with status {done.returncode}; see {BUILD / 'run' / (peer + '.log')}")
        return []
    return [json.loads(line) for line in out.read_text().splitlines()]


def case_name(run: Run) -> str:
    """``16@10KiB``; ``32x@10KiB`` with a connection per message."""
    case = run["case"]
    return f"{case['conns']}{'x' if case['per_conn'] == 1 else ''}@{case['size'] // 1024}KiB"


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


def by_case(runs: Sequence[Run]) -> dict[str, Case]:
    names = dict.fromkeys(map(case_name, runs))
    return {name: medians([run for run in runs if case_name(run) == name]) for name in names}


def ratios(cases: Cases) -> dict[str, dict[str, float]]:
    """Sekisho's figure divided by Postfix's, same window, same case."""
    ours, theirs = cases.get("sekisho", {}), cases.get("postfix", {})
    return {
        case: {
            name: round(ours[case][name] / theirs[case][name], 2)
            for name in ("accepted_per_s", "delivered_per_s", "cpu_s_per_1000", "data_p99_ms")
            if theirs[case][name]
        }
        for case in ours
        if case in theirs
    }


def verdicts(cases: Cases, promised: Sequence[Bar]) -> list[Document]:
    """Each bar that these runs can answer; nothing may be lost, doubled or changed in any case."""
    ours = cases.get("sekisho", {})
    compared = ratios(cases)
    found: list[Document] = []
    for bar in promised:
        name = bar.name.removesuffix("_ratio")
        row = ours if name == bar.name else compared
        if name in row.get(bar.case, {}):
            found.append(bar.judge(row[bar.case][name]))
    return found + [Bar(name, case, 0).judge(row[name]) for case, row in ours.items() for name in NOTHING]


def synced(case: str) -> tuple[Bar, Bar]:
    """The spool is synced, and each sync is shared: flushes of the device per message."""
    return Bar("flushes_per_msg", case, 0.001, at_least=True), Bar("flushes_per_msg", case, 0.4)
