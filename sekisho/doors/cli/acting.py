"""What the commands on accounts, keys and domains share: who acts, on whose behalf, and answers turned into words."""

from __future__ import annotations

import datetime as dt
import re
from typing import TypeVar

from sqlalchemy import Connection

from sekisho import sealing
from sekisho.accounts import Account, find_account, find_subuser, no_such_account, no_such_subuser
from sekisho.audit import By
from sekisho.domains import Relay
from sekisho.doors.cli.common import CommandError, Site, now_ms, operator
from sekisho.ids import KeyId
from sekisho.refusal import Declined
from sekisho.sealing import MasterKeyUnusable, Sealer

T = TypeVar("T")


def by() -> By:
    """Say for the audit log who is at the keyboard, now."""
    return By(f"operator:{operator()}", now_ms())


def done(answer: T | Declined) -> T:
    """Pass on what an action did; what it declined becomes the command's error (and ends its transaction)."""
    if isinstance(answer, Declined):
        raise CommandError(answer.text)
    return answer


def the_account(tx: Connection, name: str) -> Account:
    found = find_account(tx, name)
    return done(no_such_account(name) if found is None else found)


def the_subuser(tx: Connection, name: str) -> Account:
    found = find_subuser(tx, name)
    return done(no_such_subuser(name) if found is None else found)


def the_owner(tx: Connection, account: str, subuser: str | None) -> Account:
    """Find whom ``--account NAME [--subuser NAME]`` means."""
    parent = the_account(tx, account)
    if subuser is None:
        return parent
    found = find_subuser(tx, subuser)
    if found is None or found.parent_id != parent.id:
        return done(no_such_subuser(subuser))
    return found


def the_key_id(text: str | None) -> KeyId | None:
    """Take ``--key ID``; whoever pastes a whole key must not find it in the audit log."""
    if text is None or _is_key_id(text):
        return None if text is None else KeyId(text)
    message = "--key takes a key's id: the 22 characters in its middle, as key list shows them"
    raise CommandError(message)


_is_key_id = re.compile(r"[A-Za-z0-9_-]{22}").fullmatch


def the_relay(site: Site) -> Relay:
    """What return-path records must point at."""
    return Relay(site.config.server.hostname, site.config.delivery.source_addresses)


def the_sealer(site: Site) -> Sealer:
    try:
        return sealing.load(site.master_key_file, make=site.config.storage.master_key_file is None)
    except MasterKeyUnusable as error:
        raise CommandError(str(error)) from error


def moment(at_ms: int | None) -> str | None:
    """Print a time for documents (RFC 3339, UTC)."""
    if at_ms is None:
        return None
    text = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")
