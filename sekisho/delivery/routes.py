"""Which next hop a recipient's mail takes: the routes of the configuration, first match wins."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from sekisho.ids import AccountId
from sekisho.secret import Secret

_REMEMBERED = 4096
"""Answers kept. Recipient domains are the clients' choice, so this must not grow with them."""


class RouteTls(enum.StrEnum):
    """``delivery.routes.tls``."""

    OFF = "off"
    OPPORTUNISTIC = "opportunistic"  # used if offered, verified if it can be, clear text when it fails
    REQUIRED = "required"  # verified, or nothing is sent


@dataclass(frozen=True, slots=True)
class Target:
    """A next hop and how to talk to it. Equal targets share their connections."""

    host: str
    port: int
    tls: RouteTls
    username: str = ""
    password: Secret[str] | None = field(default=None, hash=False)
    verp: bool = True
    """False: one envelope sender for all recipients of a message, several of them in one transaction."""

    def __post_init__(self) -> None:
        if self.username and self.tls is not RouteTls.REQUIRED:
            message = f'route to {self.host}: a user name needs tls = "required"; credentials never go out unprotected'
            raise ValueError(message)
        if bool(self.username) != (self.password is not None):
            message = f"route to {self.host}: user name and password belong together"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table."""

    domain: str
    """``example.com`` (itself alone), ``*.example.com`` (everything below, at any depth, not itself) or ``*``."""
    target: Target
    account: AccountId | None = None
    """Only this account's mail; None = everybody's."""
    subuser: AccountId | None = None

    def __post_init__(self) -> None:
        name = self.domain.removeprefix("*.")
        if self.domain != "*" and (not name or "*" in name or name != name.lower()):
            message = f"route domain {self.domain!r} is neither a lower-case domain nor *.domain nor *"
            raise ValueError(message)


class Routes:
    """The table, ready to be asked. Immutable; a reload makes a new one."""

    def __init__(self, routes: Sequence[Route] = ()) -> None:
        self._by_pattern: dict[str, list[tuple[int, Route]]] = {}
        for position, route in enumerate(routes):
            self._by_pattern.setdefault(route.domain, []).append((position, route))
        self._is_personal = any(route.account is not None or route.subuser is not None for route in routes)
        self._answers: dict[tuple[str, AccountId, AccountId | None], Route | None] = {}

    @property
    def targets(self) -> frozenset[Target]:
        """Everywhere that these routes lead."""
        return frozenset(route.target for entries in self._by_pattern.values() for _, route in entries)

    def splits(self, domain: str) -> bool:
        """Tell whether mail for ``domain`` may take different ways, depending on whose it is."""
        return self._is_personal and any(
            entry[1].account is not None or entry[1].subuser is not None
            for pattern in patterns(domain)
            for entry in self._by_pattern.get(pattern, ())
        )

    def find(self, domain: str, account_id: AccountId, subuser_id: AccountId | None) -> Route | None:
        """Give the first route for mail of this sender to ``domain`` (lower case), or None."""
        asked = (domain, account_id, subuser_id)
        try:
            return self._answers[asked]
        except KeyError:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._answers[asked] = self._search(domain, account_id, subuser_id)
            return answer

    def _search(self, domain: str, account_id: AccountId, subuser_id: AccountId | None) -> Route | None:
        candidates = [
            entry
            for pattern in patterns(domain)
            for entry in self._by_pattern.get(pattern, ())
            if entry[1].account in (None, account_id) and entry[1].subuser in (None, subuser_id)
        ]
        return min(candidates, key=lambda entry: entry[0])[1] if candidates else None


def patterns(domain: str) -> list[str]:
    """List every pattern that matches a domain or host name, the narrowest first."""
    labels = domain.split(".")
    return [domain, *("*." + ".".join(labels[i:]) for i in range(1, len(labels))), "*"]
