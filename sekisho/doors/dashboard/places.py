"""One table: every page, how far a log-in must have come for it, and what its visitor must be allowed.

A route without a row here does not start (``app.build``), so none can be forgotten.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from sekisho.sessions import Stage


class Standing(enum.Enum):
    """The least that a visitor must have shown."""

    PUBLIC = enum.auto()  # nothing is looked at: files
    VISITOR = enum.auto()  # no log-in
    PASSWORD = enum.auto()  # the password, and nothing more: complete log-ins have no business there
    ENROL = enum.auto()  # the password, by somebody without a second factor
    FULL = enum.auto()  # both factors


STAGES: Final = {
    Standing.PASSWORD: Stage.PASSWORD,
    Standing.ENROL: Stage.ENROL,
    Standing.FULL: Stage.FULL,
}


@dataclass(frozen=True, slots=True)
class Place:
    """What it takes to get in."""

    standing: Standing = Standing.FULL
    scope: str | None = None
    """The one that the API's route for the same needs; None: whoever is logged in."""
    step_up: bool = False
    """The second factor must have been shown within the last ten minutes."""
    managers_only: bool = False
    """Owner and admins of the tenant."""
    not_for_subusers: bool = False
    """About the account at the top, or its subusers."""


PLACES: Final[dict[tuple[str, str], Place]] = {
    ("GET", "/"): Place(),
    ("GET", "/account"): Place(),
    ("POST", "/account/email"): Place(step_up=True),
    ("POST", "/account/language"): Place(),
    ("POST", "/account/password"): Place(step_up=True),
    ("POST", "/account/scopes"): Place(),
    ("POST", "/act-for"): Place(),
    ("GET", "/audit"): Place(scope="access_settings.activity.read"),
    ("GET", "/audit/export"): Place(scope="access_settings.activity.read", step_up=True),
    ("POST", "/audit/verify"): Place(scope="access_settings.activity.read"),
    ("GET", "/email/{token}"): Place(Standing.VISITOR),
    ("POST", "/email/{token}"): Place(Standing.VISITOR),
    ("GET", "/invite/{token}"): Place(Standing.VISITOR),
    ("POST", "/invite/{token}"): Place(Standing.VISITOR),
    ("POST", "/invitations"): Place(scope="teammates.create", step_up=True, managers_only=True),
    ("GET", "/invitations/new"): Place(scope="teammates.create", managers_only=True),
    ("POST", "/invitations/{token}/resend"): Place(scope="teammates.create", step_up=True, managers_only=True),
    ("POST", "/invitations/{token}/withdraw"): Place(scope="teammates.delete", step_up=True, managers_only=True),
    ("GET", "/ip-access"): Place(scope="access_settings.whitelist.read"),
    ("POST", "/ip-access/add"): Place(scope="access_settings.whitelist.create", step_up=True),
    ("POST", "/ip-access/confirm"): Place(scope="access_settings.whitelist.create"),
    ("POST", "/ip-access/remove"): Place(scope="access_settings.whitelist.delete", step_up=True),
    ("POST", "/ip-access/trial"): Place(scope="access_settings.whitelist.create", step_up=True),
    ("POST", "/ip-access/undo"): Place(scope="access_settings.whitelist.delete", step_up=True),
    ("GET", "/keys"): Place(scope="api_keys.read"),
    ("POST", "/keys"): Place(scope="api_keys.create", step_up=True),
    ("GET", "/keys/new"): Place(scope="api_keys.create"),
    ("GET", "/keys/{key_id}"): Place(scope="api_keys.read"),
    ("POST", "/keys/{key_id}"): Place(scope="api_keys.update", step_up=True),
    ("POST", "/keys/{key_id}/compromise"): Place(scope="api_keys.delete"),
    ("GET", "/keys/{key_id}/edit"): Place(scope="api_keys.update"),
    ("POST", "/keys/{key_id}/hold"): Place(scope="api_keys.delete"),
    ("POST", "/keys/{key_id}/purge"): Place(scope="api_keys.delete"),
    ("GET", "/keys/{key_id}/radius"): Place(scope="api_keys.delete"),
    ("POST", "/keys/{key_id}/release"): Place(scope="api_keys.delete", step_up=True),
    ("POST", "/keys/{key_id}/revoke"): Place(scope="api_keys.delete"),
    ("GET", "/keys/{key_id}/stop"): Place(scope="api_keys.delete"),
    ("POST", "/language"): Place(Standing.VISITOR),
    ("GET", "/login"): Place(Standing.VISITOR),
    ("POST", "/login"): Place(Standing.VISITOR),
    ("GET", "/login/oidc"): Place(Standing.VISITOR),
    ("GET", "/login/oidc/callback"): Place(Standing.VISITOR),
    ("GET", "/login/oidc/link"): Place(),
    ("POST", "/login/oidc/link"): Place(),
    ("POST", "/logout"): Place(Standing.VISITOR),
    ("GET", "/notices"): Place(scope="access_settings.activity.read"),
    ("GET", "/reset"): Place(Standing.VISITOR),
    ("POST", "/reset"): Place(Standing.VISITOR),
    ("GET", "/reset/{token}"): Place(Standing.VISITOR),
    ("POST", "/reset/{token}"): Place(Standing.VISITOR),
    ("POST", "/scope-requests/{number}/approve"): Place(scope="teammates.update", step_up=True, managers_only=True),
    ("POST", "/scope-requests/{number}/deny"): Place(scope="teammates.delete", step_up=True, managers_only=True),
    ("GET", "/sessions"): Place(),
    ("POST", "/sessions/others/end"): Place(),
    ("POST", "/sessions/{session_id}/end"): Place(),
    ("GET", "/setup/{token}"): Place(Standing.VISITOR),
    ("POST", "/setup/{token}"): Place(Standing.VISITOR),
    ("GET", "/signup"): Place(Standing.VISITOR),
    ("POST", "/signup"): Place(Standing.VISITOR),
    ("GET", "/signup/{token}"): Place(Standing.VISITOR),
    ("POST", "/signup/{token}"): Place(Standing.VISITOR),
    ("GET", "/login/passkey"): Place(Standing.VISITOR),
    ("POST", "/login/passkey"): Place(Standing.VISITOR),
    ("POST", "/login/passkey/answer"): Place(Standing.VISITOR),
    ("GET", "/login/second"): Place(Standing.PASSWORD),
    ("POST", "/login/second"): Place(Standing.PASSWORD),
    ("GET", "/enrol"): Place(Standing.ENROL),
    ("POST", "/enrol/app"): Place(Standing.ENROL),
    ("GET", "/enrol/app"): Place(Standing.ENROL),
    ("POST", "/enrol/app/code"): Place(Standing.ENROL),
    ("POST", "/enrol/passkey"): Place(Standing.ENROL),
    ("GET", "/enrol/passkey"): Place(Standing.ENROL),
    ("POST", "/enrol/passkey/answer"): Place(Standing.ENROL),
    ("GET", "/security"): Place(),
    ("POST", "/security/app"): Place(step_up=True),
    ("GET", "/security/app"): Place(step_up=True),
    ("POST", "/security/app/code"): Place(step_up=True),
    ("POST", "/security/app/remove"): Place(step_up=True),
    ("POST", "/security/oidc/unlink"): Place(step_up=True),
    ("POST", "/security/passkey"): Place(step_up=True),
    ("GET", "/security/passkey"): Place(step_up=True),
    ("POST", "/security/passkey/answer"): Place(step_up=True),
    ("POST", "/security/passkey/remove"): Place(step_up=True),
    ("POST", "/security/recovery"): Place(step_up=True),
    ("GET", "/static/{name}"): Place(Standing.PUBLIC),
    ("GET", "/step-up"): Place(),
    ("POST", "/step-up"): Place(),
    ("GET", "/subusers"): Place(scope="subusers.read", not_for_subusers=True),
    ("POST", "/subusers"): Place(scope="subusers.create", not_for_subusers=True),
    ("GET", "/subusers/new"): Place(scope="subusers.create", not_for_subusers=True),
    ("GET", "/subusers/{name}"): Place(scope="subusers.read", not_for_subusers=True),
    ("POST", "/subusers/{name}/credits"): Place(scope="subusers.credits.update", not_for_subusers=True),
    ("POST", "/subusers/{name}/credits/add"): Place(scope="subusers.credits.remaining.update", not_for_subusers=True),
    ("POST", "/subusers/{name}/delete"): Place(scope="subusers.delete", step_up=True, not_for_subusers=True),
    ("POST", "/subusers/{name}/disable"): Place(scope="subusers.update", not_for_subusers=True),
    ("POST", "/subusers/{name}/enable"): Place(scope="subusers.update", not_for_subusers=True),
    ("POST", "/subusers/{name}/website-access"): Place(scope="subusers.update", not_for_subusers=True),
    ("GET", "/teammates"): Place(scope="teammates.read"),
    ("GET", "/teammates/{name}"): Place(scope="teammates.read"),
    ("POST", "/teammates/{name}"): Place(scope="teammates.update", step_up=True, managers_only=True),
    ("GET", "/teammates/{name}/edit"): Place(scope="teammates.update", managers_only=True),
    ("GET", "/teammates/{name}/remove"): Place(scope="teammates.delete", managers_only=True),
    ("POST", "/teammates/{name}/remove"): Place(scope="teammates.delete", step_up=True, managers_only=True),
    ("GET", "/teammates/{name}/subuser"): Place(scope="teammates.update", managers_only=True, not_for_subusers=True),
    ("POST", "/teammates/{name}/subuser"): Place(
        scope="teammates.update", step_up=True, managers_only=True, not_for_subusers=True
    ),
}
