"""Why we say no: the closed list of reasons, and the value that carries one.

A refusal is an answer, not an exception. Every door has one table from Reason to its own dialect, and a test walks
this list against each table, so a new reason cannot be forgotten at a door.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Reason(enum.StrEnum):
    """``subject.action``; each with the sentence an operator reads."""

    # Who are you?
    AUTH_REQUIRED = "auth.required"  # nothing is relayed without a key
    AUTH_BAD_USERNAME = "auth.bad_username"  # the user name is not exactly ``apikey``
    AUTH_BAD_KEY = "auth.bad_key"  # unknown, wrong, revoked or expired key
    AUTH_HELD = "auth.held"  # the key is held until its owner releases it
    AUTH_DISABLED = "auth.disabled"  # the key's account or subuser is disabled
    AUTH_UNSCOPED = "auth.unscoped"  # the key lacks the scope the action needs
    AUTH_ADDRESS = "auth.address"  # the client's address is not on the key's list
    AUTH_ENDED = "auth.ended"  # the pass stopped being good while the session was open
    AUTH_UNAVAILABLE = "auth.unavailable"  # control data cannot be read or is too old to trust
    AUTH_THROTTLED = "auth.throttled"  # too many failed logins from this address

    # As whom?
    FROM_MISSING = "from.missing"  # no From header
    FROM_MALFORMED = "from.malformed"  # not exactly one From with exactly one plain mailbox
    FROM_UNVERIFIED = "from.unverified"  # From's domain is not valid for this account or subuser
    FROM_NOT_ALLOWED = "from.not_allowed"  # the key's policy does not name From's domain

    # What?
    HEADER_MALFORMED = "header.malformed"  # a header block that receivers would read in different ways
    HEADER_DUPLICATE = "header.duplicate"  # a header that may stand once stands twice
    MESSAGE_LOOP = "message.loop"  # too many Received headers
    SMTPAPI_UNSUPPORTED = "smtpapi.unsupported"  # a documented X-SMTPAPI key that this version does not carry out

    # To whom?
    RECIPIENT_MALFORMED = "recipient.malformed"
    RECIPIENT_LITERAL = "recipient.literal"  # an address literal, a bare address or a local name
    RECIPIENTS_TOO_MANY = "recipients.too_many"

    # How much?
    RATE_EXCEEDED = "limit.rate"
    DAILY_EXCEEDED = "limit.daily"
    CREDITS_EXCEEDED = "limit.credits"  # the subuser has none left

    # Not now.
    STORAGE_FULL = "storage.full"
    STORAGE_UNAVAILABLE = "storage.unavailable"


@dataclass(frozen=True, slots=True)
class Refused:
    """A no. ``detail`` names the offending thing in words fit for the client (no secrets, printable ASCII)."""

    reason: Reason
    detail: str = ""


class Obstacle(enum.StrEnum):
    """Why an administrator's action was not done: the closed list that commands and the API translate."""

    ACCOUNT_UNKNOWN = "account.unknown"
    ACCOUNT_MALFORMED = "account.malformed"  # name or owner address is not one
    ACCOUNT_TAKEN = "account.taken"  # the name is in use
    EMAIL_MALFORMED = "email.malformed"
    SUBUSERS_TOO_MANY = "subuser.too_many"
    SUBUSER_UNKNOWN = "subuser.unknown"  # also: a subuser of somebody else
    CREDITS_UNLIMITED = "credits.unlimited"  # there is nothing to add to

    USER_UNKNOWN = "user.unknown"
    USERNAME_MALFORMED = "user.name_malformed"
    USERNAME_TAKEN = "user.name_taken"  # also: an account or subuser is called so
    EMAIL_TAKEN = "user.email_taken"  # somebody else logs in with it; said only to whom it has been shown to belong
    EMAIL_TOO_OFTEN = "user.email_too_often"  # addresses to confirm within a day
    OWNER_EXISTS = "user.owner_exists"  # one is enough
    PASSWORD_WEAK = "user.password_weak"  # noqa: S105  # no password
    PASSWORD_WRONG = "user.password_wrong"  # noqa: S105  # no password
    PROFILE_MALFORMED = "user.profile_malformed"

    LINK_SPENT = "link.spent"  # also: never made, replaced by a newer one, expired, for something else
    SIGNUP_CLOSED = "signup.closed"  # nobody opens an account himself here

    KEY_UNKNOWN = "key.unknown"
    KEY_MALFORMED = "key.malformed"  # name, policy or imported text cannot be understood
    KEY_TAKEN = "key.taken"  # an imported id is in use
    KEYS_TOO_MANY = "key.too_many"
    KEY_OUT_OF_REACH = "key.out_of_reach"  # it may do more than who asks
    KEY_NOT_STOPPED = "key.not_stopped"  # neither compromised nor held: its mail is on its way
    SCOPE_UNKNOWN = "scope.unknown"
    POLICY_UNASSIGNABLE = "policy.unassignable"  # looser than that of the key which grants it
    SCOPE_UNASSIGNABLE = "scope.unassignable"  # exists, and this key may not have it

    ACCESS_RULE_UNKNOWN = "access_rule.unknown"  # also: somebody else's
    ACCESS_RULE_MALFORMED = "access_rule.malformed"
    ACCESS_RULES_TOO_MANY = "access_rule.too_many"
    ACCESS_EXCLUDES_CALLER = "access.excludes_caller"  # the list would not let in who asks for it
    ACCESS_NOT_PENDING = "access.not_pending"  # there is no list on trial

    DOMAIN_UNKNOWN = "domain.unknown"
    DOMAIN_AMBIGUOUS = "domain.ambiguous"  # several accounts claim it and none was named
    DOMAIN_MALFORMED = "domain.malformed"
    DOMAIN_TAKEN = "domain.taken"  # this account claims it already, or it is valid in another
    ASSIGNMENTS_TOO_MANY = "domain.assignments_too_many"

    FACTOR_UNKNOWN = "factor.unknown"  # also: somebody else's, and none of that kind
    FACTOR_WRONG = "factor.wrong"  # a code or a passkey's answer that proves nothing
    FACTOR_USED = "factor.used"  # right, but used up: nothing proves twice
    FACTOR_NOT_PENDING = "factor.not_pending"  # what was to be confirmed was not begun, or too long ago
    FACTOR_MALFORMED = "factor.malformed"  # a passkey's name cannot be one
    FACTOR_TAKEN = "factor.taken"  # this passkey is somebody's already
    FACTORS_TOO_MANY = "factor.too_many"
    FACTOR_LAST = "factor.last"  # nobody is left without a second factor

    TEAMMATE_UNKNOWN = "teammate.unknown"  # also: somebody else's
    TEAMMATE_TAKEN = "teammate.taken"  # is one, or is invited, already
    TEAMMATE_OUT_OF_REACH = "teammate.out_of_reach"  # the owner, oneself, or somebody who may do more
    TEAMMATES_TOO_MANY = "teammate.too_many"
    RIGHTS_MALFORMED = "teammate.rights_malformed"  # rights that contradict themselves
    INVITATION_UNKNOWN = "invitation.unknown"  # also: accepted, withdrawn, expired, somebody else's
    INVITATIONS_TOO_MANY = "invitation.too_many"  # letters within a day
    SCOPE_REQUEST_UNKNOWN = "scope_request.unknown"  # also: somebody else's


@dataclass(frozen=True, slots=True)
class Declined:
    """An action not done, nothing changed. ``text`` is one sentence for the person who asked."""

    obstacle: Obstacle
    text: str
