"""``sekisho key``: hold a key, let it go, drop what it has queued; and what a compromised one can have done."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from sekisho.apikeys import actions
from sekisho.apikeys.actions import no_such_key
from sekisho.apikeys.model import ApiKey, HoldReason
from sekisho.apikeys.tables import find_key
from sekisho.apikeys.used import Uses, uses
from sekisho.doors.cli.acting import by, done, moment
from sekisho.doors.cli.common import (
    CommandError,
    ConfigOption,
    DataOption,
    JsonOption,
    Site,
    emit,
    now_ms,
    open_site,
    table,
)
from sekisho.doors.cli.queueacting import open_spool
from sekisho.events.bykey import sent_by
from sekisho.queue.bykey import queued_by
from sekisho.queue.selection import Selection
from sekisho.refusal import Declined

_ID_FIRST: Final = {"ignore_unknown_options": True}
_SHOWN: Final = 20
"""Domains and addresses that people are shown; a document has a thousand."""
_LISTED: Final = 1000

_Id = Annotated[str, typer.Argument(metavar="ID", help="The middle part of the key, 22 characters.")]


def add(app: typer.Typer) -> None:
    """Put the commands there."""
    app.command(context_settings=_ID_FIRST)(hold)
    app.command(context_settings=_ID_FIRST)(release)
    app.command(context_settings=_ID_FIRST)(purge)


def hold(
    key_id: _Id,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What its owner is to read.")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a key open nothing, and its queued mail wait, until it is released."""
    with open_site(config, data) as site, site.control.begin() as tx:
        found = find_key(tx, key_id)
        key = done(no_such_key(key_id) if found is None else found)
        if key.revoked_ms is not None:
            message = f"key {key.id} is revoked; `key revoke --compromised` holds what it has queued"
            raise CommandError(message)
        held = actions.hold(tx, key, HoldReason.OPERATOR, reason or "held by the operator", by=by())
    document = {"api_key_id": held.id, "state": held.state(now_ms())}
    emit(document, as_json, f"Key {held.id} is held, and its mail with it, until `sekisho key release {held.id}`.")


def release(key_id: _Id, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let go a held key; of a compromised one the mail that it has queued."""
    with open_site(config, data) as site, site.control.begin() as tx:
        found = find_key(tx, key_id)
        key = actions.release(tx, done(no_such_key(key_id) if found is None else found), by=by())
    state = key.state(now_ms())
    works = "The key works again" if state == "active" else f"The key opens nothing: it is {state}"
    emit({"api_key_id": key.id, "state": state}, as_json, f"The mail of key {key.id} may go out. {works}.")


def purge(key_id: _Id, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Drop what a compromised or held key has queued, each recipient with its event."""
    with open_site(config, data) as site:
        with site.control.begin() as tx:
            found = find_key(tx, key_id)
            key = done(no_such_key(key_id) if found is None else found)
            if isinstance(actions.note_purge(tx, key, by=by()), Declined):
                message = f"key {key.id} is neither compromised nor held: its mail is on its way (`queue drop --key`)"
                raise CommandError(message)
        with open_spool(site) as operator:
            count = operator.drop(Selection(key=key.id))
    emit({"api_key_id": key.id, "dropped": count}, as_json, f"Dropped: {count}.")


def blast_radius(site: Site, key: ApiKey) -> dict[str, object]:
    """Say what a key can have done, and what of it is still queued on this host."""
    with site.control.connect() as tx:
        used = uses(tx, key.id)
    with site.events.connect() as tx:
        sent = sent_by(tx, key.account_id, key.id)
    queued = queued_by(site.directory.spool, key.id)
    return {
        "queued_messages": sum(one.messages for one in queued),
        "queued_recipients": sum(one.recipients for one in queued),
        "queued": [
            {"domain": one.domain, "messages": one.messages, "recipients": one.recipients} for one in queued[:_LISTED]
        ],
        "sent": {
            "messages": sent.messages,
            "delivered": sent.delivered,
            "deferred": sent.deferred,
            "bounced": sent.bounced,
            "dropped": sent.dropped,
        },
        "first_used_at": None if used is None else moment(used.first_ms),
        "last_used_at": None if used is None else moment(used.last_ms),
        "addresses": _addresses(used),
    }


def _addresses(used: Uses | None) -> list[dict[str, object]]:
    if used is None:
        return []
    return [
        {
            "ip": one.address,
            "first_at": moment(one.first_ms),
            "last_at": moment(one.last_ms),
            "recipients": one.recipients,
        }
        for one in used.addresses[:_LISTED]
    ]


def radius_text(radius: dict[str, object]) -> str:
    """Print it for people."""
    lines = [
        f"Used: {radius['first_used_at'] or 'never'} to {radius['last_used_at'] or 'never'}",
        f"Queued and held here: {radius['queued_messages']} messages, {radius['queued_recipients']} recipients",
        "Sent: " + ", ".join(f"{name} {count}" for name, count in _dict(radius["sent"]).items()),
    ]
    for title, rows in (("TO", radius["queued"]), ("FROM ADDRESS", radius["addresses"])):
        found = [_dict(row) for row in rows[:_SHOWN]] if isinstance(rows, list) else []
        if found:
            heads = [title, *(name.replace("_", " ").upper() for name in list(found[0])[1:])]
            lines += ["", table(heads, [list(row.values()) for row in found])]
    return "\n".join(lines)


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
