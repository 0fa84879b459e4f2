"""Log-in through an OpenID Provider."""

from sekisho.oidc.client import Client
from sekisho.oidc.idtoken import Outsider, has_second_factor
from sekisho.oidc.linking import Linked, erase_user, find, is_linked, link, unlink
from sekisho.oidc.model import Journey, Registration, unseal
from sekisho.oidc.provider import Trouble, address_fault, is_loopback

__all__ = [
    "Client",
    "Journey",
    "Linked",
    "Outsider",
    "Registration",
    "Trouble",
    "address_fault",
    "erase_user",
    "find",
    "has_second_factor",
    "is_linked",
    "is_loopback",
    "link",
    "unlink",
    "unseal",
]
