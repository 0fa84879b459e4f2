"""What is written to people, how long each kind may wait, and the value read from its row."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.ids import AccountId, UserId
from sekisho.links import LIFETIME_MS as LINK_LIFETIME_MS
from sekisho.links import Purpose
from sekisho.ports.clock import DAY_MS


class Kind(enum.StrEnum):
    """What a letter is about."""

    # Asked for by somebody who need not be anybody: whom it concerns is found out when it is written.
    SIGNUP = "signup"  # open an account
    RESET = "reset"  # choose a new password

    SIGNUP_INVITED = "signup_invited"  # the operator invites to open an account
    INVITE = "invite"  # become a teammate
    EMAIL_CONFIRM = "email_confirm"  # prove the new address: goes there

    # Told, with what to do if it was somebody else.
    EMAIL_ASKED = "email_asked"  # a change of address was asked for: goes to the old one
    EMAIL_CHANGED = "email_changed"  # it was done: goes to the old one
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # no password
    FACTORS_CHANGED = "factors_changed"  # a second factor was added, removed or reset, or a recovery code used
    NEW_LOGIN = "new_login"  # a log-in from where this person never was

    LIMITS_LIFTED = "limits_lifted"  # a new account's tight limits are over


LIFETIME_MS: Final = {
    # Whoever waits for one of these waits at the screen; what its link could do is over by then.
    Kind.SIGNUP: LINK_LIFETIME_MS[Purpose.SIGNUP],
    Kind.RESET: LINK_LIFETIME_MS[Purpose.RESET],
    Kind.EMAIL_CONFIRM: LINK_LIFETIME_MS[Purpose.EMAIL],
    Kind.SIGNUP_INVITED: 7 * DAY_MS,
    Kind.INVITE: LINK_LIFETIME_MS[Purpose.INVITE],
    Kind.EMAIL_ASKED: 7 * DAY_MS,
    Kind.EMAIL_CHANGED: 7 * DAY_MS,
    Kind.PASSWORD_CHANGED: 7 * DAY_MS,
    Kind.FACTORS_CHANGED: 7 * DAY_MS,
    Kind.NEW_LOGIN: 7 * DAY_MS,
    Kind.LIMITS_LIFTED: 7 * DAY_MS,
}
"""How long a letter waits for a way out before it is given up."""

INVITATION_MS: Final = 7 * DAY_MS
"""How long the operator's invitation to open an account is good."""

ANYBODYS: Final = frozenset({Kind.SIGNUP, Kind.RESET})
"""What strangers can cause to be written to others."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter that is taken to be written and sent."""

    id: int
    kind: Kind
    to: str
    """As it was typed; of RESET also a user name."""
    language: str
    user_id: UserId | None
    account_id: AccountId | None
    invitation_id: int | None
    about: Mapping[str, str]
    created_ms: int
    tries: int
    """This one included."""


@dataclass(frozen=True, slots=True)
class Written:
    """A letter as it leaves."""

    to: str
    subject: str
    text: str
