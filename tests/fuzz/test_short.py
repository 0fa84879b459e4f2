"""The short form: every seed of every target, and what comes to mind first, about a minute in all."""

from __future__ import annotations

import pytest

from tests.fuzz import catalogue
from tests.fuzz.making import inputs_of, sample

EXAMPLES = {"delivery": 1500, "dns_answers": 1000, "session": 1500}
EXAMPLES_OF_OTHERS = 2500


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_what_was_found_once_stays_mended(name: str) -> None:
    target = catalogue.load(name)
    found = catalogue.seeds(name)
    assert found
    for seed in found:
        target.run(seed)


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_properties_hold_for_what_comes_to_mind(name: str) -> None:
    target = catalogue.load(name)
    sample(target.run, inputs_of(target), EXAMPLES.get(name, EXAMPLES_OF_OTHERS))


def test_every_target_has_its_folder_of_seeds() -> None:
    folder = catalogue.seed_folder("")
    assert sorted(path.name for path in folder.iterdir()) == list(catalogue.NAMES)


def test_a_property_can_fail() -> None:
    target = catalogue.Target("lines", lambda data: pytest.fail("found") if b"\r\n" in data else None, (b"\r\n",))
    with pytest.raises(pytest.fail.Exception, match="found"):
        sample(target.run, inputs_of(target), EXAMPLES_OF_OTHERS)
