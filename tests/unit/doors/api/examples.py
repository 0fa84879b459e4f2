"""A request for every route: what tests that walk over all of them send. A new route with a body needs a row here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from sekisho.db import Database
from sekisho.doors.api.app import HANDLERS
from sekisho.doors.api.document import describe
from sekisho.doors.api.routes import ROUTES

Place = tuple[str, str]

UNKNOWN: Final = {
    "api_key_id": "A" * 22,
    "request_id": "999999999",
    "rule_id": "999999999",
    "subuser_name": "nobody",
    "teammate_name": "nobody",
    "token": "00000000-0000-4000-8000-000000000000",
    "username": "nobody",
}
"""Of each kind of id one that nothing has."""

MAIL: Final = {
    "personalizations": [{"to": [{"email": "reader@there.example"}]}],
    "from": {"email": "ann@example.com"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hi."}],
}

BODIES: Final[dict[Place, Any]] = {
    ("DELETE", "/v3/access_settings/whitelist"): {"ids": [999_999_999]},
    ("PATCH", "/v3/api_keys/{api_key_id}"): {"name": "renamed"},
    ("PATCH", "/v3/subusers/{subuser_name}"): {"disabled": True},
    ("PATCH", "/v3/subusers/{subuser_name}/credits/remaining"): {"allocation_update": 1},
    ("PATCH", "/v3/subusers/{subuser_name}/website_access"): {"disabled": True},
    ("PATCH", "/v3/teammates/{username}"): {"scopes": ["stats.read"], "is_admin": False},
    ("PATCH", "/v3/user/profile"): {"city": "Kyoto"},
    ("POST", "/leaked-key"): f"SG.{'A' * 22}.{'A' * 43}",
    ("POST", "/v3/access_settings/whitelist"): {"ips": [{"ip": "192.0.2.0/24"}]},
    ("POST", "/v3/api_keys"): {"name": "made", "scopes": ["stats.read"]},
    ("POST", "/v3/mail/send"): MAIL,
    ("POST", "/v3/subusers"): {
        "username": "made",
        "email": "made@example.com",
        "password": "correct horse battery staple",
        "ips": ["192.0.2.1"],
    },
    ("POST", "/v3/teammates"): {"email": "invited@example.com", "scopes": ["stats.read"], "is_admin": False},
    ("PUT", "/v3/api_keys/{api_key_id}"): {"name": "replaced", "scopes": ["stats.read"]},
    ("PUT", "/v3/subusers/{subuser_name}/credits"): {"type": "unlimited"},
    ("PUT", "/v3/user/email"): {"email": "renamed@example.com"},
    ("PUT", "/v3/user/username"): {"username": "renamed"},
}

QUERIES: Final[dict[Place, Mapping[str, str]]] = {
    ("GET", "/v3/subusers/stats"): {"start_date": "2026-11-01", "subusers": "nobody"},
    ("GET", "/v3/subusers/stats/monthly"): {"date": "2026-11-01"},
    ("GET", "/v3/subusers/stats/sums"): {"start_date": "2026-11-01"},
    ("GET", "/v3/subusers/{subuser_name}/stats/monthly"): {"date": "2026-11-01"},
}

DOCUMENT: Final = describe(HANDLERS)

BODY_TAKEN: Final = frozenset(
    (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
)


def arguments(place: Place, **changes: Any) -> dict[str, Any]:
    """What ``ApiDoor.ask`` is given for an ordinary request of this route, but for method, path and key."""
    given: dict[str, Any] = {"params": QUERIES.get(place, {})}
    if place in BODY_TAKEN:
        body = BODIES[place]
        given |= {"content": body} if isinstance(body, str) else {"json": body}
    return given | changes


def fill(path: str, ids: Mapping[str, str] = UNKNOWN) -> str:
    """Put ids into a path; raises KeyError for a kind of id that UNKNOWN does not know."""
    return re.sub(r"{(\w+)}", lambda found: ids[found[1]], path)


def parts_of(path: str) -> list[str]:
    """The names of the ids in a path."""
    return re.findall(r"{(\w+)}", path)


def everything(database: Database) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with database.connect() as tx:
        found = sa.MetaData()
        found.reflect(tx)
        return {
            name: sorted((tuple(row) for row in tx.execute(sa.select(table))), key=repr)
            for name, table in sorted(found.tables.items())
        }


SCOPED: Final = {place: route.scope for place, route in sorted(ROUTES.items()) if route.scope is not None}
