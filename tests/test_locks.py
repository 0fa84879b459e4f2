"""The lock files: everything that pyproject names, with hashes, without addresses, one version for both."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {name: (ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock")}


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", each) for each in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


@pytest.mark.parametrize("name", LOCKS)
def test_each_pin_has_its_hashes_and_no_address(name: str) -> None:
    entries = re.split(r"^(?=[a-z0-9])", LOCKS[name], flags=re.MULTILINE)[1:]
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"https?:|file:/|--index-url|--find-links|/\w+/", LOCKS[name]) == []


def test_what_pyproject_names_is_locked() -> None:
    runtime = names(PROJECT["project"]["dependencies"]) | names(PROJECT["build-system"]["requires"]) | {"editables"}
    assert runtime <= pins(LOCKS["requirements.lock"]).keys()
    assert names(PROJECT["project"]["optional-dependencies"]["dev"]) <= pins(LOCKS["requirements-dev.lock"]).keys()


def test_development_runs_on_the_versions_that_are_shipped() -> None:
    shipped, development = (pins(LOCKS[name]) for name in ("requirements.lock", "requirements-dev.lock"))
    assert shipped.items() <= development.items()
