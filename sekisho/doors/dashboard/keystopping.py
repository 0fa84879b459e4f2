"""Stopping a key: hold, revoke, compromised; what it can have done; letting its mail go, or dropping it."""

from __future__ import annotations

from typing import Final

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho.apikeys import actions, given, granting
from sekisho.apikeys.model import ApiKey, HoldReason
from sekisho.apikeys.tables import find_key_within
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.keys import find_in_force, owner_of
from sekisho.doors.dashboard.pages import go, page
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.radius import radius_of
from sekisho.doors.http.store import Stored
from sekisho.queue.bykey import PURGED_AT_ONCE
from sekisho.refusal import Declined

_ROWS_SHOWN: Final = 100
"""Domains and addresses; the API lists more."""


@get("/keys/{key_id:str}/stop")
async def choose(request: WebRequest, visitor: Visiting, store: Stored, key_id: FromPath[str]) -> Response[str]:
    key = await store.read(lambda tx: find_in_force(tx, visitor, key_id))
    touchable = granting.may_touch(visitor.identity, key)
    return page(request, "key-stop.html", key=key, state=key.state(visitor.now_ms), touchable=touchable)


@post("/keys/{key_id:str}/revoke")
async def revoke(request: WebRequest, visitor: Visiting, store: Stored, key_id: FromPath[str]) -> Response[str]:
    def end(tx: Connection) -> ApiKey | Declined:
        must_stand(tx, visitor)
        return actions.revoke(tx, find_in_force(tx, visitor, key_id).id, compromised=False, by=visitor.by)

    _done(await store.attempt(end))
    return go("/keys", flash="key-revoked", request=request)


@post("/keys/{key_id:str}/compromise")
async def compromise(request: WebRequest, visitor: Visiting, store: Stored, key_id: FromPath[str]) -> Response[str]:
    def end(tx: Connection) -> ApiKey | Declined:
        must_stand(tx, visitor)
        return actions.revoke(tx, _find_any(tx, visitor, key_id).id, compromised=True, by=visitor.by)

    key = _done(await store.attempt(end))
    return go(f"/keys/{key.id}/radius", flash="key-compromised", request=request)


@post("/keys/{key_id:str}/hold")
async def hold(request: WebRequest, visitor: Visiting, store: Stored, key_id: FromPath[str]) -> Response[str]:
    def stop(tx: Connection) -> ApiKey | Declined:
        key = _touchable(tx, visitor, find_in_force(tx, visitor, key_id))
        if isinstance(key, Declined):
            return key
        return actions.hold(tx, key, HoldReason.OPERATOR, "held by request", by=visitor.by)

    key = _done(await store.attempt(stop))
    return go(f"/keys/{key.id}", flash="key-held", request=request)


@get("/keys/{key_id:str}/radius")
async def radius(
    request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored, key_id: FromPath[str]
) -> Response[str]:
    key = await store.read(lambda tx: _find_any(tx, visitor, key_id))
    return await _radius(request, visitor, parts, key)


@post("/keys/{key_id:str}/release")
async def release(request: WebRequest, visitor: Visiting, store: Stored, key_id: FromPath[str]) -> Response[str]:
    def let_go(tx: Connection) -> ApiKey | Declined:
        key = _touchable(tx, visitor, _find_any(tx, visitor, key_id))
        return key if isinstance(key, Declined) else actions.release(tx, key, by=visitor.by)

    key = _done(await store.attempt(let_go))
    if key.revoked_ms is not None:
        return go(f"/keys/{key.id}/radius", flash="key-mail-released", request=request)
    # A key of a subuser has its page where the subuser is acted for.
    is_here = key.subuser_id == visitor.for_whom.subuser_id
    return go(f"/keys/{key.id}" if is_here else "/keys", flash="key-released", request=request)


@post("/keys/{key_id:str}/purge")
async def purge(
    request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored, key_id: FromPath[str]
) -> Response[str]:
    def note(tx: Connection) -> ApiKey | Declined:
        key = _touchable(tx, visitor, _find_any(tx, visitor, key_id))
        return key if isinstance(key, Declined) else actions.note_purge(tx, key, by=visitor.by)

    key = _done(await store.attempt(note))
    purged = await store.in_thread(lambda: parts.purging(key.id, PURGED_AT_ONCE))
    return await _radius(request, visitor, parts, key, purged=purged)


HANDLERS = (choose, revoke, compromise, hold, radius, release, purge)


async def _radius(
    request: WebRequest, visitor: Visitor, parts: Parts, key: ApiKey, *, purged: int | None = None
) -> Response[str]:
    found = await radius_of(key, store=parts.store, event_store=parts.event_store, spool=parts.spool)
    return page(
        request,
        "key-radius.html",
        key=key,
        state=key.state(visitor.now_ms),
        radius=found,
        queued=() if found.queued is None else found.queued[:_ROWS_SHOWN],
        addresses=() if found.used is None else found.used.addresses[:_ROWS_SHOWN],
        domains=() if found.used is None else found.used.domains[:_ROWS_SHOWN],
        is_holding=key.hold is not None or (key.compromised and key.let_go_ms is None),
        is_own=key.subuser_id == visitor.for_whom.subuser_id,
        touchable=granting.may_touch(visitor.identity, key),
        purged=purged,
    )


def _find_any(tx: Connection, visitor: Visitor, key_id: str) -> ApiKey:
    """Find a key, revoked or not; an account finds those of its subusers as well."""
    found = find_key_within(tx, owner_of(visitor), key_id)
    if found is None:
        raise PageProblem(404)
    return found


def _touchable(tx: Connection, visitor: Visitor, key: ApiKey) -> ApiKey | Declined:
    """Give a key that is to be held or set free; one that may do more than the visitor is out of reach."""
    must_stand(tx, visitor)
    return key if granting.may_touch(visitor.identity, key) else given.out_of_reach()


def _done(answer: ApiKey | Declined) -> ApiKey:
    if isinstance(answer, Declined):
        raise PageProblem(409, sentence(answer))
    return answer
