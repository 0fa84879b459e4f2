"""Scopes by what they are about: what forms offer together, and what a teammate asks for at once."""

from __future__ import annotations

from typing import Final

from sekisho.apikeys.scopes import FULL_ACCESS, MAIL_SEND
from sekisho.languages import N_

_FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    N_("Mail Send"): (MAIL_SEND, "mail.batch."),
    N_("API Keys"): ("api_keys.",),
    N_("Security"): ("access_settings.",),
    N_("Sender Authentication"): ("whitelabel.",),
    N_("Subusers"): ("subusers.",),
    N_("Suppressions"): ("suppression.", "asm."),
    N_("Event Webhook"): ("user.webhooks.event.",),
    N_("Inbound Parse"): ("user.webhooks.parse.settings.",),
    N_("Scheduled Sends"): ("user.scheduled_sends.",),
    N_("Enforced TLS"): ("user.settings.enforced_tls.",),
    N_("Teammates"): ("teammates.",),
    N_("Single Sign-On"): ("sso.",),
    N_("Templates"): ("templates.",),
    N_("Categories"): ("categories.create", "categories.read", "categories.update", "categories.delete"),
    N_("Stats"): (
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
    N_("Tracking"): ("tracking_settings.",),
    N_("Mail Settings"): ("mail_settings.",),
    N_("IP Management"): ("ips.",),
    N_("Email Activity"): ("messages.", "email_activity."),
    N_("Alerts"): ("alerts.",),
    N_("User Account"): (
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
    N_("Data Erasure"): ("recipients.",),
}
"""The vendor's groups, by what the names of their scopes begin with."""

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(sorted(scope for scope in FULL_ACCESS if scope.startswith(beginnings)))
    for name, beginnings in _FAMILIES.items()
}
"""Every scope but those of billing, which nobody pays here, is in exactly one group."""
