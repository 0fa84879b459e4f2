"""``make bench``: 16 and 64 connections, 10 KiB, against Postfix + OpenDKIM in one window; one JSON document on stdout.

$BENCH names the folder of the bench (default ``../shared/bench``). It may be read-only: it is copied to ``.bench`` and
built there. $BENCH_MESSAGES, $BENCH_REPEATS and $BENCH_CONNS make a shorter run, which says less.
"""

from __future__ import annotations

import sys
from functools import partial

from tools.benchlib import Bar, command
from tools.benchpeers import Matrix, compare, synced

MATRIX = Matrix(conns="16,64", sizes="10240", messages=4000)
BARS = (
    Bar("delivered_per_s_ratio", "16@10KiB", 4.0, at_least=True),
    Bar("delivered_per_s_ratio", "64@10KiB", 4.5, at_least=True),
    Bar("cpu_s_per_1000", "16@10KiB", 1.25),
    Bar("cpu_s_per_1000", "64@10KiB", 1.25),
    Bar("data_p99_ms", "64@10KiB", 60.0),
    *synced("16@10KiB"),
    *synced("64@10KiB"),
)

if __name__ == "__main__":
    sys.exit(command(partial(compare, name="bench", matrix=MATRIX, promised=BARS)))
