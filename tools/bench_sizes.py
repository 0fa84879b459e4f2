"""``make bench-sizes``: messages of 2 KiB and 100 KiB, 16 connections, against Postfix + OpenDKIM in one window.

$BENCH_MESSAGES (large ones are a quarter as many) and $BENCH_REPEATS make a shorter run.
"""

from __future__ import annotations

import sys
from functools import partial

from tools.benchlib import Bar, command
from tools.benchpeers import Matrix, compare, synced

MATRIX = Matrix(conns="16", sizes="2048,102400", messages=4000)
BARS = (
    Bar("delivered_per_s_ratio", "16@2KiB", 4.5, at_least=True),
    Bar("delivered_per_s_ratio", "16@100KiB", 2.2, at_least=True),
    *synced("16@2KiB"),
    *synced("16@100KiB"),
)

if __name__ == "__main__":
    sys.exit(command(partial(compare, name="bench-sizes", matrix=MATRIX, promised=BARS)))
