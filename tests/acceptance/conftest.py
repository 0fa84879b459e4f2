"""What the acceptance tests share: one seeded data directory per test process, a sink and a site per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.certificates import make_certificate
from tests.acceptance.site import Seed, Site, make_seed
from tests.fakes.sink import Sink


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    folder = tmp_path_factory.mktemp("seed")
    return make_seed(folder, make_certificate(folder / "tls"))


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink
        assert not sink.faults, sink.faults


@pytest.fixture
def site(seed: Seed, sink: Sink, tmp_path: Path) -> Site:
    return Site(tmp_path, seed, sink.port)
