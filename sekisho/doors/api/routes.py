"""One table: every route of the API, the scope it needs, whom it may be called for, how often.

A route without a row here does not start (``app.build``), so none can be forgotten.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from sekisho.doors.http.ratelimit import Pace


class Behalf(enum.Enum):
    """What ``on-behalf-of`` does at a route (sheet api-keys-scopes.md §6)."""

    HONOURED = enum.auto()
    IGNORED = enum.auto()  # documented to have no effect
    REFUSED = enum.auto()  # about subusers themselves: a parent's affair


@dataclass(frozen=True, slots=True)
class Route:
    """What it takes to get in."""

    scope: str | None
    """None: any key in force."""
    behalf: Behalf = Behalf.HONOURED
    pace: Pace | None = None
    """None: by method, READ for GET and WRITE for the rest."""
    public: bool = False
    """No key at all: the request proves itself by what it carries."""

    def pace_of(self, method: str) -> Pace:
        return self.pace or (Pace.READ if method == "GET" else Pace.WRITE)


ROUTES: Final[dict[tuple[str, str], Route]] = {
    ("POST", "/leaked-key"): Route(None, Behalf.IGNORED, Pace.PUBLIC, public=True),
    ("GET", "/v3/access_settings/activity"): Route("access_settings.activity.read"),
    ("DELETE", "/v3/access_settings/whitelist"): Route("access_settings.whitelist.delete"),
    ("GET", "/v3/access_settings/whitelist"): Route("access_settings.whitelist.read"),
    ("POST", "/v3/access_settings/whitelist"): Route("access_settings.whitelist.create"),
    ("DELETE", "/v3/access_settings/whitelist/{rule_id}"): Route("access_settings.whitelist.delete"),
    ("GET", "/v3/access_settings/whitelist/{rule_id}"): Route("access_settings.whitelist.read"),
    ("GET", "/v3/api_keys"): Route("api_keys.read"),
    ("POST", "/v3/api_keys"): Route("api_keys.create"),
    ("GET", "/v3/api_keys/{api_key_id}"): Route("api_keys.read"),
    ("PUT", "/v3/api_keys/{api_key_id}"): Route("api_keys.update"),
    ("PATCH", "/v3/api_keys/{api_key_id}"): Route("api_keys.update"),
    ("DELETE", "/v3/api_keys/{api_key_id}"): Route("api_keys.delete"),
    ("POST", "/v3/api_keys/{api_key_id}/compromise"): Route("api_keys.delete"),
    ("POST", "/v3/api_keys/{api_key_id}/compromise/purge"): Route("api_keys.delete"),
    ("POST", "/v3/api_keys/{api_key_id}/compromise/release"): Route("api_keys.delete"),
    ("POST", "/v3/api_keys/{api_key_id}/hold"): Route("api_keys.delete"),
    ("GET", "/v3/audit_log"): Route("access_settings.activity.read"),
    ("GET", "/v3/audit_log/export"): Route("access_settings.activity.read"),
    ("POST", "/v3/mail/send"): Route("mail.send", Behalf.IGNORED, Pace.SEND),
    ("GET", "/v3/notices"): Route("access_settings.activity.read"),
    ("GET", "/v3/openapi.json"): Route(None, Behalf.IGNORED, Pace.READ, public=True),
    ("GET", "/v3/reference"): Route(None, Behalf.IGNORED, Pace.READ, public=True),
    ("GET", "/v3/scopes"): Route(None),
    ("GET", "/v3/scopes/requests"): Route("teammates.read"),
    ("DELETE", "/v3/scopes/requests/{request_id}"): Route("teammates.delete"),
    ("PATCH", "/v3/scopes/requests/{request_id}/approve"): Route("teammates.update"),
    ("GET", "/v3/subusers"): Route("subusers.read", Behalf.REFUSED),
    ("POST", "/v3/subusers"): Route("subusers.create", Behalf.REFUSED, Pace.PASSWORD),
    ("GET", "/v3/subusers/reputations"): Route("subusers.reputations.read", Behalf.REFUSED),
    ("GET", "/v3/subusers/stats"): Route("subusers.stats.read", Behalf.REFUSED),
    ("GET", "/v3/subusers/stats/monthly"): Route("subusers.stats.monthly.read", Behalf.REFUSED),
    ("GET", "/v3/subusers/stats/sums"): Route("subusers.stats.sums.read", Behalf.REFUSED),
    ("PATCH", "/v3/subusers/{subuser_name}"): Route("subusers.update", Behalf.REFUSED),
    ("DELETE", "/v3/subusers/{subuser_name}"): Route("subusers.delete", Behalf.REFUSED),
    ("GET", "/v3/subusers/{subuser_name}/credits"): Route("subusers.credits.read", Behalf.REFUSED),
    ("PUT", "/v3/subusers/{subuser_name}/credits"): Route("subusers.credits.update", Behalf.REFUSED),
    ("PATCH", "/v3/subusers/{subuser_name}/credits/remaining"): Route(
        "subusers.credits.remaining.update", Behalf.REFUSED
    ),
    ("GET", "/v3/subusers/{subuser_name}/stats/monthly"): Route("subusers.stats.monthly.read", Behalf.REFUSED),
    ("PATCH", "/v3/subusers/{subuser_name}/website_access"): Route("subusers.update", Behalf.REFUSED),
    ("GET", "/v3/teammates"): Route("teammates.read"),
    ("POST", "/v3/teammates"): Route("teammates.create"),
    ("GET", "/v3/teammates/pending"): Route("teammates.read"),
    ("DELETE", "/v3/teammates/pending/{token}"): Route("teammates.delete"),
    ("POST", "/v3/teammates/pending/{token}/resend"): Route("teammates.create"),
    ("GET", "/v3/teammates/{teammate_name}/subuser_access"): Route("teammates.read"),
    ("GET", "/v3/teammates/{username}"): Route("teammates.read"),
    ("PATCH", "/v3/teammates/{username}"): Route("teammates.update"),
    ("DELETE", "/v3/teammates/{username}"): Route("teammates.delete"),
    ("GET", "/v3/user/account"): Route("user.account.read"),
    ("GET", "/v3/user/credits"): Route("user.credits.read"),
    ("GET", "/v3/user/email"): Route("user.email.read"),
    ("PUT", "/v3/user/email"): Route("user.email.update"),
    ("GET", "/v3/user/profile"): Route("user.profile.read"),
    ("PATCH", "/v3/user/profile"): Route("user.profile.update"),
    ("GET", "/v3/user/username"): Route("user.username.read"),
    ("PUT", "/v3/user/username"): Route("user.username.update"),
}
