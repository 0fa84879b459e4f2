"""The bench commands' own arithmetic: medians, ratios and the bars they are held against."""

from __future__ import annotations

from typing import Any

import pytest

from tools.bench import BARS
from tools.benchlib import Bar, Document, verdict
from tools.benchpeers import by_case, verdicts


def run(conns: int, delivered: float, cpu: float = 1.0, p99: float = 20.0, **sink: int) -> dict[str, Any]:
    return {
        "case": {"conns": conns, "per_conn": 0, "size": 10240},
        "load": {
            "accepted_per_s": delivered,
            "messages": 100,
            "accepted": 100,
            "data_ms": {"p50": p99 / 2, "p99": p99},
        },
        "sink": sink,
        "delivered_per_s": delivered,
        "cpu_s_per_1000": cpu,
        "flushes_per_msg": sink.pop("flushes", 20) / 100,
        "peak_rss_mib": 60.0,
        "lost": 0,
    }


def judged(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[Document]:
    return verdicts({"sekisho": by_case(ours), "postfix": by_case(theirs)}, BARS)


THEIRS = [run(16, 300.0), run(64, 300.0)]


def test_repeats_become_medians_and_losses_are_added_up() -> None:
    case = by_case([run(16, 10.0), run(16, 30.0, duplicates=1), run(16, 20.0, duplicates=2)])["16@10KiB"]
    assert case["delivered_per_s"] == 20.0
    assert case["duplicates"] == 3
    assert case["runs"] == 3


def test_sizes_and_a_connection_per_message_are_cases_of_their_own() -> None:
    small, each = run(16, 10.0), run(32, 20.0)
    small["case"]["size"] = 2048
    each["case"]["per_conn"] = 1
    assert list(by_case([run(16, 1.0), small, each])) == ["16@10KiB", "16@2KiB", "32x@10KiB"]


def test_all_bars_kept() -> None:
    assert verdict(judged([run(16, 1300.0), run(64, 1500.0)], THEIRS), BARS) is True


@pytest.mark.parametrize(
    "ours",
    [
        [run(16, 1100.0), run(64, 1500.0)],
        [run(16, 1300.0), run(64, 1300.0)],
        [run(16, 1300.0, cpu=1.3), run(64, 1500.0)],
        [run(16, 1300.0), run(64, 1500.0, p99=61.0)],
        [run(16, 1300.0, duplicates=1), run(64, 1500.0)],
        [run(16, 1300.0), run(64, 1500.0, bad_body=1)],
        [run(16, 1300.0), run(64, 1500.0, flushes=0)],
        [run(16, 1300.0, flushes=41), run(64, 1500.0)],
    ],
)
def test_one_bar_missed_fails_the_whole(ours: list[dict[str, Any]]) -> None:
    assert verdict(judged(ours, THEIRS), BARS) is False


def test_without_the_peer_the_whole_is_not_judged() -> None:
    ours = by_case([run(16, 1300.0), run(64, 1500.0)])
    assert verdict(verdicts({"sekisho": ours}, BARS), BARS) is None


def test_a_shorter_run_does_not_answer_for_the_promised_case() -> None:
    promised = Bar("kib_per_connection", "5000 connections", 50)
    assert verdict([Bar("kib_per_connection", "100 connections", 50).judge(10)], [promised]) is None
