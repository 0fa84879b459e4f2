"""Which way imports point: down a layer, or sideways along an arrow drawn here. A new one is a choice for a review.

The table below is the whole rule; ``docs/architecture.md`` tells the reasons.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sekisho"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("secret",),  # a password is a Secret from the first line that sees it, and that line is in wire
    ("wire",),
    ("ids", "refusal", "identity", "credits", "languages", "ports"),
    ("db", "changes", "audit", "sealing", "migrations"),
    (
        *("accounts", "users", "ipaccess", "apikeys", "domains", "policy", "notices", "leaks"),
        *("factors", "sessions", "links", "teammates", "letters", "signup", "oidc"),
    ),
    ("queue", "events"),
    ("submission", "preparation", "delivery"),
    ("doors.http",),
    ("doors.smtp", "doors.health", "doors.api", "doors.dashboard", "doors.cli"),
    ("service",),
)
"""From the floor up. A module may import any layer below its own, and its own component."""

SIDEWAYS = {
    ("identity", "ids"),
    ("identity", "credits"),
    ("credits", "ids"),
    ("credits", "ports"),
    ("db", "migrations"),
    ("changes", "db"),
    ("audit", "db"),
    ("audit", "sealing"),  # heads are signed under the master key
    ("apikeys", "accounts"),
    ("apikeys", "ipaccess"),  # a key is good from the addresses on its owner's list
    ("ipaccess", "accounts"),
    ("policy", "ipaccess"),
    ("policy", "notices"),
    ("notices", "accounts"),
    ("leaks", "accounts"),
    ("leaks", "apikeys"),
    ("leaks", "notices"),
    ("users", "accounts"),
    ("sessions", "accounts"),
    ("sessions", "users"),
    ("letters", "accounts"),
    ("letters", "links"),
    ("letters", "users"),
    ("policy", "factors"),
    ("policy", "letters"),
    ("policy", "links"),
    ("policy", "oidc"),
    ("policy", "sessions"),
    ("policy", "teammates"),
    ("signup", "accounts"),
    ("signup", "letters"),
    ("signup", "links"),
    ("signup", "users"),
    ("teammates", "accounts"),
    ("teammates", "apikeys"),
    ("teammates", "letters"),
    ("teammates", "links"),
    ("teammates", "notices"),
    ("teammates", "users"),
    ("factors", "accounts"),
    ("factors", "users"),
    ("factors", "letters"),  # whose factors change is told so in the same transaction
    ("oidc", "users"),
    ("domains", "accounts"),
    ("policy", "accounts"),
    ("policy", "users"),
    ("policy", "apikeys"),
    ("policy", "domains"),
    ("events", "queue"),  # events tell what became of deliveries; the queue knows only opaque outbox rows
    ("submission", "preparation"),
    ("delivery", "preparation"),
}
"""Arrows within one layer."""

UPWARD = {
    ("doors.cli", "service"),  # the command line starts the service and reads its configuration
}
"""Arrows that go up, each with its reason."""

ONLY_FROM = {
    "sekisho.service.config": ("sekisho.service", "sekisho.doors.cli"),
    "sekisho.service.wiring": ("sekisho.service.relay", "sekisho.service.web"),
    "sekisho.doors.cli": ("sekisho.doors.cli",),
}
"""Packages that only these may import: everyone else gets plain values, and the composition root is nobody's helper."""

WIRE_MAY_USE = frozenset({"sekisho", "cryptography"}) | sys.stdlib_module_names


@dataclass(frozen=True)
class Arrow:
    """``source`` imports ``target``; both are full module names."""

    source: str
    target: str
    line: int
    at_top: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} -> {self.target}"


def module_files(root: Path) -> dict[str, Path]:
    files = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports(module: str, path: Path, known: Mapping[str, Path]) -> Iterator[Arrow]:
    tree = ast.parse(path.read_text(), str(path))
    top = {id(node) for node in tree.body}
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                targets = [name.name for name in names]
            case ast.ImportFrom(module=named, names=names, level=level):
                base = ".".join(package.split(".")[: len(package.split(".")) - level + 1]) if level else ""
                origin = ".".join(part for part in (base, named or "") if part)
                # ``from a import b``: b may be a module of its own or a name in a.
                targets = [full if (full := f"{origin}.{name.name}") in known else origin for name in names]
            case _:
                continue
        for target in targets:
            yield Arrow(module, target, node.lineno, id(node) in top)


