"""``/v3/teammates``: who may log in to the account, who is invited, and what each may do (sheet accounts.md §3)."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy import Connection

from sekisho import accounts, teammates
from sekisho.accounts import Account
from sekisho.apikeys.tables import maker_of
from sekisho.doors.api.caller import Caller, Calling, must_stand
from sekisho.doors.api.paging import read_page
from sekisho.doors.api.problems import ErrorItem, Problem, invalid, plain, problem
from sekisho.doors.http.store import Stored
from sekisho.ids import UserId
from sekisho.policy.leaving import Removed, remove_teammate
from sekisho.refusal import Declined, Obstacle
from sekisho.teammates import Grant, Invitation, Permission, Rights, granting
from sekisho.users.model import Profile, User, users_of

T = TypeVar("T")

_EMAIL_MIN: Final = 5
_SCOPES_MAX: Final = 1000
_ACCESS_DEFAULT: Final = 100
_INVITE_AGAIN_S: Final = 3600
_ALL: Final = Grant(Permission.ADMIN)

# The vendor's sentences.
_NOT_FOUND: Final = "username not found"
_NOT_PENDING: Final = "invalid pending key"
_INVITE_SCOPES: Final = "invalid or unassignable scopes were given"
_CHANGE_SCOPES: Final = "one or more of given scopes are invalid"

_ABOUT_SCOPES: Final = {Obstacle.SCOPE_UNKNOWN, Obstacle.SCOPE_UNASSIGNABLE}
_AFTER: Final = "The id of the last subuser seen."


class TeammateListed(msgspec.Struct, frozen=True):
    """A person who may log in."""

    username: str
    email: str
    first_name: str
    last_name: str
    user_type: str
    """``owner``, ``admin`` or ``teammate``."""
    is_admin: bool
    phone: str
    website: str
    company: str
    address: str
    address2: str
    city: str
    state: str
    zip: str
    country: str


class TeammateShown(TeammateListed, frozen=True, kw_only=True):
    """A person with what he may do in the account itself."""

    scopes: list[str]


class TeammateList(msgspec.Struct, frozen=True):
    """In the order in which they came, the owner among them."""

    result: list[TeammateListed]


class NewTeammate(msgspec.Struct, frozen=True):
    """Whom to invite. An administrator has all scopes: then ``scopes`` is empty."""

    email: str
    scopes: list[str]
    is_admin: bool


class TeammateChanged(msgspec.Struct, frozen=True):
    """What a teammate may do from now on, all of it. An administrator has all scopes: then ``scopes`` is empty."""

    scopes: list[str]
    is_admin: bool


class Invited(msgspec.Struct, frozen=True):
    """An invitation that was sent. ``token`` names it, and opens nothing: what does is in the letter alone."""

    token: str
    email: str
    scopes: list[str]
    is_admin: bool


class Pending(Invited, frozen=True, kw_only=True):
    """An invitation that nobody has accepted yet."""

    expiration_date: int
    """Epoch seconds; resending it begins anew."""


class PendingList(msgspec.Struct, frozen=True):
    """In the order in which they were sent."""

    result: list[Pending]


class SubuserAccess(msgspec.Struct, frozen=True):
    """A subuser that a teammate may act for."""

    id: int
    username: str
    email: str
    disabled: bool
    permission_type: str
    """``admin`` or ``restricted``."""
    scopes: list[str]


class NextParams(msgspec.Struct, frozen=True):
    """What to ask for next; ``after_subuser_id`` is null at the end."""

    limit: int
    after_subuser_id: int | None
    username: str


class Metadata(msgspec.Struct, frozen=True):
    """About the page."""

    next_params: NextParams


class SubuserAccessList(msgspec.Struct, frozen=True):
    """By number of the subuser. Restricted: the teammate may act for these and does nothing in the account itself."""

    has_restricted_subuser_access: bool
    subuser_access: list[SubuserAccess]
    metadata: Metadata = msgspec.field(name="_metadata")


@get("/v3/teammates", summary="List teammates")
async def listed(
    caller: Calling, store: Stored, limit: FromQuery[int | None] = None, offset: FromQuery[int | None] = None
) -> TeammateList:
    page = read_page(limit or None, offset)
    found = await store.read(lambda tx: users_of(tx, caller.owner_id))
    chosen = () if limit == 0 else found[page.offset : page.offset + page.limit]
    return TeammateList([TeammateListed(**_fields(one)) for one in chosen])


@post("/v3/teammates", summary="Invite a teammate by mail")
async def invite(caller: Calling, store: Stored, data: JSONBody[NewTeammate]) -> Invited:
    if len(data.email) < _EMAIL_MIN:
        raise invalid(f"email must have at least {_EMAIL_MIN} characters", "email")
    rights = _rights(data)

    def act(tx: Connection) -> Invitation | Declined:
        tenant = managed(tx, caller)
        made = teammates.invite(tx, tenant, data.email, rights, granter=caller.identity, by=caller.by)
        return explained(made, _INVITE_SCOPES)

    return _invited(await store.write(act, field="email"), caller)


@get("/v3/teammates/pending", summary="List invitations that nobody has accepted yet")
async def pending(caller: Calling, store: Stored) -> PendingList:
    found = await store.read(lambda tx: teammates.pending_of(tx, caller.owner_id))
    return PendingList(
        [
            Pending(**msgspec.structs.asdict(_invited(one, caller)), expiration_date=one.expires_ms // 1000)
            for one in found
        ]
    )


@delete("/v3/teammates/pending/{token:str}", summary="Take an invitation back")
async def withdraw(caller: Calling, store: Stored, token: FromPath[str]) -> None:
    def act(tx: Connection) -> None:
        managed(tx, caller)
        teammates.withdraw(tx, _find_pending(tx, caller, token), by=caller.by)

    await store.write(act)


@post("/v3/teammates/pending/{token:str}/resend", summary="Send an invitation again", status_code=200)
async def resend(caller: Calling, store: Stored, token: FromPath[str]) -> Invited:
    def act(tx: Connection) -> Invitation | Declined:
        tenant = managed(tx, caller)
        found = _find_pending(tx, caller, token)
        again = teammates.resend(tx, tenant, found, by=caller.by)
        return explained(again, _INVITE_SCOPES)

    return _invited(await store.write(act), caller)


@get("/v3/teammates/{username:str}", summary="Read a teammate")
async def read(caller: Calling, store: Stored, username: FromPath[str]) -> TeammateShown:
    return _shown(await store.read(lambda tx: _find(tx, caller, username)), caller)


@patch("/v3/teammates/{username:str}", summary="Set what a teammate may do")
async def change(
    caller: Calling, store: Stored, username: FromPath[str], data: JSONBody[TeammateChanged]
) -> TeammateShown:
    rights = _rights(data)

    def act(tx: Connection) -> User | Declined:
        tenant = managed(tx, caller)
        person = _find(tx, caller, username)
        after = teammates.change(
            tx, tenant, person, rights, granter=caller.identity, actor_id=actor_of(tx, caller), by=caller.by
        )
        return explained(after, _CHANGE_SCOPES)

    return _shown(await store.write(act, field="scopes"), caller)


@delete("/v3/teammates/{username:str}", summary="Remove a teammate; the keys that he made stay")
async def remove(caller: Calling, store: Stored, username: FromPath[str]) -> None:
    def act(tx: Connection) -> Removed | Declined:
        tenant = managed(tx, caller)
        person = _find(tx, caller, username)
        return remove_teammate(tx, tenant, person, revoke=(), actor_id=actor_of(tx, caller), by=caller.by)

    await store.write(act, field="username")


@get("/v3/teammates/{teammate_name:str}/subuser_access", summary="Which subusers a teammate may act for")
async def subuser_access(
    caller: Calling,
    store: Stored,
    teammate_name: FromPath[str],
    after_subuser_id: Annotated[int | None, QueryParameter(description=_AFTER)] = None,
    limit: FromQuery[int | None] = None,
    username: Annotated[str | None, QueryParameter(description="Only those whose name contains it.")] = None,
) -> SubuserAccessList:
    page = read_page(limit, None, default=_ACCESS_DEFAULT)
    after = after_subuser_id or 0

    def find(tx: Connection) -> tuple[bool, list[tuple[Account, Grant]]]:
        person = _find(tx, caller, teammate_name)
        given = teammates.access_of(tx, person.id)
        chosen = [
            (subuser, access)
            for subuser in accounts.list_subusers(tx, person.tenant_id)
            if (access := _ALL if person.is_manager else given.get(subuser.id)) is not None
            and subuser.id > after
            and (username or "").lower() in subuser.name.lower()
        ]
        return bool(given), sorted(chosen, key=lambda one: one[0].id)[: page.limit + 1]

    restricted, found = await store.read(find)
    shown = found[: page.limit]
    last = shown[-1][0].id if len(found) > page.limit else None
    return SubuserAccessList(
        restricted,
        [
            SubuserAccess(
                subuser.id,
                subuser.name,
                subuser.owner_email or "",
                subuser.disabled_ms is not None,
                access.permission.value,
                sorted(access.opens),
            )
            for subuser, access in shown
        ],
        Metadata(NextParams(page.limit, last, username or "")),
    )


HANDLERS = (change, invite, listed, pending, read, remove, resend, subuser_access, withdraw)


# Who may.


def managed(tx: Connection, caller: Caller) -> Account:
    """Give the account or subuser whose teammates the caller manages; raises Problem when he does not."""
    must_stand(tx, caller)
    tenant = accounts.account_by_id(tx, caller.owner_id)
    if tenant is None:
        raise plain(404)
    if not teammates.key_manages(tx, caller.identity.key_id, tenant):
        raise plain(403)
    return tenant


def actor_of(tx: Connection, caller: Caller) -> UserId | None:
    """Say which person acts by this key: its maker, who must not reach himself by it."""
    maker_id = maker_of(tx, caller.identity.key_id)
    return None if maker_id is None else UserId(maker_id)


# Finding and reading.


def _find(tx: Connection, caller: Caller, username: str) -> User:
    found = teammates.find_teammate(tx, caller.owner_id, username)
    if found is None:
        raise problem(404, _NOT_FOUND, "username")
    return found


def _find_pending(tx: Connection, caller: Caller, token: str) -> Invitation:
    found = teammates.find_pending(tx, caller.owner_id, token)
    if found is None:
        raise problem(404, _NOT_PENDING, "pending_key")
    return found


def _rights(data: NewTeammate | TeammateChanged) -> Rights:
    if len(data.scopes) > _SCOPES_MAX:
        raise invalid(f"scopes must name at most {_SCOPES_MAX}", "scopes")
    return Rights(is_admin=data.is_admin, scopes=frozenset(data.scopes))


# Showing.


def explained(answer: T | Declined, sentence: str) -> T | Declined:
    """Raise the vendor's ``sentence`` for what is about scopes, with ours beside it."""
    if isinstance(answer, Declined):
        if answer.obstacle in _ABOUT_SCOPES:
            raise Problem(400, ErrorItem(sentence, "scopes", answer.text))
        if answer.obstacle is Obstacle.RIGHTS_MALFORMED:
            raise invalid(answer.text, "scopes")
        if answer.obstacle is Obstacle.INVITATIONS_TOO_MANY:
            raise problem(429, answer.text, headers={"Retry-After": str(_INVITE_AGAIN_S)})
    return answer


def _invited(one: Invitation, caller: Caller) -> Invited:
    scopes = granting.all_of(one.rights, of_subuser=caller.subuser_id is not None)
    return Invited(one.token, one.email, [] if one.rights.is_admin else sorted(scopes), one.rights.is_admin)


def _fields(person: User) -> dict[str, Any]:
    return {
        "username": person.username,
        "email": person.email,
        "user_type": person.role.value,
        "is_admin": person.is_manager,
        **{name: getattr(person.profile, name) for name in Profile.__struct_fields__},
    }


def _shown(person: User, caller: Caller) -> TeammateShown:
    scopes = teammates.scopes_of(person, of_subuser=caller.subuser_id is not None)
    return TeammateShown(**_fields(person), scopes=sorted(scopes))
