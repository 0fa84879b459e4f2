"""The ``sekisho`` command: every subcommand in its place, and errors as one clear line."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from sekisho import __version__
from sekisho.doors.cli import (
    accounts,
    audit,
    captured,
    check,
    database,
    dev,
    domains,
    events,
    ipaccess,
    keys,
    later,
    queue,
    serve,
    subusers,
    users,
)
from sekisho.doors.cli.common import CommandError
from sekisho.doors.cli.later import NotYet
from sekisho.service.config import ConfigError
from sekisho.service.datadir import DataDirProblem
from sekisho.service.launch import StartProblem
from sekisho.service.privileges import PrivilegeProblem
from sekisho.service.sockets import BindProblem

_FAILED: Final = 1
_UNUSABLE: Final = 2
_INTERRUPTED: Final = 130

_PROBLEMS: Final = (BindProblem, CommandError, DataDirProblem, PrivilegeProblem, StartProblem)

app = typer.Typer(
    name="sekisho",
    help="A self-hosted, secure SMTP relay service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"sekisho {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version and stop.")
    ] = False,
) -> None:
    """A self-hosted, secure SMTP relay service."""


app.command("serve")(serve.serve)
app.command("dev")(dev.dev)
app.command("check")(check.check)
app.add_typer(accounts.app, name="account")
app.add_typer(subusers.app, name="subuser")
app.add_typer(users.app, name="user")
app.add_typer(keys.app, name="key")
app.add_typer(ipaccess.app, name="ip-access")
app.add_typer(domains.app, name="domain")
app.add_typer(queue.app, name="queue")
app.add_typer(captured.app, name="captured")
app.add_typer(events.app, name="events")
app.add_typer(audit.app, name="audit")
app.add_typer(database.app, name="db")

_LATER: Final = "a later release brings it"

later.add(app, "backup", "backup", _LATER)
later.add(app, "restore", "restore", _LATER)


def main() -> None:
    """Run the command line; ends the process."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit status; whatever goes wrong is one line on stderr."""
    try:
        status = app(arguments, prog_name="sekisho", standalone_mode=False)
    except TyperException as wrong:
        return _wrong_usage(wrong)
    except (ConfigError, NotYet) as problem:
        return _say(str(problem), _UNUSABLE)
    except _PROBLEMS as problem:
        return _say(str(problem), _FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output (head, a pager) has seen enough.
        _forget_stdout()
        return _FAILED
    except Exception as fault:  # noqa: BLE001 - the last resort: people get a line, not a traceback
        # A fault of ours. Its words may quote what must not be shown; its place may not.
        where = traceback.extract_tb(fault.__traceback__)[-1]
        return _say(f"internal error: {type(fault).__name__} at {Path(where.filename).name}:{where.lineno}", _FAILED)
    return status if isinstance(status, int) else 0


def _forget_stdout() -> None:
    """Send the unwritten rest nowhere: Python would complain about it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wrong_usage(wrong: TyperException) -> int:
    text = wrong.format_message()
    if "\n" in text:
        # A group without a subcommand: the text is its help.
        typer.echo(text, err=True)
        return wrong.exit_code
    context = getattr(wrong, "ctx", None)
    return _say(text, wrong.exit_code, "sekisho" if context is None else context.command_path)


_key = re.compile(r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}").sub


def _say(text: str, status: int, who: str = "sekisho") -> int:
    # Somebody typed a key where something else was asked for: it must not end in a log.
    typer.echo(f"{who}: {_key('SG.…', ' '.join(text.split()))}", err=True)
    return status
