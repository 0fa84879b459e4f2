"""What every command shares: the three options that may stand last, the opened site, and how an answer is printed.

A command of a capability looks like this::

    @app.command()
    def create(name: str, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
        with open_site(config, data) as site:
            ...one action with site.control.begin() as tx...
        emit({"account": name}, as_json, f"Account {name} created.")
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from sekisho.db import Database, DatabaseUnavailable, History, SchemaTooNew, SchemaTooOld, ready, upgrade
from sekisho.service import config as configuration
from sekisho.service import datadir
from sekisho.service.config import Config
from sekisho.service.datadir import DataDir
from sekisho.service.stores import stores

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (TOML).", show_default=False)
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data directory; wins over the configuration.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


DEV_CONFIG: Final = "dev.toml"
"""In a data directory of ``sekisho dev``: what it runs with."""


class CommandError(Exception):
    """A command cannot do what was asked: one line on stderr, exit status 1."""


@dataclass(frozen=True, slots=True)
class Site:
    """The configuration in force and the databases that administration acts on."""

    config: Config
    directory: DataDir
    control: Database
    events: Database
    upgraded: tuple[History, ...]
    """What had an older schema when it was opened."""

    @property
    def master_key_file(self) -> Path:
        return self.config.storage.master_key_file or self.directory.master_key


def load_config(config: Path | None, data: Path | None, *, read_secrets: bool = False) -> Config:
    """Read the configuration as ``--config`` and ``--data`` say; raises ConfigError.

    Without ``--config``, a directory of ``dev`` brings its own.
    """
    if config is None and data is not None and (data / DEV_CONFIG).is_file():
        config = data / DEV_CONFIG
    return configuration.load(config, os.environ, data_dir=data, read_secrets=read_secrets)


@contextmanager
def open_site(config: Path | None, data: Path | None, *, migrate: bool = False) -> Iterator[Site]:
    """Open what commands act on: as the data directory's owner, directory made, schema upgraded.

    On a server the schema is upgraded only with ``migrate``. What the world does to a database comes out as
    CommandError.
    """
    found = load_config(config, data)
    directory = datadir.prepare(found.server.data_dir, found.server.user)
    datadir.become_owner(directory, server=found.storage.postgres is not None)
    places = stores(found, directory)
    control, events = places.open_control(), places.open_events()
    try:
        prepare = upgrade if migrate else ready
        both = ((control, History.CONTROL), (events, History.EVENTS))
        upgraded = tuple(history for database, history in both if prepare(database, history))
        yield Site(found, directory, control, events, upgraded)
    except (DatabaseUnavailable, SchemaTooNew, SchemaTooOld) as error:
        raise CommandError(str(error)) from error
    finally:
        control.close()
        events.close()


def emit(document: Mapping[str, object] | Sequence[object], as_json: bool, text: str | Callable[[], str]) -> None:
    """Print the answer on stdout: ``document`` as one JSON line, or ``text`` for people."""
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        typer.echo(text() if callable(text) else text)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay rows out in columns for people; control characters are not passed on to the terminal."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(heads), *cells]) for column in range(len(heads))]
    lines = [heads, *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(character if character.isprintable() else "�" for character in str(value))


def now_ms() -> int:
    """The real clock, for commands."""
    return time.time_ns() // 1_000_000


def operator() -> str:
    """Who is at the keyboard, for the audit log: the login behind sudo when there is one."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
