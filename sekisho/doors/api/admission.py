"""Who gets in: the guard that stands before every route, and before the body is read.

In this order: too many failed logins from the address; the key (digest first, then IP access); how often; the scope;
on whose behalf. Each no is the vendor's (sheets mail-send.md §1, accounts.md §6).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from sqlalchemy import Connection as Transaction

from sekisho import teammates
from sekisho.accounts import Account, find_subuser
from sekisho.apikeys.verifier import Verifier
from sekisho.doors.api import problems
from sekisho.doors.api.caller import Caller
from sekisho.doors.api.document import answer_type
from sekisho.doors.api.problems import Problem, plain, problem
from sekisho.doors.api.routes import ROUTES, Behalf, Route
from sekisho.doors.http.address import client_address, counted_as
from sekisho.doors.http.ratelimit import Pace, Paces
from sekisho.doors.http.store import Store
from sekisho.identity import Identity, IPAddress, IPNetwork
from sekisho.ids import AccountId
from sekisho.ports.clock import Clock
from sekisho.refusal import Reason, Refused
from sekisho.secret import Secret

Connection = ASGIConnection[Any, Any, Any, Any]

MAIL_SEND: Final = ("POST", "/v3/mail/send")

_BEHALF: Final = "on-behalf-of"

_ON_BEHALF_MAX: Final = 64

_ACCEPT_MAX: Final = 4096
"""What is read of Accept; a browser's is 150."""


