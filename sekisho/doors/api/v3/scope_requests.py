"""``/v3/scopes/requests``: what teammates ask for (sheets accounts.md §3, api-keys-scopes.md §2)."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from litestar import Request, Response, delete, get, patch
from litestar.params import FromPath, FromQuery
from sqlalchemy import Connection

from sekisho import teammates
from sekisho.doors.api.caller import Caller, Calling
from sekisho.doors.api.paging import link_header, read_page
from sekisho.doors.api.problems import plain
from sekisho.doors.api.v3.teammates import actor_of, explained, managed
from sekisho.doors.http.store import Stored
from sekisho.refusal import Declined
from sekisho.teammates import Asked
from sekisho.users.model import User

_PATH: Final = "/v3/scopes/requests"
_SCOPES: Final = "invalid or unassignable scopes were given"


class ScopeRequestShown(msgspec.Struct, frozen=True):
    """A teammate asks for a group of scopes."""

    id: int
    scope_group_name: str
    username: str
    email: str
    first_name: str
    last_name: str


class Approved(msgspec.Struct, frozen=True):
    """The group that was given."""

    scope_group_name: str


@get(_PATH, summary="List what teammates ask for")
async def listed(
    caller: Calling,
    store: Stored,
    request: Request[object, object, object],  # type: ignore[type-var]
    limit: FromQuery[int | None] = None,
    offset: FromQuery[int | None] = None,
) -> Response[list[ScopeRequestShown]]:
    page = read_page(limit, offset)
    found = await store.read(lambda tx: teammates.requests_of(tx, caller.owner_id))
    shown = [_shown(one) for one in found[page.offset : page.offset + page.limit]]
    query = request.query_params.multi_items()
    return Response(shown, headers={"Link": link_header(_PATH, list(query), page, len(found))})


@patch("/v3/scopes/requests/{request_id:str}/approve", summary="Give a teammate the group of scopes he asks for")
async def approve(caller: Calling, store: Stored, request_id: FromPath[str]) -> Approved:
    number = _number(request_id)

    def act(tx: Connection) -> str | Declined:
        tenant = managed(tx, caller)
        asked = _find(tx, caller, number)
        after = teammates.approve(
            tx, tenant, asked, granter=caller.identity, actor_id=actor_of(tx, caller), by=caller.by
        )
        after = explained(after, _SCOPES)
        return asked.request.group if isinstance(after, User) else after

    return Approved(await store.write(act))


@delete("/v3/scopes/requests/{request_id:str}", summary="Deny a teammate what he asks for")
async def deny(caller: Calling, store: Stored, request_id: FromPath[str]) -> None:
    number = _number(request_id)

    def act(tx: Connection) -> None:
        tenant = managed(tx, caller)
        teammates.deny(tx, tenant, _find(tx, caller, number), by=caller.by)

    await store.write(act)


HANDLERS = (approve, deny, listed)


def _find(tx: Connection, caller: Caller, number: int) -> Asked:
    found = teammates.find_request(tx, caller.owner_id, number)
    if found is None:
        raise plain(404)
    return found


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII):
        raise plain(404)
    return int(text)


def _shown(one: Asked) -> ScopeRequestShown:
    person = one.person
    return ScopeRequestShown(
        one.request.id,
        one.request.group,
        person.username,
        person.email,
        person.profile.first_name,
        person.profile.last_name,
    )
