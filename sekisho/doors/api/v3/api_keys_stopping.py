"""``/v3/api_keys/…/compromise``: stop a key and its mail, see what it can have done, let go or drop. Ours."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from sqlalchemy import Connection

from sekisho.apikeys import actions, granting
from sekisho.apikeys.model import ApiKey, HoldReason
from sekisho.apikeys.tables import find_key_within
from sekisho.apikeys.used import last_use
from sekisho.doors.api.caller import Caller, Calling, must_stand
from sekisho.doors.api.problems import plain
from sekisho.doors.api.v3.key_shapes import KeyShown, find_in_force, owner_of, show_key
from sekisho.doors.http.radius import Radius, radius_of
from sekisho.doors.http.store import EventStored, SpoolDirectory, Stored
from sekisho.queue.bykey import PURGED_AT_ONCE, Purge, queued_by
from sekisho.refusal import Declined

Purging = NamedDependency[SkipValidation[Purge]]

_ADDRESSES_SHOWN: Final = 100
_DOMAINS_SHOWN: Final = 1000


class QueuedShown(msgspec.Struct, frozen=True):
    """Mail that waits for one domain."""

    domain: str
    messages: int
    recipients: int


class SentShown(msgspec.Struct, frozen=True):
    """What became of what was sent: recipients by outcome."""

    messages: int
    delivered: int
    deferred: int
    bounced: int
    dropped: int


class AddressShown(msgspec.Struct, frozen=True):
    """An address that the key was used from."""

    ip: str
    first_at: int
    last_at: int
    recipients: int


class BlastRadius(msgspec.Struct, frozen=True):
    """What a compromised key can have done, and what of it is still held."""

    api_key_id: str
    revoked_at: int
    queued_messages: int | None
    queued_recipients: int | None
    queued: list[QueuedShown] | None
    """By domain, most recipients first. Null: the spool cannot be read now."""
    sent: SentShown | None
    """Null: the event store cannot be read now."""
    first_used_at: int | None
    last_used_at: int | None
    addresses: list[AddressShown]
    """The latest first."""


class Released(msgspec.Struct, frozen=True):
    """A key whose mail may go out again; it opens something only when its state is ``active``."""

    api_key_id: str
    state: str


class Purged(msgspec.Struct, frozen=True):
    """Recipients that were dropped by this call, and those that are left: call again until there are none."""

    purged: int
    remaining: int


@post(
    "/v3/api_keys/{api_key_id:str}/compromise",
    summary="Revoke an API key that somebody else may have, hold its mail, and see what it can have done",
    status_code=200,
)
async def compromise(
    caller: Calling, store: Stored, event_store: EventStored, spool: SpoolDirectory, api_key_id: FromPath[str]
) -> BlastRadius:
    def end(tx: Connection) -> ApiKey | Declined:
        must_stand(tx, caller)
        key = _find_any(tx, caller, api_key_id)
        return actions.revoke(tx, key.id, compromised=True, by=caller.by)

    # In force before anything is counted.
    key = await store.write(end)
    return _shown(key, await radius_of(key, store=store, event_store=event_store, spool=spool))


@post(
    "/v3/api_keys/{api_key_id:str}/compromise/release",
    summary="Let go on the mail of a compromised or held key; a held one works again",
    status_code=200,
)
async def release(caller: Calling, store: Stored, api_key_id: FromPath[str]) -> Released:
    def let_go(tx: Connection) -> ApiKey:
        key = _touchable(tx, caller, _find_any(tx, caller, api_key_id))
        return actions.release(tx, key, by=caller.by)

    key = await store.write(let_go)
    return Released(key.id, key.state(caller.now_ms))


@post(
    "/v3/api_keys/{api_key_id:str}/hold", summary="Hold an API key and its mail until it is released", status_code=200
)
async def hold(caller: Calling, store: Stored, api_key_id: FromPath[str]) -> KeyShown:
    def stop(tx: Connection) -> KeyShown:
        key = _touchable(tx, caller, find_in_force(tx, caller, api_key_id))
        held = actions.hold(tx, key, HoldReason.OPERATOR, "held by request", by=caller.by)
        return show_key(held, last_use(tx, [key.id]).get(key.id), caller.now_ms)

    return await store.write(stop)


@post(
    "/v3/api_keys/{api_key_id:str}/compromise/purge",
    summary="Drop the mail of a compromised or held key",
    status_code=200,
)
async def purge(
    caller: Calling, store: Stored, purging: Purging, spool: SpoolDirectory, api_key_id: FromPath[str]
) -> Purged:
    def note(tx: Connection) -> ApiKey | Declined:
        return actions.note_purge(tx, _touchable(tx, caller, _find_any(tx, caller, api_key_id)), by=caller.by)

    # Told before it is done: the spool is another file, and nothing goes unnoticed.
    key = await store.write(note)
    purged = await store.in_thread(lambda: purging(key.id, PURGED_AT_ONCE))
    left = await store.in_thread(lambda: queued_by(spool, key.id))
    return Purged(purged, sum(one.recipients for one in left))


def _find_any(tx: Connection, caller: Caller, key_id: str) -> ApiKey:
    """Find a key, revoked or not; an account finds those of its subusers as well."""
    found = find_key_within(tx, owner_of(caller), key_id)
    if found is None:
        raise plain(404)
    return found


def _touchable(tx: Connection, caller: Caller, key: ApiKey) -> ApiKey:
    """Give a key that is to be held or set free; one that may do more than the caller is out of its reach."""
    must_stand(tx, caller)
    if not granting.may_touch(caller.identity, key):
        raise plain(403)
    return key


def _shown(key: ApiKey, radius: Radius) -> BlastRadius:
    used, queued, sent = radius.used, radius.queued, radius.sent
    return BlastRadius(
        api_key_id=key.id,
        revoked_at=(key.revoked_ms or 0) // 1000,
        queued_messages=radius.queued_messages,
        queued_recipients=radius.queued_recipients,
        queued=None
        if queued is None
        else [QueuedShown(one.domain, one.messages, one.recipients) for one in queued[:_DOMAINS_SHOWN]],
        sent=None
        if sent is None
        else SentShown(sent.messages, sent.delivered, sent.deferred, sent.bounced, sent.dropped),
        first_used_at=None if used is None else used.first_ms // 1000,
        last_used_at=None if used is None else used.last_ms // 1000,
        addresses=[]
        if used is None
        else [
            AddressShown(one.address, one.first_ms // 1000, one.last_ms // 1000, one.recipients)
            for one in used.addresses[:_ADDRESSES_SHOWN]
        ],
    )


HANDLERS = (compromise, release, hold, purge)
