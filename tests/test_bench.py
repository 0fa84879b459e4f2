"""The bench command's own arithmetic: medians, ratios and the bars they are held against."""

from __future__ import annotations

from typing import Any

import pytest

from tools import bench


def run(conns: int, delivered: float, cpu: float = 1.0, p99: float = 20.0, **sink: int) -> dict[str, Any]:
    return {
        "case": {"conns": conns},
        "load": {
            "accepted_per_s": delivered,
            "messages": 100,
            "accepted": 100,
            "data_ms": {"p50": p99 / 2, "p99": p99},
        },
        "sink": sink,
        "delivered_per_s": delivered,
        "cpu_s_per_1000": cpu,
        "flushes_per_msg": 0.2,
        "peak_rss_mib": 60.0,
        "lost": 0,
    }


def judged(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[dict[str, object]]:
    return bench.verdicts({"sekisho": bench.by_case(ours), "postfix": bench.by_case(theirs)})


THEIRS = [run(16, 300.0), run(64, 300.0)]


def test_repeats_become_medians_and_losses_are_added_up() -> None:
    case = bench.by_case([run(16, 10.0), run(16, 30.0, duplicates=1), run(16, 20.0, duplicates=2)])[16]
    assert case["delivered_per_s"] == 20.0
    assert case["duplicates"] == 3
    assert case["runs"] == 3


def test_all_bars_kept() -> None:
    assert bench.verdict(judged([run(16, 1300.0), run(64, 1500.0)], THEIRS)) is True


@pytest.mark.parametrize(
    "ours",
    [
        [run(16, 1100.0), run(64, 1500.0)],
        [run(16, 1300.0), run(64, 1300.0)],
        [run(16, 1300.0, cpu=1.3), run(64, 1500.0)],
        [run(16, 1300.0), run(64, 1500.0, p99=61.0)],
        [run(16, 1300.0, duplicates=1), run(64, 1500.0)],
        [run(16, 1300.0), run(64, 1500.0, bad_body=1)],
    ],
)
def test_one_bar_missed_fails_the_whole(ours: list[dict[str, Any]]) -> None:
    assert bench.verdict(judged(ours, THEIRS)) is False


def test_without_the_peer_the_whole_is_not_judged() -> None:
    assert bench.verdict(bench.verdicts({"sekisho": bench.by_case([run(16, 1300.0), run(64, 1500.0)])})) is None
