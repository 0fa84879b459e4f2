"""``/v3/api_keys``: make, read, change and revoke keys (sheet api-keys-scopes.md §2); the kill switch is ours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec
from litestar import delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, SkipValidation
from sqlalchemy import Connection

from sekisho import accounts
from sekisho.apikeys import actions, granting, scopes
from sekisho.apikeys.actions import Change, Issued, Wish
from sekisho.apikeys.model import KEYS_MAX, ApiKey, HoldReason
from sekisho.apikeys.policy_text import PolicyFlaw, read_policy
from sekisho.apikeys.tables import Owner, find_key, find_own_key, keys_of, maker_of
from sekisho.apikeys.used import LastUse, Uses, last_use, uses
from sekisho.db import DatabaseUnavailable
from sekisho.doors.api.caller import Caller, Calling, must_stand
from sekisho.doors.api.paging import read_page
from sekisho.doors.api.problems import ErrorItem, Problem, declined, invalid, plain
from sekisho.doors.http.store import EventStored, NotDone, Overloaded, SpoolDirectory, Store, Stored
from sekisho.events.bykey import Sent, sent_by
from sekisho.identity import KeyPolicy
from sekisho.queue.bykey import Queued, queued_by
from sekisho.refusal import Declined

Purge = Callable[[str, int], int]
"""Drop about so many of a key's queued recipients, each with its event; how many. Blocks."""

Purging = NamedDependency[SkipValidation[Purge]]

PURGED_AT_ONCE: Final = 10_000

_ADDRESSES_SHOWN: Final = 100
_DOMAINS_SHOWN: Final = 1000
_UNASSIGNABLE: Final = "invalid or unassignable scopes were given"


class PolicyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a key beyond its scopes; what is left out or null is no limit. An unknown one is refused."""

    ips: list[str] | None = None
    """Addresses or networks that it is used from."""
    from_domains: list[str] | None = None
    """Domains that From may be in."""
    from_addresses: list[str] | None = None
    """Addresses that From may be."""
    rate: str | None = None
    """Recipients per time: ``10/s`` or ``600/m``."""
    daily: int | None = None
    """Recipients per UTC day."""
    max_recipients: int | None = None
    """Recipients per message."""
    expires_at: int | str | None = None
    """Epoch seconds, RFC 3339, or from now on: ``30d``."""


class NewKey(msgspec.Struct, frozen=True):
    """A key to be made. No ``scopes``: everything that the calling key may give."""

    name: str
    scopes: list[str] | None = None
    policy: PolicyBody | None = None
    canary: bool = False
    """Opens nothing, and its use alarms: a key to be stolen."""


class KeyReplaced(msgspec.Struct, frozen=True):
    """What a key is to be; no ``policy``: as it was."""

    name: str
    scopes: list[str]
    policy: PolicyBody | None = None


class KeyChanged(msgspec.Struct, frozen=True):
    """What of a key is to be otherwise."""

    name: str | None = None
    policy: PolicyBody | None = None


class PolicyShown(msgspec.Struct, frozen=True):
    """The limits of a key; null or empty: none."""

    ips: list[str]
    from_domains: list[str]
    from_addresses: list[str]
    rate: str | None
    daily: int | None
    max_recipients: int | None
    expires_at: int | None
    """Epoch seconds."""


class KeyListed(msgspec.Struct, frozen=True):
    """A key in a list. Times are epoch seconds; null: never."""

    api_key_id: str
    name: str
    state: str
    """``active``, ``held``, ``expired``, or ``canary``."""
    created_at: int
    last_used_at: int | None
    last_used_ip: str | None


class KeyShown(KeyListed, frozen=True, kw_only=True):
    """A key with what it may do; never its text."""

    scopes: list[str]
    policy: PolicyShown
    held_reason: str | None
    """Why it opens nothing until it is released; null when it does."""


class KeyMade(KeyShown, frozen=True, kw_only=True):
    """A new key, with the only copy of its text that there will ever be."""

    api_key: str


class KeyList(msgspec.Struct, frozen=True):
    """Newest first."""

    result: list[KeyListed]


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


@post("/v3/api_keys", summary="Make an API key")
async def create(caller: Calling, store: Stored, data: JSONBody[NewKey]) -> KeyMade:
    policy = _policy(data.policy, caller)
    of_subuser = caller.subuser_id is not None

    def make(tx: Connection) -> Issued | Declined:
        must_stand(tx, caller)
        wanted = granting.all_of(caller.identity, of_subuser=of_subuser) if data.scopes is None else data.scopes
        _grantable(caller, wanted)
        _check(granting.may_give_policy(caller.identity.policy, policy, makes_new=True), "policy")
        owner = accounts.account_by_id(tx, caller.owner_id)
        if owner is None:
            raise plain(404)
        # A teammate who makes keys by a key of his is their maker all the same.
        maker_id = maker_of(tx, caller.identity.key_id)
        wish = Wish(data.name, policy, wanted, canary=data.canary, maker_id=maker_id)
        return actions.issue(tx, owner, wish, by=caller.by)

    issued = await store.write(make, field="name")
    shown = _shown(issued.key, None, caller.now_ms)
    return KeyMade(**msgspec.structs.asdict(shown), api_key=issued.text.reveal().decode("ascii"))


@get("/v3/api_keys", summary="List API keys")
async def listed(caller: Calling, store: Stored, limit: FromQuery[int | None] = None) -> KeyList:
    page = read_page(limit, None, default=KEYS_MAX)

    def read(tx: Connection) -> list[KeyListed]:
        found = keys_of(tx, _owner(caller), limit=page.limit)
        used = last_use(tx, [key.id for key in found])
        return [_listed(key, used.get(key.id), caller.now_ms) for key in found]

    return KeyList(await store.read(read))


@get("/v3/api_keys/{api_key_id:str}", summary="Read an API key")
async def read_one(caller: Calling, store: Stored, api_key_id: FromPath[str]) -> KeyShown:
    def read(tx: Connection) -> KeyShown:
        key = _find(tx, caller, api_key_id)
        return _shown(key, last_use(tx, [key.id]).get(key.id), caller.now_ms)

    return await store.read(read)


@put("/v3/api_keys/{api_key_id:str}", summary="Set an API key's name and scopes")
async def replace(caller: Calling, store: Stored, api_key_id: FromPath[str], data: JSONBody[KeyReplaced]) -> KeyShown:
    if not data.scopes:
        raise invalid("scopes must name at least one scope", "scopes")
    return await _change(caller, store, api_key_id, Change(data.name, data.scopes), data.policy)


@patch("/v3/api_keys/{api_key_id:str}", summary="Change an API key's name or limits")
async def rename(caller: Calling, store: Stored, api_key_id: FromPath[str], data: JSONBody[KeyChanged]) -> KeyShown:
    if data.name is None and data.policy is None:
        raise invalid("name is required", "name")
    return await _change(caller, store, api_key_id, Change(data.name), data.policy)


@delete("/v3/api_keys/{api_key_id:str}", summary="Revoke an API key")
async def revoke(caller: Calling, store: Stored, api_key_id: FromPath[str]) -> None:
    def end(tx: Connection) -> ApiKey | Declined:
        must_stand(tx, caller)
        key = _find(tx, caller, api_key_id)
        return actions.revoke(tx, key.id, compromised=False, by=caller.by)

    await store.write(end)


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
    return await _radius(caller, key, store, event_store, spool)


@post(
    "/v3/api_keys/{api_key_id:str}/compromise/release",
    summary="Let go on the mail of a compromised or held key; a held one works again",
    status_code=200,
)
async def release(caller: Calling, store: Stored, api_key_id: FromPath[str]) -> Released:
    def let_go(tx: Connection) -> ApiKey:
        key = _touchable(tx, caller, api_key_id, _find_any)
        return actions.release(tx, key, by=caller.by)

    key = await store.write(let_go)
    return Released(key.id, key.state(caller.now_ms))


@post(
    "/v3/api_keys/{api_key_id:str}/hold", summary="Hold an API key and its mail until it is released", status_code=200
)
async def hold(caller: Calling, store: Stored, api_key_id: FromPath[str]) -> KeyShown:
    def stop(tx: Connection) -> KeyShown:
        key = _touchable(tx, caller, api_key_id, _find)
        held = actions.hold(tx, key, HoldReason.OPERATOR, "held by request", by=caller.by)
        return _shown(held, last_use(tx, [key.id]).get(key.id), caller.now_ms)

    return await store.write(stop)


@post(
    "/v3/api_keys/{api_key_id:str}/compromise/purge",
    summary="Drop the mail of a compromised or held key",
    status_code=200,
)
async def purge(
    caller: Calling, store: Stored, purging: Purging, spool: SpoolDirectory, api_key_id: FromPath[str]
) -> Purged:
    def note(tx: Connection) -> ApiKey:
        key = _touchable(tx, caller, api_key_id, _find_any)
        if key.hold is None and not key.compromised:
            raise Problem(409, ErrorItem("only the mail of a compromised or held key is purged", None))
        actions.note_purge(tx, key, by=caller.by)
        return key

    # Told before it is done: the spool is another file, and nothing goes unnoticed.
    key = await store.write(note)
    purged = await store.in_thread(lambda: purging(key.id, PURGED_AT_ONCE))
    left = await store.in_thread(lambda: queued_by(spool, key.id))
    return Purged(purged, sum(one.recipients for one in left))


# Finding: whose is what.


def _owner(caller: Caller) -> Owner:
    return Owner(caller.account_id, caller.subuser_id)


def _find(tx: Connection, caller: Caller, key_id: str) -> ApiKey:
    """Find a key in force; a revoked one, one that never was, and somebody else's are equally not found."""
    found = find_own_key(tx, _owner(caller), key_id)
    if found is None or found.revoked_ms is not None:
        raise plain(404)
    return found


def _find_any(tx: Connection, caller: Caller, key_id: str) -> ApiKey:
    """Find a key, revoked or not; an account finds those of its subusers as well."""
    found = find_key(tx, key_id)
    if found is None or found.account_id != caller.account_id or caller.subuser_id not in {None, found.subuser_id}:
        raise plain(404)
    return found


