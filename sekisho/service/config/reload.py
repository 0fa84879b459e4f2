"""What a re-read configuration changes in a running server, and what has to wait for its next start."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from sekisho.service.config.model import KEY, Config, Key, Section, Tables

T = TypeVar("T")


def in_force(running: Config, fresh: Config) -> tuple[Config, tuple[str, ...]]:
    """Take from ``fresh`` what can change now; the result, and the keys whose change needs a restart."""
    waiting: list[str] = []
    return _merge(running, fresh, "", waiting), tuple(waiting)


def _merge(running: T, fresh: T, at: str, waiting: list[str]) -> T:
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(running):  # type: ignore[arg-type]  # T is one of the model's dataclasses
        old, new = getattr(running, field.name), getattr(fresh, field.name)
        match field.metadata.get(KEY):
            case Section(name=name):
                changes[field.name] = _merge(old, new, f"{at}{name}.", waiting)
            case Key(name=name, restart=True) | Tables(name=name, restart=True):
                changes[field.name] = old
                if old != new:
                    waiting.append(f"{at}{name}")
            case _:
                changes[field.name] = new
    return dataclasses.replace(running, **changes)  # type: ignore[type-var]  # the same
