"""Print the configuration reference page from the model, so that it cannot be wrong."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from sekisho.service.config.later import LATER
from sekisho.service.config.model import KEY, REQUIRED, Config, Key, Section, Tables

_HEAD = """# Configuration reference

One TOML file, given with `--config FILE`. Every key has a default; unknown keys are refused. Durations are texts
(`"500ms"`, `"30s"`, `"5m"`, `"72h"`, `"7d"`), sizes are texts or bytes (`"30MiB"`), keys ending in `_s` are plain
seconds. Relative paths count from the directory of the file.

Every key outside an array of tables can also be set as an environment variable, which wins over the file:
`SEKISHO_SERVER__HOSTNAME=relay.example.net`. Only names with two underscores are read, an unknown one is refused;
lists are written `a, b`.

SIGHUP reads the file again. What is marked *restart* takes effect only at the next start; a change of it is logged.
"""


_RESTART = " *(restart)*"


def reference() -> str:
    """The whole page, Markdown."""
    parts = [_HEAD]
    for field in dataclasses.fields(Config):
        entry = field.metadata[KEY]
        if isinstance(entry, Section):
            parts.append(_section(field.default_factory, entry.name, entry.doc, brackets=("[", "]")))
    parts.append(_later())
    return "\n".join(parts)


def _section(model: Any, name: str, doc: str, *, brackets: tuple[str, str]) -> str:
    rows, below = [], []
    for field in dataclasses.fields(model):
        match field.metadata.get(KEY):
            case Key() as key:
                rows.append(f"| `{key.name}` | {_default(key)} | {_cell(key.reader.shape)} | {_meaning(key)} |")
            case Tables() as tables:
                text = f"{tables.doc} Default: {tables.default}.{_RESTART * tables.restart}"
                below.append(_section(tables.row, f"{name}.{tables.name}", text, brackets=("[[", "]]")))
    head = (
        f"## `{brackets[0]}{name}{brackets[1]}`\n\n{doc}\n\n| key | default | values | meaning |\n|---|---|---|---|\n"
    )
    return "\n".join([head + "\n".join(rows) + "\n", *below])


def _default(key: Key) -> str:
    return "required" if key.written is REQUIRED else f"`{json.dumps(key.written)}`"


def _meaning(key: Key) -> str:
    return _cell(key.doc) + _RESTART * key.restart


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _later() -> str:
    rows = "\n".join(f"| `{name}` | {_cell(entry.what)} | {entry.brings} |" for name, entry in LATER.items())
    return f"""## Not in this version

Refused at start (exit status 2), never accepted and ignored:

| key | what | when |
|---|---|---|
{rows}
"""