class Admission:
    """Implements the guard; ``caller`` gives handlers what it found."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        store: Store,
        paces: Paces,
        clock: Clock,
        trusted_proxies: Callable[[], Sequence[IPNetwork]],
        on_refused: Callable[[Reason, IPAddress | None, Identity | None], None] = lambda *_: None,
    ) -> None:
        """``on_refused`` hears of every no that the verifier does not tell of itself."""
        self._verifier: Final = verifier
        self._store: Final = store
        self._paces: Final = paces
        self._clock: Final = clock
        self._trusted: Final = trusted_proxies
        self._on_refused: Final = on_refused

    async def __call__(self, connection: Connection, _handler: BaseRouteHandler) -> None:
        """Let the request in, or raise Problem."""
        scope = connection.scope
        place = (str(scope["method"]), scope["path_template"])  # type: ignore[typeddict-item]  # no WebSockets here
        if place[0] == "OPTIONS":
            return
        route = ROUTES[place]
        now_ms = self._clock.now_ms()
        address = self._address(connection)
        state = scope["state"]
        state["address"] = address
        if route.public:
            self._pace(connection, route.pace_of(place[0]), counted_as(address), now_ms)
            _check_accepted(connection, place)
            return
        identity = await self._identify(connection, place, address, now_ms)
        state["identity"] = identity
        self._pace(connection, route.pace_of(place[0]), identity.sender_id, now_ms)
        if route.scope is not None and route.scope not in identity.scopes:
            self._on_refused(Reason.AUTH_UNSCOPED, address, identity)
            raise plain(403)
        subuser_id = await self._acted_for(connection, route, identity)
        _check_accepted(connection, place)
        state["caller"] = Caller(identity, subuser_id, address, state["request_id"], now_ms)

    def _address(self, connection: Connection) -> IPAddress:
        client = connection.scope["client"]
        if client is None:
            message = "the server gives every connection its peer's address"
            raise RuntimeError(message)
        return client_address(client[0], connection.headers.getall("x-forwarded-for", []), self._trusted())

    async def _identify(
        self, connection: Connection, place: tuple[str, str], address: IPAddress, now_ms: int
    ) -> Identity:
        # Whoever shares an address with a guesser (a proxy, a company) goes on with a key that worked of late.
        is_over = self._paces.is_over(Pace.FAILED_LOGIN, counted_as(address), now_ms)
        if is_over and not self._verifier.recalls(_presented(connection)):
            self._on_refused(Reason.AUTH_THROTTLED, address, None)
            raise plain(429, {"Retry-After": str(Pace.FAILED_LOGIN.window_s)})
        sends = place == MAIL_SEND
        found = await self._present(connection, address, sends=sends)
        if isinstance(found, Identity):
            return found
        if isinstance(found, Refused):
            if found.reason in {Reason.AUTH_BAD_KEY, Reason.AUTH_DISABLED}:
                self._paces.count(Pace.FAILED_LOGIN, counted_as(address), now_ms)
            raise _no(found, sends=sends)
        self._paces.count(Pace.FAILED_LOGIN, counted_as(address), now_ms)
        raise found

    async def _present(
        self, connection: Connection, address: IPAddress, *, sends: bool
    ) -> Identity | Refused | Problem:
        """Ask whose key it is."""
        match _authorization(connection)[0]:
            case "bearer":
                return await self._verifier.authenticate(_presented(connection), address)
            case "basic":
                return problem(401, problems.BASIC, headers={"WWW-Authenticate": "Bearer"})
        text = problems.BAD_GRANT if sends else problems.UNAUTHORIZED
        return problem(401, text, headers={"WWW-Authenticate": "Bearer"})

    def _pace(self, connection: Connection, pace: Pace, whose: object, now_ms: int) -> None:
        standing = self._paces.count(pace, whose, now_ms)
        connection.scope["state"]["headers"] = standing.headers
        if not standing.allowed:
            wait_s = max(1, standing.reset_s - now_ms // 1000)
            raise plain(429, {"Retry-After": str(wait_s)})

    async def _acted_for(self, connection: Connection, route: Route, identity: Identity) -> AccountId | None:
        name = ",".join(connection.headers.getall(_BEHALF, []))  # two names are nobody's
        if not name or route.behalf is Behalf.IGNORED:
            return identity.subuser_id
        if route.behalf is Behalf.REFUSED or identity.subuser_id is not None or len(name) > _ON_BEHALF_MAX:
            raise plain(403)

        def find(tx: Transaction) -> Account | None:
            # A teammate's reach is listed, and his keys reach no further.
            return find_subuser(tx, name) if teammates.key_acts_for_subusers(tx, identity.key_id) else None

        found = await self._store.read(find)
        # One answer for a subuser that never was, for somebody else's, and for one out of reach.
        if found is None or found.parent_id != identity.account_id:
            raise plain(403)
        return found.id


def _authorization(connection: Connection) -> tuple[str, str]:
    """Read the Authorization field (RFC 9110 §11.6.2): the scheme in lower case, and what stands behind it."""
    fields = connection.headers.getall("authorization", [])
    # Two of them are for two readers: one that is in front of us, and us.
    scheme, _, credentials = (fields[0] if len(fields) == 1 else "").partition(" ")
    return scheme.lower(), credentials.strip()


def _presented(connection: Connection) -> Secret[bytes]:
    """Read the Bearer token (RFC 6750 §2.1); empty when there is none, or none that can be a key."""
    scheme, credentials = _authorization(connection)
    return Secret(credentials.encode("ascii") if scheme == "bearer" and credentials.isascii() else b"")


def _check_accepted(connection: Connection, place: tuple[str, str]) -> None:
    """Raise Problem when the client takes neither this route's answers nor errors (RFC 9110 §12.5.1).

    One that says nothing takes everything; the vendor's old habit of refusing that is not kept (sheet mail-send.md §1).
    """
    accepted = [field for field in connection.headers.getall("accept", []) if field.strip()]
    if accepted and not accepts(accepted, answer_type(place)) and not accepts(accepted, "application/json"):
        raise plain(406)


def accepts(fields: Sequence[str], media_type: str) -> bool:
    """Whether Accept fields take this media type; the most specific range that names it decides."""
    kind = media_type.partition("/")[0]
    found = -1, False
    for one in ",".join(fields)[:_ACCEPT_MAX].split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        rank = {"*/*": 0, "*": 0, f"{kind}/*": 1, media_type: 2}.get(name, -1)
        if rank > found[0]:
            found = rank, not any(re.fullmatch(r"q\s*=\s*0(\.0{0,3})?", part) for part in parameters)
    return found[1]


def _no(refusal: Refused, *, sends: bool) -> Problem:
    if sends and refusal.reason is Reason.AUTH_ADDRESS:
        return problem(401, problems.NOT_LISTED)
    if not sends and refusal.reason in {Reason.AUTH_BAD_KEY, Reason.AUTH_DISABLED, Reason.AUTH_ENDED}:
        return problem(401, problems.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
    return problems.refused(refusal)


def new_request_id() -> str:
    """Make the id that an answer and its log line share; a client's own is never taken."""
    return secrets.token_hex(8)
