"""One-time links: the right to do one thing once, for whoever holds the token."""

from sekisho.links.actions import end, erase_invitation, erase_tenant, erase_user, make, prune, use
from sekisho.links.model import LIFETIME_MS, Link, Purpose
from sekisho.links.reading import find, is_open

__all__ = [
    "LIFETIME_MS",
    "Link",
    "Purpose",
    "end",
    "erase_invitation",
    "erase_tenant",
    "erase_user",
    "find",
    "is_open",
    "make",
    "prune",
    "use",
]
