"""Teammates: who they are, what each may do, and letting one go with the keys that he made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho import accounts, teammates, users
from sekisho.accounts import Account
from sekisho.apikeys.model import ApiKey
from sekisho.apikeys.tables import keys_made_by
from sekisho.apikeys.used import LastUse, last_use
from sekisho.doors.dashboard import rightsform
from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.forms import Form, read_form
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.rightsform import RightsForm
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Store, Stored
from sekisho.ids import AccountId
from sekisho.policy.leaving import Removed, remove_teammate
from sekisho.refusal import Declined
from sekisho.teammates import Asked, Grant, Invitation, Rights
from sekisho.users import Role, User

REVOKE: Final = "revoke"
KEEP: Final = "keep"

_NAME_MAX: Final = 254


@dataclass(frozen=True, slots=True)
class Made:
    """A key that a teammate made."""

    key: ApiKey
    owner: str
    """Whose it is: the account's, or a subuser's."""
    used: LastUse | None


@get("/teammates")
async def listed(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    def look(tx: Connection) -> tuple[tuple[User, ...], tuple[Invitation, ...], tuple[Asked, ...]]:
        tenant_id = visitor.owner_id
        return (
            tuple(users.users_of(tx, tenant_id)),
            teammates.pending_of(tx, tenant_id),
            teammates.requests_of(tx, tenant_id),
        )

    people, pending, asked = await store.read(look)
    return page(request, "teammates.html", people=people, pending=pending, asked=asked, now_ms=visitor.now_ms)


@get("/teammates/{name:str}")
async def one(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    def look(tx: Connection) -> tuple[User, Rights, dict[AccountId, str]]:
        person = _find(tx, visitor, name)
        rights = teammates.rights_of(tx, person)
        return person, rights, accounts.names(tx, rights.access or ())

    person, rights, named = await store.read(look)
    given = [(named[number], grant) for number, grant in (rights.access or {}).items()]
    return page(
        request,
        "teammate.html",
        person=person,
        rights=rights,
        given=sorted(given, key=lambda pair: pair[0]),
        path=_path(person.username),
        reachable=teammates.out_of_reach(person, visitor.person.id) is None,
    )


@get("/teammates/{name:str}/edit")
async def edit(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    return await _form(request, visitor, store, name)


@post("/teammates/{name:str}")
async def change(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    typed = rightsform.read(await read_form(request))

    def act(tx: Connection) -> User | Declined:
        must_stand(tx, visitor)
        person = _find(tx, visitor, name)
        rights = rightsform.changed(typed, teammates.access_of(tx, person.id))
        return rights if isinstance(rights, Declined) else _change(tx, visitor, person, rights)

    after = await store.attempt(act)
    if isinstance(after, Declined):
        return await _form(request, visitor, store, name, typed=typed, declined=after)
    return go(_path(after.username), flash="teammate-changed", request=request)


@get("/teammates/{name:str}/subuser")
async def subuser(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    wanted = request.query_params.get("subuser", "").strip()[:_NAME_MAX]
    return await _grant_form(request, visitor, store, name, wanted)


@post("/teammates/{name:str}/subuser")
async def grant(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    form = await read_form(request)
    wanted, typed = form.text("subuser", _NAME_MAX), rightsform.read(form)
    if typed.access not in {"none", rightsform.ADMIN, rightsform.CHOSEN}:
        raise PageProblem(400)

    def act(tx: Connection) -> User | Declined:
        must_stand(tx, visitor)
        person = _find_restricted(tx, visitor, name)
        found = _find_subuser(tx, visitor, wanted)
        access = dict(teammates.access_of(tx, person.id))
        access.pop(found.id, None)
        if typed.access != "none":
            access[found.id] = rightsform.granted(typed.access, typed.scopes)
        return _change(tx, visitor, person, Rights(access=access))

    after = await store.attempt(act)
    if isinstance(after, Declined):
        return await _grant_form(request, visitor, store, name, wanted, typed=typed, declined=after)
    return go(_path(after.username), flash="teammate-changed", request=request)


@get("/teammates/{name:str}/remove")
async def removing(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    return await _removal(request, visitor, store, name)


@post("/teammates/{name:str}/remove")
async def remove(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    form = await read_form(request)

    def act(tx: Connection) -> Removed | Declined | None:
        must_stand(tx, visitor)
        person = _find(tx, visitor, name)
        decided = _decided(form, keys_made_by(tx, person.id))
        # Also a key that he has made since the page was looked at.
        if not all(decided.values()):
            return None
        revoke = [key_id for key_id, what in decided.items() if what == REVOKE]
        return remove_teammate(tx, visitor.for_whom, person, revoke=revoke, actor_id=visitor.person.id, by=visitor.by)

    done = await store.attempt(act)
    if isinstance(done, Declined):
        raise PageProblem(409, sentence(done))
    if done is None:
        return await _removal(request, visitor, store, name, form=form)
    return go("/teammates", flash="teammate-removed", request=request)


HANDLERS = (listed, one, edit, change, subuser, grant, removing, remove)


def _find(tx: Connection, visitor: Visitor, name: str) -> User:
    """Find one of the tenant's people; one that never was and somebody else's are equally not found."""
    found = teammates.find_teammate(tx, visitor.owner_id, name)
    if found is None:
        raise PageProblem(404)
    return found


def _find_restricted(tx: Connection, visitor: Visitor, name: str) -> User:
    found = _find(tx, visitor, name)
    if not found.restricted:
        raise PageProblem(404)
    return found


def _find_subuser(tx: Connection, visitor: Visitor, name: str) -> Account:
    found = accounts.find_subuser_of(tx, visitor.owner_id, name)
    if found is None:
        raise PageProblem(404)
    return found


def _reachable(tx: Connection, visitor: Visitor, name: str) -> User:
    """Find somebody who may be changed or removed by the visitor; raises PageProblem with why not."""
    found = _find(tx, visitor, name)
    if (declined := teammates.out_of_reach(found, visitor.person.id)) is not None:
        raise PageProblem(409, sentence(declined))
    return found


def _change(tx: Connection, visitor: Visitor, person: User, rights: Rights) -> User | Declined:
    actor_id = visitor.person.id
    return teammates.change(
        tx, visitor.for_whom, person, rights, granter=visitor.identity, actor_id=actor_id, by=visitor.by
    )


async def _form(
    request: WebRequest,
    visitor: Visitor,
    store: Store,
    name: str,
    *,
    typed: RightsForm | None = None,
    declined: Declined | None = None,
) -> Response[str]:
    """Show what a teammate may do, to be changed; also again with what is wrong."""

    def look(tx: Connection) -> tuple[User, Rights]:
        person = _reachable(tx, visitor, name)
        return person, teammates.rights_of(tx, person)

    person, rights = await store.read(look)
    shown = typed or rightsform.of_rights(rights)
    return page(
        request,
        "teammate-form.html",
        status=200 if declined is None else 422,
        person=person,
        path=_path(person.username),
        typed=shown,
        groups=rightsform.offered(visitor.scopes, shown.scopes),
        has_subusers=visitor.for_whom.subuser_id is None,
        fault=_said(request, declined),
    )


async def _grant_form(
    request: WebRequest,
    visitor: Visitor,
    store: Store,
    name: str,
    wanted: str,
    *,
    typed: RightsForm | None = None,
    declined: Declined | None = None,
) -> Response[str]:
    """Show what a teammate may do for one subuser."""

    def look(tx: Connection) -> tuple[User, Account, Grant | None]:
        person = _find_restricted(tx, visitor, name)
        found = _find_subuser(tx, visitor, wanted)
        return person, found, teammates.access_of(tx, person.id).get(found.id)

    person, found, before = await store.read(look)
    shown = typed or rightsform.of_grant(before)
    return page(
        request,
        "teammate-subuser.html",
        status=200 if declined is None else 422,
        person=person,
        path=_path(person.username),
        subuser=found,
        typed=shown,
        groups=rightsform.offered(visitor.scopes, shown.scopes),
        fault=_said(request, declined),
    )


async def _removal(
    request: WebRequest, visitor: Visitor, store: Store, name: str, *, form: Form | None = None
) -> Response[str]:
    """Show the keys that somebody made, to be decided on; ``form``: the one that left some open."""

    def look(tx: Connection) -> tuple[User, list[Made]]:
        person = _reachable(tx, visitor, name)
        keys = keys_made_by(tx, person.id)
        used = last_use(tx, [key.id for key in keys])
        named = accounts.names(tx, {_owner(key) for key in keys})
        return person, [Made(key, named.get(_owner(key), ""), used.get(key.id)) for key in keys]

    person, made = await store.read(look)
    fault = None if form is None else words(request).gettext("Decide on each key. Nobody was removed.")
    return page(
        request,
        "teammate-remove.html",
        status=200 if form is None else 422,
        person=person,
        path=_path(person.username),
        made=made,
        decided=_decided(form or Form(), [one.key for one in made]),
        is_admin=person.role is Role.ADMIN,
        fault=fault,
    )


def _decided(form: Form, keys: Collection[ApiKey]) -> Mapping[str, str]:
    """Read what is to become of each key; empty: nothing was said of it."""
    said = {key.id: form.text(f"key-{key.id}", 20) for key in keys}
    return {key_id: what if what in {REVOKE, KEEP} else "" for key_id, what in said.items()}


def _owner(key: ApiKey) -> AccountId:
    return key.account_id if key.subuser_id is None else key.subuser_id


def _said(request: WebRequest, declined: Declined | None) -> str | None:
    return None if declined is None else words(request).gettext(sentence(declined))


def _path(name: str) -> str:
    return f"/teammates/{quote(name, safe='')}"
