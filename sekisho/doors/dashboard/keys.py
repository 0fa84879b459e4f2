"""API keys: the list, one key, making one (its text is shown once), changing one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho import users
from sekisho.accounts import Account
from sekisho.apikeys import given, granting, scopes
from sekisho.apikeys.actions import Change, Issued, Wish
from sekisho.apikeys.model import KEYS_MAX, ApiKey
from sekisho.apikeys.tables import Owner, find_own_key, holding_mail_of, keys_of
from sekisho.apikeys.used import LastUse, last_use
from sekisho.domains import Relay
from sekisho.domains.reading import list_claims
from sekisho.doors.dashboard import keyform
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.keyform import KeyForm, Wanted
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Stored
from sekisho.ids import UserId
from sekisho.refusal import Declined, Obstacle

_COMPROMISED_SHOWN: Final = 100

_FIELDS: Final = {
    Obstacle.KEY_MALFORMED: "name",
    Obstacle.SCOPE_UNKNOWN: "access",
    Obstacle.SCOPE_UNASSIGNABLE: "access",
}
"""Where on the form a reason stands."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A key as pages show it."""

    key: ApiKey
    state: str
    used: LastUse | None


@get("/keys")
async def listed(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    def look(tx: Connection) -> tuple[list[Shown], tuple[ApiKey, ...]]:
        found = keys_of(tx, owner_of(visitor), limit=KEYS_MAX)
        used = last_use(tx, [key.id for key in found])
        shown = [Shown(key, key.state(visitor.now_ms), used.get(key.id)) for key in found]
        return shown, holding_mail_of(tx, owner_of(visitor), limit=_COMPROMISED_SHOWN)

    keys, compromised = await store.read(look)
    return page(request, "keys.html", keys=keys, compromised=compromised, most=KEYS_MAX)


@get("/keys/new")
async def new(request: WebRequest, visitor: Visiting) -> Response[str]:
    return _form(request, visitor, KeyForm())


@post("/keys")
async def create(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[str]:
    typed = keyform.read(await read_form(request))
    found = keyform.wanted(typed, visitor.now_ms, words(request).gettext)
    if not isinstance(found, Wanted):
        return _form(request, visitor, typed, errors=found)

    def make(tx: Connection) -> tuple[Issued, str] | Declined:
        must_stand(tx, visitor)
        tenant = visitor.for_whom
        wish = Wish(found.name, found.policy, found.scopes, canary=typed.canary, maker_id=visitor.person.id)
        made = given.issue(tx, visitor.identity, tenant, wish, by=visitor.by)
        return made if isinstance(made, Declined) else (made, _from_domain(tx, tenant, parts.relay))

    made = await store.attempt(make)
    if isinstance(made, Declined):
        return _form(request, visitor, typed, declined=made)
    issued, domain = made
    text = issued.text.reveal().decode("ascii")
    return page(request, "key-made.html", key=issued.key, text=text, lines=_lines(parts, text, domain))


@get("/keys/{key_id:str}")
async def one(request: WebRequest, visitor: Visiting, store: Stored, key_id: FromPath[str]) -> Response[str]:
    def look(tx: Connection) -> tuple[ApiKey, LastUse | None, users.User | None]:
        key = find_in_force(tx, visitor, key_id)
        maker = None if key.maker_id is None else users.user_by_id(tx, UserId(key.maker_id))
        # Whose people a person may see by name: those of the tenant and of its parent.
        if maker is not None and maker.tenant_id not in {key.account_id, key.subuser_id}:
            maker = None
        return key, last_use(tx, [key.id]).get(key.id), maker

    key, used, maker = await store.read(look)
    return page(
        request,
        "key.html",
        key=key,
        state=key.state(visitor.now_ms),
        used=used,
        maker=maker,
        limits=keyform.of_key(key),
        touchable=granting.may_touch(visitor.identity, key),
    )


@get("/keys/{key_id:str}/edit")
async def edit(request: WebRequest, visitor: Visiting, store: Stored, key_id: FromPath[str]) -> Response[str]:
    key = await store.read(lambda tx: find_in_force(tx, visitor, key_id))
    return _form(request, visitor, keyform.of_key(key), key=key)


@post("/keys/{key_id:str}")
async def change(request: WebRequest, visitor: Visiting, store: Stored, key_id: FromPath[str]) -> Response[str]:
    typed = keyform.read(await read_form(request))
    key = await store.read(lambda tx: find_in_force(tx, visitor, key_id))
    found = keyform.wanted(typed, visitor.now_ms, words(request).gettext, before=key.policy)
    if not isinstance(found, Wanted):
        return _form(request, visitor, typed, key=key, errors=found)

    def act(tx: Connection) -> ApiKey | Declined:
        must_stand(tx, visitor)
        before = find_in_force(tx, visitor, key_id)
        wish = Change(found.name, _scopes(visitor, before, found), found.policy)
        return given.change(tx, visitor.identity, before, wish, by=visitor.by)

    after = await store.attempt(act)
    if isinstance(after, Declined):
        return _form(request, visitor, typed, key=key, declined=after)
    return go(f"/keys/{after.id}", flash="key-changed", request=request)


HANDLERS = (listed, new, create, one, edit, change)


def owner_of(visitor: Visitor) -> Owner:
    """Whose keys a page is about."""
    tenant = visitor.for_whom
    return Owner(tenant.account_id, tenant.subuser_id)


def find_in_force(tx: Connection, visitor: Visitor, key_id: str) -> ApiKey:
    """Find a key in force; a revoked one, one that never was, and somebody else's are equally not found."""
    found = find_own_key(tx, owner_of(visitor), key_id)
    if found is None or found.revoked_ms is not None:
        raise PageProblem(404)
    return found


def _form(
    request: WebRequest,
    visitor: Visitor,
    typed: KeyForm,
    *,
    key: ApiKey | None = None,
    errors: Any = None,
    declined: Declined | None = None,
) -> Response[str]:
    """Show the form, also again with what is wrong with it; ``key``: the one that is changed."""
    wrong = dict(errors or {})
    fault = None
    if declined is not None:
        text = words(request).gettext(sentence(declined))
        if declined.obstacle in _FIELDS:
            wrong[_FIELDS[declined.obstacle]] = text
        else:
            fault = text
    may_give = visitor.scopes & scopes.effective(None, of_subuser=visitor.for_whom.parent_id is not None)
    return page(
        request,
        "key-form.html",
        status=422 if wrong or fault else 200,
        typed=typed,
        key=key,
        groups=keyform.offered(may_give, typed.scopes),
        may_send=scopes.MAIL_SEND in may_give,
        fault=fault,
        errors=wrong,
    )


def _scopes(visitor: Visitor, key: ApiKey, found: Wanted) -> frozenset[str] | None:
    """Say what a key is to have; None: as it was."""
    if found.scopes is not None:
        return found.scopes
    if key.given is None:
        return None
    of_subuser = key.subuser_id is not None
    mine = granting.all_of(visitor.identity, of_subuser=of_subuser)
    return scopes.effective(None, of_subuser=of_subuser) if mine is None else mine


# A first try.


def _from_domain(tx: Connection, tenant: Account, relay: Relay) -> str:
    """Name a domain that mail may come from, for lines to try; one of the examples' when there is none."""
    claims = list_claims(tx, relay, tenant.account_id)
    return next((claim.name for claim in claims if claim.valid and claim.owner_id == tenant.id), "example.com")


def _lines(parts: Parts, text: str, domain: str) -> dict[str, str]:
    """Write lines that can be pasted into a shell; nothing in them is anybody's but the server's and the account's."""
    message = (
        f'{{"personalizations":[{{"to":[{{"email":"you@example.com"}}]}}],"from":{{"email":"test@{domain}"}},'
        '"subject":"Hello","content":[{"type":"text/plain","value":"Hello!"}]}'
    )
    smtp = (
        f"swaks --server {parts.relay.hostname} --port {parts.smtp_port} --tls --auth PLAIN --auth-user apikey \\\n"
        f'  --auth-password "{text}" \\\n'
        f'  --from test@{domain} --to you@example.com --header "Subject: Hello"'
    )
    web = (
        f'curl -i {parts.public_url}/v3/mail/send -H "Authorization: Bearer {text}" \\\n'
        f"  -H \"Content-Type: application/json\" -d '{message}'"
    )
    return {"smtp": smtp, "web": web}
