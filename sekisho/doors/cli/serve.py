"""``sekisho serve``: run the relay as configured."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from sekisho.doors.cli.common import ConfigOption, DataOption, JsonOption
from sekisho.service import config as configuration
from sekisho.service.launch import Announcement, Manner, launch
from sekisho.service.telemetry import LogFormat
from sekisho.service.worker import Role

RolesOption = Annotated[str, typer.Option("--roles", metavar="ROLES", help="relay,web or one of the two.")]
LogFormatOption = Annotated[LogFormat, typer.Option("--log-format", help="How log lines on stderr are written.")]


def serve(
    *,
    config: ConfigOption = None,
    data: DataOption = None,
    roles: RolesOption = "relay,web",
    log_format: LogFormatOption = LogFormat.JSON,
    as_json: JsonOption = False,
) -> None:
    """Run the relay until SIGTERM; one JSON line on stdout says that it accepts connections, logs go to stderr."""
    del as_json  # the line is JSON in any case
    from sekisho.service.parts import parts  # noqa: PLC0415 - the whole program, which no other command needs

    manner = Manner(roles=_roles(roles), log_format=log_format, announce=_announce)
    raise typer.Exit(launch(lambda: configuration.gather(config, os.environ, data_dir=data), manner, parts()))


def _announce(found: Announcement) -> None:
    say(json.dumps(found.document()))


def say(line: str) -> None:
    """Write a line to stdout, whole and at once; a reader that has gone away does not stop the server."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain about the unwritten rest again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _roles(text: str) -> frozenset[Role]:
    try:
        return frozenset(Role(word.strip()) for word in text.split(","))
    except ValueError:
        message = f"--roles {text}: must be relay,web or one of the two"
        raise typer.BadParameter(message) from None
