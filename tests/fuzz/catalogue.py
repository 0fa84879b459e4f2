"""The targets by name. Imports none of them: the runner instruments what they test while it is imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent

NAMES = (
    "addresses",
    "commands",
    "content",
    "delivery",
    "dkim",
    "dns_answers",
    "domain_names",
    "encoded_words",
    "header_block",
    "lines",
    "records",
    "replies",
    "sasl",
    "session",
    "smtpapi",
    "stuffing",
    "submission",
    "verdicts",
)


@dataclass(frozen=True)
class Target:
    """One thing to be fuzzed."""

    name: str
    run: Callable[[bytes], None]
    """Raises AssertionError, or whatever the code under test lets out, when a property does not hold."""
    tokens: tuple[bytes, ...]
    """Words of the language, for whoever makes input."""


def load(name: str) -> Target:
    module = importlib.import_module(f"tests.fuzz.{name}")
    return Target(name, module.target, module.TOKENS)


def seed_folder(name: str) -> Path:
    return _HERE / "corpus" / name


def seeds(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(seed_folder(name).iterdir())]
