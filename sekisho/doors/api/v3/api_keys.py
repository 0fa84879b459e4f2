"""``/v3/api_keys``: make, read, change and revoke keys (sheet api-keys-scopes.md §2)."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from litestar import delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody
from sqlalchemy import Connection

from sekisho import accounts
from sekisho.apikeys import actions, given
from sekisho.apikeys.actions import Change, Issued, Wish
from sekisho.apikeys.model import KEYS_MAX, ApiKey
from sekisho.apikeys.tables import keys_of, maker_of
from sekisho.apikeys.used import last_use
from sekisho.doors.api.caller import Caller, Calling, must_stand
from sekisho.doors.api.paging import read_page
from sekisho.doors.api.problems import ErrorItem, Problem, declined, invalid, plain
from sekisho.doors.api.v3.key_shapes import (
    KeyListed,
    KeyShown,
    PolicyBody,
    find_in_force,
    owner_of,
    policy_of,
    show_in_list,
    show_key,
)
from sekisho.doors.http.store import Store, Stored
from sekisho.refusal import Declined, Obstacle

T = TypeVar("T")


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


class KeyMade(KeyShown, frozen=True, kw_only=True):
    """A new key, with the only copy of its text that there will ever be."""

    api_key: str


class KeyList(msgspec.Struct, frozen=True):
    """Newest first."""

    result: list[KeyListed]


@post("/v3/api_keys", summary="Make an API key")
async def create(caller: Calling, store: Stored, data: JSONBody[NewKey]) -> KeyMade:
    policy = policy_of(data.policy, caller)

    def make(tx: Connection) -> Issued | Declined:
        must_stand(tx, caller)
        owner = accounts.account_by_id(tx, caller.owner_id)
        if owner is None:
            raise plain(404)
        # A teammate who makes keys by a key of his is their maker all the same.
        maker_id = maker_of(tx, caller.identity.key_id)
        wish = Wish(data.name, policy, data.scopes, canary=data.canary, maker_id=maker_id)
        return _blamed(given.issue(tx, caller.identity, owner, wish, by=caller.by))

    issued = await store.write(make, field="name")
    shown = show_key(issued.key, None, caller.now_ms)
    return KeyMade(**msgspec.structs.asdict(shown), api_key=issued.text.reveal().decode("ascii"))


@get("/v3/api_keys", summary="List API keys")
async def listed(caller: Calling, store: Stored, limit: FromQuery[int | None] = None) -> KeyList:
    page = read_page(limit, None, default=KEYS_MAX)

    def read(tx: Connection) -> list[KeyListed]:
        found = keys_of(tx, owner_of(caller), limit=page.limit)
        used = last_use(tx, [key.id for key in found])
        return [show_in_list(key, used.get(key.id), caller.now_ms) for key in found]

    return KeyList(await store.read(read))


@get("/v3/api_keys/{api_key_id:str}", summary="Read an API key")
async def read_one(caller: Calling, store: Stored, api_key_id: FromPath[str]) -> KeyShown:
    def read(tx: Connection) -> KeyShown:
        key = find_in_force(tx, caller, api_key_id)
        return show_key(key, last_use(tx, [key.id]).get(key.id), caller.now_ms)

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
        key = find_in_force(tx, caller, api_key_id)
        return actions.revoke(tx, key.id, compromised=False, by=caller.by)

    await store.write(end)


async def _change(caller: Caller, store: Store, key_id: str, change: Change, wanted: PolicyBody | None) -> KeyShown:
    policy = None if wanted is None else policy_of(wanted, caller)

    def act(tx: Connection) -> KeyShown | Declined:
        must_stand(tx, caller)
        key = find_in_force(tx, caller, key_id)
        wish = Change(change.name, change.scopes, policy)
        after = _blamed(given.change(tx, caller.identity, key, wish, by=caller.by))
        if isinstance(after, Declined):
            return after
        return show_key(after, last_use(tx, [key.id]).get(key.id), caller.now_ms)

    return await store.write(act, field="name")


def _blamed(answer: T | Declined) -> T | Declined:
    """Raise Problem when a name is not what is wrong."""
    if isinstance(answer, Declined):
        match answer.obstacle:
            case Obstacle.SCOPE_UNKNOWN | Obstacle.SCOPE_UNASSIGNABLE:
                # The vendor's sentence, and what exactly is wrong where it does not look.
                raise Problem(400, ErrorItem("invalid or unassignable scopes were given", "scopes", answer.text))
            case Obstacle.POLICY_UNASSIGNABLE:
                raise declined(answer, "policy")
    return answer


HANDLERS = (create, listed, read_one, replace, rename, revoke)
