"""Who looks at a page, for whom, and what he may: what every handler of the dashboard is given."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.di import NamedDependency
from litestar.params import SkipValidation
from sqlalchemy import Connection

from sekisho import accounts, ipaccess, teammates, users
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.problems import PageProblem, SessionOver
from sekisho.identity import Identity, IPAddress, KeyPolicy
from sekisho.ids import AccountId, KeyId
from sekisho.languages import Language
from sekisho.sessions import Session, Stage
from sekisho.sessions.reading import session_by_id
from sekisho.users import User


@dataclass(frozen=True, slots=True)
class Rights:
    """What a log-in amounts to now."""

    user: User
    home: Account
    """Where the person belongs."""
    tenant: Account
    """Whom he acts for: his home, or a subuser of it."""
    scopes: frozenset[str]
    manages: bool
    """Whether he manages the tenant's teammates."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A request that was let in."""

    session: Session | None
    user: User | None
    tenant: Account | None
    home: Account | None
    scopes: frozenset[str]
    manages: bool
    address: IPAddress
    now_ms: int
    request_id: str
    language: Language

    @property
    def is_full(self) -> bool:
        """Whether the log-in is complete."""
        return self.session is not None and self.session.stage is Stage.FULL

    @property
    def person(self) -> User:
        """Who it is; raises where a place lets in nobody in particular."""
        if self.user is None:
            raise SessionOver
        return self.user

    @property
    def its_session(self) -> Session:
        """The session; raises where there is none."""
        if self.session is None:
            raise SessionOver
        return self.session

    @property
    def for_whom(self) -> Account:
        """The tenant that is acted for; raises where there is none."""
        if self.tenant is None:
            raise SessionOver
        return self.tenant

    @property
    def owner_id(self) -> AccountId:
        """Whose things the page is about: every query is scoped by it."""
        return self.for_whom.id

    @property
    def acts_for_another(self) -> bool:
        return self.tenant is not None and self.home is not None and self.tenant.id != self.home.id

    @property
    def by(self) -> By:
        """Who is written into the audit log."""
        return By(f"user:{self.person.id}", self.now_ms, str(self.address))

    @property
    def identity(self) -> Identity:
        """The same as a key would be, for what decides by one."""
        tenant = self.for_whom
        return Identity(tenant.account_id, tenant.subuser_id, KeyId(f"user-{self.person.id}"), self.scopes, KeyPolicy())

    def may(self, scope: str | None) -> bool:
        return self.is_full and (scope is None or scope in self.scopes)


@dataclass(frozen=True, slots=True)
class NotListed:
    """Somebody may come, but not from this address."""

    home: Account


def rights_of(tx: Connection, session: Session, address: IPAddress) -> Rights | NotListed | None:
    """Find what a session amounts to now; None: nothing any more; NotListed: not from this address."""
    person = None if session.user_id is None else users.user_by_id(tx, session.user_id)
    home = None if person is None else accounts.account_by_id(tx, person.tenant_id)
    if person is None or home is None or not may_log_in(tx, home):
        return None
    if not ipaccess.allow_list(tx, home.id).admits(address):
        return NotListed(home)
    tenant, scopes = home, teammates.scopes_of(person, of_subuser=home.parent_id is not None)
    if session.acting_for is not None:
        subuser = accounts.account_by_id(tx, session.acting_for)
        given = None if subuser is None else teammates.may_act_for(tx, person, subuser)
        if subuser is not None and given is not None:
            tenant, scopes = subuser, given
    return Rights(person, home, tenant, scopes, teammates.manages(tx, person, tenant))


def may_log_in(tx: Connection, home: Account) -> bool:
    """Whether the people of a tenant may log in at all."""
    return home.website_disabled_ms is None and not accounts.is_stopped(tx, home.account_id, home.subuser_id)


def must_stand(tx: Connection, visitor: Visitor) -> None:
    """End the request of somebody who was logged out, or may do less, after he was let in; raises SessionOver.

    Asked inside the transaction of the change, as ``doors.api.caller.must_stand`` is.
    """
    session = visitor.its_session
    now = session_by_id(tx, session.id)
    if now is None or now.stage is not session.stage or not now.lives(visitor.now_ms):
        raise SessionOver
    rights = rights_of(tx, now, visitor.address)
    if not isinstance(rights, Rights) or rights.tenant.id != visitor.owner_id:
        raise SessionOver
    if not rights.scopes >= visitor.scopes or (visitor.manages and not rights.manages):
        raise PageProblem(403)


def visitor_of(request: WebRequest) -> Visitor:
    """Give what admission found out about a request."""
    found: Visitor = request.scope["state"]["visitor"]
    return found


Visiting = NamedDependency[SkipValidation[Visitor]]
"""A handler's parameter ``visitor``: the framework hands it over as it is."""