# Who may.


def _touchable(
    tx: Connection, caller: Caller, key_id: str, find: Callable[[Connection, Caller, str], ApiKey]
) -> ApiKey:
    """Find a key that is to be changed or set free; one that may do more than the caller is out of its reach."""
    must_stand(tx, caller)
    key = find(tx, caller, key_id)
    if not granting.may_touch(caller.identity, key):
        raise plain(403)
    return key


# Changing.


async def _change(caller: Caller, store: Store, key_id: str, change: Change, wanted: PolicyBody | None) -> KeyShown:
    policy = None if wanted is None else _policy(wanted, caller)

    def act(tx: Connection) -> KeyShown | Declined:
        key = _touchable(tx, caller, key_id, _find)
        if change.scopes is not None:
            _grantable(caller, change.scopes)
        if policy is not None:
            _check(granting.may_give_policy(caller.identity.policy, policy, makes_new=False), "policy")
        after = actions.change(tx, key, Change(change.name, change.scopes, policy), by=caller.by)
        if isinstance(after, Declined):
            return after
        return _shown(after, last_use(tx, [key.id]).get(key.id), caller.now_ms)

    return await store.write(act, field="name")


def _grantable(caller: Caller, wanted: Collection[str] | None) -> None:
    if wanted is None:
        return
    given = scopes.check(wanted, of_subuser=caller.subuser_id is not None)
    refusal = given if isinstance(given, Declined) else granting.may_give_scopes(caller.identity, given)
    if refusal is not None:
        # The vendor's sentence, and what exactly is wrong where it does not look.
        raise Problem(400, ErrorItem(_UNASSIGNABLE, "scopes", refusal.text))


def _check(refusal: Declined | None, field: str) -> None:
    if refusal is not None:
        raise declined(refusal, field)


def _policy(body: PolicyBody | None, caller: Caller) -> KeyPolicy:
    if body is None:
        return KeyPolicy()
    expires = body.expires_at
    found = read_policy(
        ips=body.ips or (),
        from_domains=body.from_domains or (),
        from_addresses=body.from_addresses or (),
        rate=body.rate,
        daily=body.daily,
        max_recipients=body.max_recipients,
        expires=_rfc3339(expires) if isinstance(expires, int) else expires,
        now_ms=caller.now_ms,
    )
    if isinstance(found, PolicyFlaw):
        raise invalid(f"{found.field} {found.text}", f"policy.{found.field}")
    return found


def _rfc3339(epoch_s: int) -> str:
    try:
        return dt.datetime.fromtimestamp(epoch_s, dt.UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        raise invalid("expires_at is not a time", "policy.expires_at") from None


# Showing.


def _listed(key: ApiKey, used: LastUse | None, now_ms: int) -> KeyListed:
    return KeyListed(
        api_key_id=key.id,
        name=key.name,
        state=key.state(now_ms),
        created_at=key.created_ms // 1000,
        last_used_at=None if used is None else used.at_ms // 1000,
        last_used_ip=None if used is None else used.address,
    )


def _shown(key: ApiKey, used: LastUse | None, now_ms: int) -> KeyShown:
    policy = key.policy
    return KeyShown(
        **msgspec.structs.asdict(_listed(key, used, now_ms)),
        scopes=sorted(key.scopes),
        policy=PolicyShown(
            ips=[str(network) for network in policy.ips],
            from_domains=sorted(policy.from_domains),
            from_addresses=sorted(policy.from_addresses),
            rate=None if policy.rate is None else f"{policy.rate.count}/{'s' if policy.rate.window_s == 1 else 'm'}",
            daily=policy.daily,
            max_recipients=policy.max_recipients,
            expires_at=None if policy.expires_ms is None else policy.expires_ms // 1000,
        ),
        held_reason=None if key.hold is None else key.hold.text,
    )


async def _radius(caller: Caller, key: ApiKey, store: Store, events: Store, spool: Path) -> BlastRadius:
    used = await store.read(lambda tx: uses(tx, key.id))
    # It is revoked: whatever cannot be counted now must not hide that.
    try:
        queued: Sequence[Queued] | None = await store.in_thread(lambda: queued_by(spool, key.id))
    except (Problem, NotDone, Overloaded, DatabaseUnavailable):
        queued = None
    try:
        sent: Sent | None = await events.read(lambda tx: sent_by(tx, caller.account_id, key.id))
    except (Problem, NotDone, Overloaded, DatabaseUnavailable):
        sent = None
    return _blast(key, used, queued, sent)


def _blast(key: ApiKey, used: Uses | None, queued: Sequence[Queued] | None, sent: Sent | None) -> BlastRadius:
    return BlastRadius(
        api_key_id=key.id,
        revoked_at=(key.revoked_ms or 0) // 1000,
        queued_messages=None if queued is None else sum(one.messages for one in queued),
        queued_recipients=None if queued is None else sum(one.recipients for one in queued),
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


HANDLERS = (create, listed, read_one, replace, rename, revoke, compromise, release, hold, purge)
