"""``sekisho events``: show what became of messages, from the event store."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final

import typer

from sekisho import accounts
from sekisho.db import Database
from sekisho.doors.cli.acting import the_account, the_key_id, the_subuser
from sekisho.doors.cli.common import CommandError, ConfigOption, DataOption, JsonOption, Site, open_site
from sekisho.doors.cli.eventtext import Names, document, line
from sekisho.events import log
from sekisho.events.log import Page, Selection
from sekisho.events.model import Event, EventKind
from sekisho.events.mover import Mover
from sekisho.ids import AccountId, MessageId, parse_message_id
from sekisho.queue.layout import Layout
from sekisho.queue.locks import LockTimeoutError
from sekisho.queue.outbox import OutboxReader
from sekisho.queue.schema import SpoolTooNewError
from sekisho.queue.watch import SpoolSuspectError

app = typer.Typer(no_args_is_help=True, help="What became of messages.")

_PAGE: Final = 1000
_POLL_S: Final = 0.2


@app.callback()
def _group() -> None:
    """Keep this a group, also while it has one command."""


@app.command()
def tail(
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="How many of the newest.")] = 20,
    all_: Annotated[bool, typer.Option("--all", help="Every event there is.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and show what comes.")] = False,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Of this account and its subusers.")] = None,
    subuser: Annotated[str | None, typer.Option(metavar="NAME", help="Of this subuser.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Of mail sent with this key.")] = None,
    message: Annotated[str | None, typer.Option(metavar="ID", help="Of this message (its `queued as` id).")] = None,
    kind: Annotated[EventKind | None, typer.Option("--event", help="Of this kind.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest events, oldest first; with --follow and --json, one JSON document per line."""
    with open_site(config, data) as site:
        selection = _selection(site, account=account, subuser=subuser, key=key, message=message, kind=kind)
        _catch_up(site)
        position = 0 if all_ else log.before_last(site.events, lines, selection)
        pages = _pages(site.events, position, selection, follow=follow)
        names = _Names(site.control)
        try:
            if not as_json:
                _print_each(pages, names, line)
            elif follow:
                _print_each(pages, names, lambda event, known: json.dumps(document(event, known)))
            else:
                _print_document(pages, names)
        except KeyboardInterrupt:
            # The ordinary end of --follow.
            return
        except BrokenPipeError:
            # `| head` has seen enough. Nothing more may be written, not even by the interpreter on its way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _selection(
    site: Site,
    *,
    account: str | None,
    subuser: str | None,
    key: str | None,
    message: str | None,
    kind: EventKind | None,
) -> Selection:
    with site.control.connect() as connection:
        account_id = None if account is None else the_account(connection, account).id
        subuser_id = None if subuser is None else the_subuser(connection, subuser).id
    return Selection(account_id, subuser_id, the_key_id(key), None if message is None else _message_id(message), kind)


def _message_id(text: str) -> MessageId:
    # An sg_message_id will do too: everything before its first dot.
    found = parse_message_id(text.partition(".")[0])
    if found is None:
        problem = f"{text!r} is not a message id"
        raise CommandError(problem)
    return found


def _catch_up(site: Site) -> None:
    """Move what still waits in the outbox, when no server does: a stopped one may have left something."""
    spool = site.directory.spool
    if not Layout(spool).database.exists():
        return
    once = Mover(
        Layout(spool).database,
        lambda: OutboxReader(spool),
        site.events,
        lock_path=site.directory.mover_lock,
    )
    try:
        once.run_once()
    except (LockTimeoutError, SpoolSuspectError, SpoolTooNewError, sqlite3.Error, OSError) as error:
        # What is in the store can be shown all the same.
        typer.echo(f"the newest events may be missing, they still wait in the spool: {error}", err=True)


def _pages(database: Database, position: int, selection: Selection, *, follow: bool) -> Iterator[Page]:
    """Read on from a position: to the end, or beyond it for ever, with an empty page for every look in vain."""
    while True:
        page = log.read(database, position, _PAGE, selection)
        position = page.position
        yield page
        if len(page.events) < _PAGE:
            if not follow:
                return
            time.sleep(_POLL_S)


class _Names:
    """Names of accounts and subusers, each read once."""

    def __init__(self, control: Database) -> None:
        self._control: Final = control
        self._known: Final[dict[AccountId, str]] = {}

    def of(self, page: Page) -> Names:
        """Return the names that this page needs, among others."""
        tenants = {AccountId(stored.event.account_id) for stored in page.events}
        tenants |= {AccountId(one.event.subuser_id) for one in page.events if one.event.subuser_id is not None}
        if unknown := tenants - self._known.keys():
            with self._control.connect() as connection:
                self._known.update(accounts.names(connection, unknown))
        return self._known


def _print_each(pages: Iterable[Page], names: _Names, text: Callable[[Event, Names], str]) -> None:
    for page in pages:
        if page.events:
            known = names.of(page)
            typer.echo("\n".join(text(stored.event, known) for stored in page.events))


def _print_document(pages: Iterable[Page], names: _Names) -> None:
    """Print one JSON document page by page, however many events there are."""
    typer.echo('{"events": [', nl=False)
    separator = ""
    for page in pages:
        known = names.of(page)
        for stored in page.events:
            typer.echo(separator + json.dumps(document(stored.event, known)), nl=False)
            separator = ", "
    typer.echo("]}")
