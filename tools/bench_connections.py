"""``make bench-connections``: one connection, and a connection per message (32 at once), against Postfix + OpenDKIM.

One connection shares no sync with anybody, and connections that shake hands most of the time share few: flushes per
message are only to be there at all. $BENCH_MESSAGES (of which one
connection sends an eighth, and connections of their own a quarter) and $BENCH_REPEATS make a shorter run.
"""

from __future__ import annotations

import sys
from functools import partial

from tools.benchlib import Bar, command
from tools.benchpeers import Matrix, compare

MATRIX = Matrix(conns="1,32x", sizes="10240", messages=8000)
BARS = (
    Bar("delivered_per_s_ratio", "1@10KiB", 3.0, at_least=True),
    Bar("delivered_per_s_ratio", "32x@10KiB", 2.5, at_least=True),
    Bar("flushes_per_msg", "1@10KiB", 0.001, at_least=True),
    Bar("flushes_per_msg", "32x@10KiB", 0.001, at_least=True),
)

if __name__ == "__main__":
    sys.exit(command(partial(compare, name="bench-connections", matrix=MATRIX, promised=BARS)))
