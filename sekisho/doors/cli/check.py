"""``sekisho check``: is everything there that a server needs? Warnings do not fail it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import typer

from sekisho.doors.cli.common import ConfigOption, DataOption, JsonOption, emit, load_config, table
from sekisho.service import datadir, inspection
from sekisho.service.config import Config
from sekisho.service.datadir import DataDir, DataDirProblem
from sekisho.service.inspection import Finding, Grade
from sekisho.service.privileges import PrivilegeProblem, find_owner


def check(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Look at configuration, data directory, disk, ports, names, clock and certificate."""
    found = list(_look(config, data))
    failed = any(finding.grade is Grade.FAILED for finding in found)
    document = {
        "ok": not failed,
        "checks": [
            {"check": finding.subject, "status": finding.grade.value, "detail": finding.detail} for finding in found
        ],
    }
    rows = [(finding.grade.value.upper(), finding.subject, finding.detail) for finding in found]
    emit(document, as_json, lambda: table(("", "CHECK", "DETAIL"), rows))
    if failed:
        raise typer.Exit(1)


def _look(file: Path | None, data: Path | None) -> Iterator[Finding]:
    # Passwords too: that their files can be read is part of the question.
    config = load_config(file, data, read_secrets=True)
    directory = DataDir(config.server.data_dir)
    yield Finding("configuration", Grade.OK, str(file) if file is not None else "defaults and environment")
    if config.server.hostname == Config().server.hostname:
        yield Finding("configuration", Grade.WARNING, "server.hostname is still the example's: set it to this host's")
    yield from _user(config)
    # As whoever serve is started as: ports and certificates are looked at before root is given up.
    yield from inspection.ports(config, directory)
    yield from inspection.certificate(config, directory)
    yield inspection.descriptors(config)
    yield inspection.clock()
    yield from asyncio.run(inspection.names(config))
    yield from inspection.data_directory(directory.path)
    with contextlib.suppress(FileNotFoundError):
        try:
            datadir.become_owner(directory, server=config.storage.postgres is not None)
        except DataDirProblem as problem:
            yield Finding("data directory", Grade.FAILED, str(problem))
            return
    yield inspection.disk_sync(directory.path)
    if directory.path.is_dir():
        yield inspection.master_key(config, directory)
    if directory.path.is_dir() or config.storage.postgres is not None:
        yield from inspection.databases(config, directory)


def _user(config: Config) -> Iterator[Finding]:
    name = config.server.user
    if not name:
        if os.geteuid() == 0:
            yield Finding("user", Grade.WARNING, "started as root, the server stays root: set server.user")
        return
    try:
        find_owner(name)
    except PrivilegeProblem as problem:
        yield Finding("user", Grade.FAILED, str(problem))
    else:
        yield Finding("user", Grade.OK, name)
