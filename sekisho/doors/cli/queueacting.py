"""What the queue's commands share: which deliveries the command line means, and the opened spool."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import typer
from sqlalchemy import Connection

from sekisho import accounts, audit
from sekisho.apikeys.tables import holding_keys
from sekisho.doors.cli.acting import by, the_account, the_key_id, the_owner, the_subuser
from sekisho.doors.cli.common import CommandError, Site, now_ms
from sekisho.events.record import encode
from sekisho.ids import AccountId, MessageId
from sekisho.ports.clock import SystemClock
from sekisho.queue.locks import LockTimeoutError
from sekisho.queue.operator import Operator
from sekisho.queue.overview import QueuedDelivery
from sekisho.queue.schema import NotASpoolError, SpoolTooNewError
from sekisho.queue.selection import Selection, parse_id
from sekisho.queue.spool import HeldSenders
from sekisho.queue.watch import SpoolSuspectError
from sekisho.service.config.values import BadValue, parse_duration


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says."""

    message: str | None
    everything: bool
    key: str | None
    account: str | None
    subuser: str | None
    domain: str | None
    older_than: str | None

    @property
    def is_empty(self) -> bool:
        return not self.everything and all(condition is None for condition in self._conditions)

    @property
    def _conditions(self) -> tuple[str | None, ...]:
        return (self.message, self.key, self.account, self.subuser, self.domain, self.older_than)

    def told(self) -> dict[str, str]:
        """Say it for the audit log."""
        names = ("id", "key", "account", "subuser", "domain", "older_than")
        said = {name: condition for name, condition in zip(names, self._conditions, strict=True) if condition}
        return said or {"all": "yes"}


def act(site: Site, wish: Wish, action: str, do: Callable[[Operator, Selection], int]) -> int:
    """Check, write the audit row, act. The audit comes first: the spool is another file, and nothing goes unnoticed."""
    if wish.is_empty:
        message = "say which: an ID, a condition such as --domain, or --all"
        raise CommandError(message)
    selection = selection_of(site, wish)
    with open_spool(site) as operator:
        whose = selection.subuser if selection.subuser is not None else selection.account
        if wish.message is not None:
            found = operator.list(selection, 1)
            if not found:
                raise not_queued(wish.message)
            whose = found[0].sender
        with site.control.begin() as tx:
            audit.record(
                tx,
                by=by(),
                action=action,
                account_id=whose,
                subject=wish.message or "",
                details=wish.told(),
            )
        return do(operator, selection)


def selection_of(site: Site, wish: Wish) -> Selection:
    message_id, recipient = (None, None) if wish.message is None else parse(wish.message)
    before_ms = None if wish.older_than is None else now_ms() - _milliseconds(wish.older_than)
    selection = Selection(
        message_id,
        recipient,
        key=the_key_id(wish.key),
        domain=None if wish.domain is None else wish.domain.lower(),
        accepted_before_ms=before_ms,
    )
    if wish.account is None and wish.subuser is None:
        return selection
    with site.control.connect() as tx:
        return _of_tenant(tx, selection, wish)


def _of_tenant(tx: Connection, selection: Selection, wish: Wish) -> Selection:
    if wish.subuser is None:
        assert wish.account is not None  # noqa: S101  # the caller's condition
        return replace(selection, account=the_account(tx, wish.account).id)
    owner = the_subuser(tx, wish.subuser) if wish.account is None else the_owner(tx, wish.account, wish.subuser)
    return replace(selection, subuser=owner.id)


def parse(text: str) -> tuple[MessageId, int | None]:
    """Read ``ID`` or ``ID.INDEX``."""
    found = parse_id(text)
    if found is None:
        message = f"{text!r} is not a message id (22 characters, as in `queued as`), nor ID.INDEX"
        raise CommandError(message)
    return found


def _milliseconds(text: str) -> int:
    try:
        return int(parse_duration(text) * 1000)
    except BadValue as error:
        message = f"--older-than {error}"
        raise CommandError(message) from error


def not_queued(text: str) -> CommandError:
    return CommandError(f"{text} is not in the queue: it reached its end, or never was here")


@contextmanager
def open_spool(site: Site) -> Iterator[Operator]:
    try:
        with Operator(site.directory.spool, clock=SystemClock(), encode=encode) as operator:
            recovered = operator.report.recovered
            if recovered is not None:
                typer.echo(
                    f"sekisho: the spool was damaged ({recovered.why}); recovered, see {recovered.aside}", err=True
                )
            yield operator
    except (LockTimeoutError, NotASpoolError, SpoolSuspectError, SpoolTooNewError) as error:
        raise CommandError(str(error)) from error
    except sqlite3.OperationalError as error:
        message = f"the spool cannot be used: {error}"
        raise CommandError(message) from error


def held_senders(site: Site) -> HeldSenders:
    """Whose mail waits because of what they are, not because of ``queue hold``."""
    with site.control.connect() as tx:
        return HeldSenders(frozenset(accounts.stopped_senders(tx).disabled), frozenset(holding_keys(tx)))


def names_of(site: Site, deliveries: tuple[QueuedDelivery, ...]) -> dict[AccountId, str]:
    ids = {AccountId(number) for each in deliveries for number in (each.account, each.sender)}
    with site.control.connect() as tx:
        return accounts.names(tx, ids)
