"""The closed vocabulary of scopes: the vendor's names, what full access means, and what cannot be given.

Names do not imply one another: ``subusers.read`` gives nothing of ``subusers.credits.read``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import Final

from sekisho.refusal import Declined, Obstacle

MAIL_SEND: Final = "mail.send"

_VERBS: Final = {"c": "create", "r": "read", "u": "update", "d": "delete"}

# Resource and the first letters of its verbs; groups and order of the vendor's own list.
_GROUPS: Final = """
    mail.batch crud
    api_keys crud
    access_settings.activity r
    access_settings.whitelist crud
    whitelabel crud
    subusers crud
    subusers.credits crud
    subusers.credits.remaining crud
    subusers.monitor crud
    subusers.reputations r
    subusers.stats r
    subusers.stats.monthly r
    subusers.stats.sums r
    subusers.summary r
    suppression crud
    suppression.blocks crud
    suppression.bounces crud
    suppression.invalid_emails crud
    suppression.spam_reports crud
    suppression.unsubscribes crud
    asm.groups crud
    asm.groups.suppressions crud
    asm.suppressions.global crud
    user.webhooks.event.settings crud
    user.webhooks.event.test crud
    user.settings.enforced_tls ru
    user.scheduled_sends crud

    teammates crud
    sso.settings crud
    sso.teammates cu
    templates crud
    templates.versions crud
    templates.versions.activate crud
    stats r
    stats.global r
    browsers.stats r
    devices.stats r
    geo.stats r
    mailbox_providers.stats r
    clients.stats r
    clients.desktop.stats r
    clients.phone.stats r
    clients.tablet.stats r
    clients.webmail.stats r
    categories.stats r
    categories.stats.sums r
    user.webhooks.parse.stats r
    di.bounce_block_classification r
    categories crud
    tracking_settings r
    tracking_settings.click crud
    tracking_settings.google_analytics crud
    tracking_settings.open crud
    tracking_settings.subscription crud
    mail_settings r
    mail_settings.address_whitelist crud
    mail_settings.bcc crud
    mail_settings.bounce_purge crud
    mail_settings.footer crud
    mail_settings.forward_bounce crud
    mail_settings.forward_spam crud
    mail_settings.plain_content crud
    mail_settings.spam_check crud
    mail_settings.template crud
    ips crud
    ips.assigned r
    ips.pools crud
    ips.pools.ips crud
    ips.warmup crud
    user.webhooks.parse.settings crud
    messages r
    email_activity r
    alerts crud
    user.account r
    user.credits r
    user.email crud
    user.profile crud
    user.username ru
    user.password ru
    user.timezone crud
    user.multifactor_authentication crud
    credentials crud
    recipients.erasejob cr
"""


def _names(groups: str) -> Iterator[str]:
    for line in groups.split("\n"):
        if line.strip():
            resource, verbs = line.split()
            yield from (f"{resource}.{_VERBS[verb]}" for verb in verbs)


BILLING: Final = frozenset(_names("billing crud"))
"""Exclusive: a key holds these or any others, never both, and full access does not include them."""

FULL_ACCESS: Final = frozenset(_names(_GROUPS)) | {MAIL_SEND}

ALL: Final = FULL_ACCESS | BILLING

# Set by the system on a principal, shown among its scopes, never given.
_PSEUDO: Final = frozenset(
    {
        "2fa_exempt",
        "2fa_required",
        "sender_verification_eligible",
        "sender_verification_exempt",
        "sender_verification_legacy",
    }
)

# Families of products that this server does not have; known, so that the message can say so.
_ELSEWHERE: Final = (
    "design_library.",
    "email_testing.",
    "marketing.",
    "marketing_campaigns.",
    "newsletter.",
    "partner_settings.",
    "signup.",
    "ui.",
    "validations.",
)


def effective(given: Collection[str] | None, *, of_subuser: bool) -> frozenset[str]:
    """List what a key may do: what it was given (None = full access), without what subusers never may."""
    held = FULL_ACCESS if given is None else frozenset(given) & ALL
    return frozenset(scope for scope in held if not _is_parents(scope)) if of_subuser else held


def check(given: Collection[str], *, of_subuser: bool) -> frozenset[str] | Declined:
    """Read a list of scopes to be given to a key; the first that cannot be is named."""
    for scope in given:
        if (declined := _fault(scope, of_subuser=of_subuser)) is not None:
            return declined
    found = frozenset(given)
    if found & BILLING and found - BILLING:
        text = "billing scopes stand alone: a key holds them or others, never both"
        return Declined(Obstacle.SCOPE_UNASSIGNABLE, text)
    return found


def _fault(scope: str, *, of_subuser: bool) -> Declined | None:
    if scope in ALL:
        if of_subuser and _is_parents(scope):
            return Declined(Obstacle.SCOPE_UNASSIGNABLE, f"a subuser's key cannot have {scope}")
        return None
    if scope in _PSEUDO:
        return Declined(Obstacle.SCOPE_UNASSIGNABLE, f"{scope} is set by the system and cannot be given")
    if scope.startswith(_ELSEWHERE):
        return Declined(Obstacle.SCOPE_UNASSIGNABLE, f"{scope} belongs to a product that this server does not have")
    return Declined(Obstacle.SCOPE_UNKNOWN, f"there is no scope {scope!r}{_hint(scope)}")


def _hint(scope: str) -> str:
    # The vendor's own pages wrote this family in the plural.
    if scope.startswith("suppressions.") and (singular := scope.replace("suppressions.", "suppression.", 1)) in ALL:
        return f"; did you mean {singular}?"
    folded = scope[:_LONGEST].lower()
    below = sorted(name for name in ALL if name.startswith(f"{folded.removesuffix('.*')}."))
    if below and (folded.endswith(".*") or folded not in ALL):
        return f"; name each one: {', '.join(below[:_HINTS])}{', …' if len(below) > _HINTS else ''}"
    close = difflib.get_close_matches(folded, sorted(ALL), n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


_LONGEST: Final = 80
_HINTS: Final = 4


def _is_parents(scope: str) -> bool:
    return scope.startswith(("subusers.", "billing."))
