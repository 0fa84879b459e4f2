"""Run targets for a while: guided by coverage where atheris is installed, else with what Hypothesis thinks of.

    python -m tests.fuzz [NAME…] [--seconds N]     no name: all, one after the other, each in a process of its own

Findings and the inputs worth keeping are left in ``.fuzz/NAME``. Ends with 1 when something was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz import catalogue

ROOT = Path(__file__).parents[2]
INSTRUMENTED = ["sekisho", "dns", "idna"]
"""Packages whose branches guide atheris."""
LENGTH_MAX = 4096


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(catalogue.NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    given = parser.parse_args()
    names: list[str] = given.names or list(catalogue.NAMES)
    if unknown := sorted(set(names) - set(catalogue.NAMES)):
        parser.error(f"no such target: {', '.join(unknown)}")
    if len(names) == 1:
        return _run(names[0], given.seconds)
    found = [name for name in names if _in_a_child(name, given.seconds)]
    print(f"found something: {', '.join(found)}" if found else f"nothing found by {len(names)} targets")
    return 1 if found else 0


def _in_a_child(name: str, seconds: int) -> bool:
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode != 0


def _run(name: str, seconds: int) -> int:
    kept = ROOT / ".fuzz" / name
    kept.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("atheris") is None:
        return _with_hypothesis(name, seconds, kept)
    _with_atheris(name, seconds, kept)
    return 0


def _with_atheris(name: str, seconds: int, kept: Path) -> None:
    """Does not come back: libFuzzer ends the process, with 0 unless something was found."""
    import atheris  # noqa: PLC0415  # it exists for one processor only

    with atheris.instrument_imports(include=INSTRUMENTED):
        target = catalogue.load(name)
    tokens = kept / "tokens"
    tokens.write_text("".join('"' + "".join(f"\\x{octet:02x}" for octet in token) + '"\n' for token in target.tokens))
    inputs = kept / "inputs"
    inputs.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={kept}{os.sep}",
        f"-dict={tokens}",
        f"-max_len={LENGTH_MAX}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(inputs), str(catalogue.seed_folder(name))], target.run)
    atheris.Fuzz()


def _with_hypothesis(name: str, seconds: int, kept: Path) -> int:
    from tests.fuzz.making import inputs_of, sample  # noqa: PLC0415  # not needed with atheris

    target = catalogue.load(name)
    strategy = inputs_of(target)
    end = time.monotonic() + seconds
    runs = 0
    last = b""

    def run(data: bytes) -> None:
        nonlocal runs, last
        runs, last = runs + 1, data
        target.run(data)

    try:
        while time.monotonic() < end:
            sample(run, strategy, 1000)
    except Exception:
        # Hypothesis ends with the smallest input that fails.
        (kept / "finding").write_bytes(last)
        raise
    print(f"{name}: {runs} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