def component(module: str) -> str:
    """The table's name: ``doors.smtp`` of ``sekisho.doors.smtp.replies``, ``queue`` of ``sekisho.queue.local``."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if parts[0] == "doors" else parts[0]


def layer(name: str) -> int | None:
    return next((rank for rank, names in enumerate(LAYERS) if name in names), None)


def fault(arrow: Arrow) -> str | None:
    """Why this import is against the table; None when it is not."""
    if arrow.target == "sekisho":  # the version
        return None
    for kept, allowed in ONLY_FROM.items():
        if within(arrow.target, kept) and not any(within(arrow.source, name) for name in (*allowed, kept)):
            return f"only {' and '.join(allowed)} may import {kept}"
    source, target = component(arrow.source), component(arrow.target)
    if source == target or (source, target) in SIDEWAYS | UPWARD:
        return None
    ours, theirs = layer(source), layer(target)
    if ours is None or theirs is None:
        return f"{source if ours is None else target} stands in no layer of the table"
    if ours > theirs:
        return None
    return "points up" if ours < theirs else "goes sideways where no arrow is drawn"


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


FILES = module_files(PACKAGE)
# Migrations are frozen history run by Alembic; their environment may see every table there is.
ARROWS = [
    arrow
    for module, path in FILES.items()
    if not within(module, "sekisho.migrations")
    for arrow in imports(module, path, FILES)
]
OURS = [arrow for arrow in ARROWS if within(arrow.target, "sekisho")]


def test_imports_point_down_or_along_a_drawn_arrow() -> None:
    found = [f"{arrow}: {why}" for arrow in OURS if arrow.source != "sekisho" and (why := fault(arrow))]
    assert not found, "\n".join(found)


def test_the_wire_needs_nothing_but_the_standard_library_and_cryptography() -> None:
    found = [
        str(arrow)
        for arrow in ARROWS
        if within(arrow.source, "sekisho.wire")
        and (
            arrow.target.split(".")[0] not in WIRE_MAY_USE
            or (within(arrow.target, "sekisho") and component(arrow.target) not in {"wire", "secret"})
        )
    ]
    assert not found, "\n".join(found)


def test_the_wire_does_no_input_or_output() -> None:
    io = {"asyncio", "socket", "ssl", "logging", "time", "threading", "sqlite3", "subprocess", "select"}
    found = [str(a) for a in ARROWS if within(a.source, "sekisho.wire") and a.target.split(".")[0] in io]
    assert not found, "\n".join(found)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for arrow in OURS:
        # A package's __init__ that names what its modules offer is no circle of the reader's.
        if arrow.at_top and arrow.target != arrow.source and arrow.target in FILES:
            graph.setdefault(arrow.source, set()).add(arrow.target)
    assert (circle := find_circle(graph)) is None, " -> ".join(circle or ())


def find_circle(graph: Mapping[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> list[str] | None:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return None
        for target in sorted(graph.get(module, ())):
            if found := visit(target, [*trail, module]):
                return found
        done.add(module)
        return None

    return next((found for module in sorted(graph) if (found := visit(module, []))), None)


def test_every_arrow_drawn_beside_or_upward_joins_components_that_exist() -> None:
    names = {name for names in LAYERS for name in names}
    assert {end for arrow in SIDEWAYS | UPWARD for end in arrow} <= names


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("sekisho.queue.local", "sekisho.delivery.scheduler", "points up"),
        ("sekisho.doors.smtp.session", "sekisho.doors.cli.queue", "only sekisho.doors.cli may import"),
        ("sekisho.doors.smtp.session", "sekisho.doors.health", "goes sideways"),
        ("sekisho.delivery.attempt", "sekisho.submission", "goes sideways"),
        ("sekisho.delivery.attempt", "sekisho.service.config", "only sekisho.service and sekisho.doors.cli"),
        ("sekisho.doors.cli.serve", "sekisho.service.wiring", "only sekisho.service.relay"),
        ("sekisho.wire.smtp.server", "sekisho.ids", "points up"),
        ("sekisho.helpers", "sekisho.ids", "stands in no layer"),
        ("sekisho.delivery.attempt", "sekisho.queue.model", None),
        ("sekisho.events.record", "sekisho.queue.spool", None),
    ],
)
def test_the_rule_can_fail(source: str, target: str, why: str | None) -> None:
    found = fault(Arrow(source, target, 1, at_top=True))
    assert found is None if why is None else why in (found or "")


def test_circles_are_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}}) is None
