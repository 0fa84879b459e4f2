"""Nothing that got a 250 is lost, whatever is killed and whenever."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.acceptance.crash import Crash, judge
from tests.acceptance.destinations import Destinations, by_mx, by_route
from tests.acceptance.site import Site

Make = Callable[[], AbstractContextManager[Destinations]]


def kill(site: Site, make: Make, rounds: int) -> None:
    chance = random.Random(random.getrandbits(32))  # noqa: S311 - moments, not secrets; pytest-randomly seeds them
    with make() as destinations, site.relay_kept():
        summary = Crash(site, destinations, chance).run(rounds)
        print(summary)
        judge(summary)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("make", "rounds"), [(by_route, 10), (by_mx, 6)])
def test_kill_9_loses_nothing(site: Site, make: Make, rounds: int) -> None:
    kill(site, make, rounds)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make", [by_route, by_mx])
def test_kill_9_loses_nothing_in_200_rounds(site: Site, make: Make) -> None:
    kill(site, make, 200)
