"""Nothing that got a 250 is lost, whatever is killed and whenever."""

from __future__ import annotations

import random

import pytest

from tests.acceptance.crash import Crash, Summary, judge
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


def rounds(site: Site, sink: Sink, count: int) -> Summary:
    chance = random.Random(random.getrandbits(32))  # noqa: S311 - moments, not secrets; pytest-randomly seeds them
    with site.relay_kept():
        summary = Crash(site, sink, chance).run(count)
    print(summary)
    return summary


@pytest.mark.timeout(900)
def test_kill_9_loses_nothing(site: Site, sink: Sink) -> None:
    judge(rounds(site, sink, 20))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kill_9_loses_nothing_in_200_rounds(site: Site, sink: Sink) -> None:
    judge(rounds(site, sink, 200))
