"""How a no sounds over HTTP: one table from each reason to status and text, and the vendor's error body.

Sheet mail-send.md §1 (error bodies) and accounts.md §6. Nothing of a framework, a library or a traceback gets out.
"""

from __future__ import annotations

import http
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from sekisho.refusal import Declined, Obstacle, Reason, Refused

RETRY_AFTER_S: Final = 5
"""What a client is told to wait when the trouble is ours: a restart or a fail-over takes about so long."""


class ErrorItem(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    message: str
    field: str | None = None
    """Where in the request: ``personalizations.0.to``; None: nowhere in particular."""
    help: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error."""

    errors: tuple[ErrorItem, ...]


class Problem(Exception):
    """Ends a request with an error; raised at this door only, where a refusal has become an answer."""

    def __init__(self, status: int, *errors: ErrorItem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status}: {'; '.join(error.message for error in errors)}")
        self.status: Final = status
        self.errors: Final = errors
        self.headers: Final = dict(headers or {})

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(ErrorBody(self.errors))


def problem(
    status: int,
    message: str,
    field: str | None = None,
    *,
    hint: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Problem:
    """Make a problem with one error; ``hint`` says in our words what the vendor's message leaves open."""
    return Problem(status, ErrorItem(message, field, hint), headers=headers)


def plain(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Make the problem of a status that says it all."""
    return problem(status, _PLAIN.get(status) or _phrase(status), hint=_HINTS.get(status), headers=headers)


def unavailable(message: str = "service unavailable") -> Problem:
    """Not now, and not the client's fault."""
    return problem(503, message, headers={"Retry-After": str(RETRY_AFTER_S)})


def invalid(message: str, field: str | None) -> Problem:
    return problem(400, message, field)


def no_json() -> Problem:
    return problem(400, "Bad Request", hint="the body is not JSON")


NOT_FOUND: Final = "not found"
FORBIDDEN: Final = "access forbidden"
UNAUTHORIZED: Final = "authorization required"
BAD_GRANT: Final = "The provided authorization grant is invalid, expired, or revoked"
BASIC: Final = (
    "invalid authentication method - declined because you are using basic authentication with 2FA enabled; "
    "send an API key as a Bearer token"
)
NOT_LISTED: Final = "The requestor's IP Address is not whitelisted"
UNVERIFIED_FROM: Final = (
    "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved."
    " Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender Identity"
    " requirements"
)

_PLAIN: Final = {
    400: "bad request",
    401: UNAUTHORIZED,
    403: FORBIDDEN,
    404: NOT_FOUND,
    405: "method not allowed",
    406: "not acceptable",
    413: "content too large",
    415: "unsupported media type",
    429: "too many requests",
    500: "internal server error",
    503: "service unavailable",
}

_HINTS: Final = {415: "a body is application/json in UTF-8, to mail/send also with Content-Encoding: gzip"}


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase.lower()
    except ValueError:
        return "error"


# Reasons: (status, text). None as text: the refusal's own detail, which is written for the client.
_REASONS: Final[dict[Reason, tuple[int, str | None]]] = {
    Reason.AUTH_REQUIRED: (401, UNAUTHORIZED),
    Reason.AUTH_BAD_USERNAME: (401, UNAUTHORIZED),
    Reason.AUTH_BAD_KEY: (401, BAD_GRANT),
    Reason.AUTH_DISABLED: (401, BAD_GRANT),
    Reason.AUTH_HELD: (403, "access forbidden: this API key is held, its owner can release it"),
    Reason.AUTH_UNSCOPED: (403, FORBIDDEN),
    Reason.AUTH_ADDRESS: (403, FORBIDDEN),
    Reason.AUTH_ENDED: (401, BAD_GRANT),
    Reason.AUTH_UNAVAILABLE: (503, "credentials cannot be checked now"),
    Reason.AUTH_THROTTLED: (429, "too many requests"),
    Reason.FROM_MISSING: (403, UNVERIFIED_FROM),
    Reason.FROM_MALFORMED: (400, None),
    Reason.FROM_UNVERIFIED: (403, UNVERIFIED_FROM),
    Reason.FROM_NOT_ALLOWED: (403, None),
    Reason.HEADER_MALFORMED: (400, None),
    Reason.HEADER_DUPLICATE: (400, None),
    Reason.MESSAGE_LOOP: (400, "too many hops"),
    Reason.SMTPAPI_UNSUPPORTED: (400, None),
    Reason.RECIPIENT_MALFORMED: (400, None),
    Reason.RECIPIENT_LITERAL: (400, "recipients at addresses or local names are not accepted"),
    Reason.RECIPIENTS_TOO_MANY: (400, None),
    Reason.RATE_EXCEEDED: (429, None),
    Reason.DAILY_EXCEEDED: (429, None),
    Reason.CREDITS_EXCEEDED: (401, "Maximum credits exceeded"),
    Reason.STORAGE_FULL: (503, "service unavailable: storage is full"),
    Reason.STORAGE_UNAVAILABLE: (503, "service unavailable: storage cannot be reached"),
}

# Obstacles: the status; the text is the decline's own sentence, except where it must not tell more than "not found".
_OBSTACLES: Final[dict[Obstacle, int]] = {
    Obstacle.ACCOUNT_UNKNOWN: 404,
    Obstacle.ACCOUNT_MALFORMED: 400,
    Obstacle.ACCOUNT_TAKEN: 400,
    Obstacle.EMAIL_MALFORMED: 400,
    Obstacle.SUBUSERS_TOO_MANY: 403,
    Obstacle.SUBUSER_UNKNOWN: 404,
    Obstacle.CREDITS_UNLIMITED: 400,
    Obstacle.USER_UNKNOWN: 404,
    Obstacle.USERNAME_MALFORMED: 400,
    Obstacle.USERNAME_TAKEN: 400,
    Obstacle.EMAIL_TAKEN: 400,
    Obstacle.EMAIL_TOO_OFTEN: 429,
    Obstacle.OWNER_EXISTS: 409,
    Obstacle.PASSWORD_WEAK: 400,
    Obstacle.PASSWORD_WRONG: 400,
    Obstacle.PROFILE_MALFORMED: 400,
    Obstacle.LINK_SPENT: 404,
    Obstacle.SIGNUP_CLOSED: 403,
    Obstacle.KEY_UNKNOWN: 404,
    Obstacle.KEY_MALFORMED: 400,
    Obstacle.KEY_TAKEN: 409,
    Obstacle.KEYS_TOO_MANY: 403,
    Obstacle.KEY_OUT_OF_REACH: 403,
    Obstacle.KEY_NOT_STOPPED: 409,
    Obstacle.SCOPE_UNKNOWN: 400,
    Obstacle.POLICY_UNASSIGNABLE: 403,
    Obstacle.SCOPE_UNASSIGNABLE: 400,
    Obstacle.ACCESS_RULE_UNKNOWN: 404,
    Obstacle.ACCESS_RULE_MALFORMED: 400,
    Obstacle.ACCESS_RULES_TOO_MANY: 400,
    Obstacle.ACCESS_EXCLUDES_CALLER: 400,
    Obstacle.ACCESS_NOT_PENDING: 409,
    Obstacle.DOMAIN_UNKNOWN: 404,
    Obstacle.DOMAIN_AMBIGUOUS: 400,
    Obstacle.DOMAIN_MALFORMED: 400,
    Obstacle.DOMAIN_TAKEN: 400,
    Obstacle.ASSIGNMENTS_TOO_MANY: 403,
    Obstacle.FACTOR_UNKNOWN: 404,
    Obstacle.FACTOR_WRONG: 400,
    Obstacle.FACTOR_USED: 400,
    Obstacle.FACTOR_NOT_PENDING: 409,
    Obstacle.FACTOR_MALFORMED: 400,
    Obstacle.FACTOR_TAKEN: 400,
    Obstacle.FACTORS_TOO_MANY: 403,
    Obstacle.FACTOR_LAST: 409,
    Obstacle.TEAMMATE_UNKNOWN: 404,
    Obstacle.TEAMMATE_TAKEN: 400,
    Obstacle.TEAMMATE_OUT_OF_REACH: 403,
    Obstacle.TEAMMATES_TOO_MANY: 403,
    Obstacle.RIGHTS_MALFORMED: 400,
    Obstacle.INVITATION_UNKNOWN: 404,
    Obstacle.INVITATIONS_TOO_MANY: 429,
    Obstacle.SCOPE_REQUEST_UNKNOWN: 404,
}


def refused(refusal: Refused) -> Problem:
    """Give the answer to a refusal; what mail/send says differently stands in its own module."""
    status, text = _REASONS[refusal.reason]
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in {429, 503} else None
    if status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    unverified = refusal.reason is Reason.FROM_UNVERIFIED
    hint = f"{refusal.detail} is not an authenticated domain of this account or subuser" if unverified else None
    message = text or refusal.detail or _PLAIN.get(status, "bad request")
    return problem(status, message, hint=hint, headers=headers)


def declined(answer: Declined, field: str | None = None) -> Problem:
    """Give the answer to an action that was not done; ``field`` is where in the request the reason stands."""
    status = _OBSTACLES[answer.obstacle]
    # A foreign thing and one that never was get the same words.
    if status == 404 or answer.obstacle is Obstacle.KEY_OUT_OF_REACH:
        return plain(status)
    return problem(status, answer.text, field)


# What msgspec says of a body that does not have the type it should, in the vendor's JSON-schema words.
_WRONG_TYPE: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]+)`")
_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`")
_JSON_NAMES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_NO_PARAMETER: Final = re.compile(r"Missing required (?:query|path|header) parameter '([^']+)'")
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`\Z")


def unreadable(message: str) -> Problem:
    """Turn msgspec's sentence about a body or a parameter into the vendor's error, naming the field."""
    found = _PATH.search(message)
    path = _dotted(found[1]) if found else ""
    if (wrong := _WRONG_TYPE.search(message)) is not None:
        expected, given = (_json_name(text) for text in wrong.groups())
        return invalid(f"Invalid type. Expected: {expected}, given: {given}.", path or None)
    if (missing := _MISSING.search(message)) is not None:
        if missing[1] == "data" and not path:
            return invalid("a JSON body is required", None)
        name = f"{path}.{missing[1]}" if path else missing[1]
        return invalid(f"{missing[1]} is required", name)
    if (unknown := _UNKNOWN.search(message)) is not None:
        name = f"{path}.{unknown[1]}" if path else unknown[1]
        return invalid(f"{unknown[1]} is not a parameter of this request.", name)
    if (absent := _NO_PARAMETER.search(message)) is not None:
        return invalid(f"{absent[1]} is required", absent[1])
    text = message if found is None else message[: found.start()]
    return invalid(text.replace("`", "'"), path or None)


def _json_name(text: str) -> str:
    return " or ".join(_JSON_NAMES.get(one, one) for one in text.split(" | "))


def _dotted(path: str) -> str:
    """``data.personalizations[0].to`` → ``personalizations.0.to``; ``data`` is what the framework calls the body."""
    dotted = re.sub(r"\[(\d+)\]", r".\1", path).replace("[...]", "")
    return "" if dotted == "data" else dotted.removeprefix("data.")
