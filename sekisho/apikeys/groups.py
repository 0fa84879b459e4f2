"""Scopes by what they are about: what forms offer together, and what a teammate asks for at once."""

from __future__ import annotations

from typing import Final

from sekisho.apikeys.scopes import FULL_ACCESS, MAIL_SEND

_FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "Mail Send": (MAIL_SEND, "mail.batch."),
    "API Keys": ("api_keys.",),
    "Security": ("access_settings.",),
    "Sender Authentication": ("whitelabel.",),
    "Subusers": ("subusers.",),
    "Suppressions": ("suppression.", "asm."),
    "Event Webhook": ("user.webhooks.event.",),
    "Inbound Parse": ("user.webhooks.parse.settings.",),
    "Scheduled Sends": ("user.scheduled_sends.",),
    "Enforced TLS": ("user.settings.enforced_tls.",),
    "Teammates": ("teammates.",),
    "Single Sign-On": ("sso.",),
    "Templates": ("templates.",),
    "Categories": ("categories.create", "categories.read", "categories.update", "categories.delete"),
    "Stats": (
        "stats.",
        "browsers.stats.",
        "devices.stats.",
        "geo.stats.",
        "mailbox_providers.stats.",
        "clients.",
        "categories.stats.",
        "user.webhooks.parse.stats.",
        "di.",
    ),
    "Tracking": ("tracking_settings.",),
    "Mail Settings": ("mail_settings.",),
    "IP Management": ("ips.",),
    "Email Activity": ("messages.", "email_activity."),
    "Alerts": ("alerts.",),
    "User Account": (
        "user.account.",
        "user.credits.",
        "user.email.",
        "user.profile.",
        "user.username.",
        "user.password.",
        "user.timezone.",
        "user.multifactor_authentication.",
        "credentials.",
    ),
    "Data Erasure": ("recipients.",),
}
"""The vendor's groups, by what the names of their scopes begin with."""

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(sorted(scope for scope in FULL_ACCESS if scope.startswith(beginnings)))
    for name, beginnings in _FAMILIES.items()
}
"""Every scope but those of billing, which nobody pays here, is in exactly one group."""
