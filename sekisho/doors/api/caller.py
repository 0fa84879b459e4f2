"""Who a request acts as, and for whom: what every handler of the API is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from sqlalchemy import Connection

from sekisho import teammates
from sekisho.apikeys.tables import still_stands
from sekisho.audit import By
from sekisho.doors.api.problems import UNAUTHORIZED, plain, problem
from sekisho.identity import Identity, IPAddress
from sekisho.ids import AccountId


@dataclass(frozen=True, slots=True)
class Caller:
    """A request that was let in."""

    identity: Identity
    """Whose key it is, and what that may do."""
    subuser_id: AccountId | None
    """The subuser acted for: the key's own, or the one named by on-behalf-of. None: the account itself."""
    address: IPAddress
    request_id: str
    now_ms: int

    @property
    def account_id(self) -> AccountId:
        """The account at the top."""
        return self.identity.account_id

    @property
    def owner_id(self) -> AccountId:
        """Whose things the request is about: every query is scoped by it."""
        return self.account_id if self.subuser_id is None else self.subuser_id

    @property
    def by(self) -> By:
        """Who is written into the audit log."""
        return By(f"key:{self.identity.key_id}", self.now_ms, str(self.address))


def must_stand(tx: Connection, caller: Caller) -> None:
    """End the request of a key that ended, or became less, after it was let in; raises Problem.

    Else a stolen key could leave something behind (a key, a subuser, an open list) in the moment between its
    revocation and the news of it. Asked inside the transaction of the change.
    """
    if not still_stands(tx, caller.identity, caller.now_ms):
        raise problem(401, UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
    acts_for_another = caller.subuser_id != caller.identity.subuser_id
    if acts_for_another and not teammates.key_acts_for_subusers(tx, caller.identity.key_id):
        raise plain(403)


def caller_of(request: Request[Any, Any, State]) -> Caller:
    """Give what the guard found out about a request."""
    found: Caller = request.scope["state"]["caller"]
    return found


Calling = NamedDependency[SkipValidation[Caller]]
"""A handler's parameter: the framework hands it over as it is."""
