"""Identity: who a request acts as, whichever door it came through, and what its pass allows."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from sekisho.credits import Credits
from sekisho.ids import AccountId, KeyId

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


def undisguised(address: IPAddress) -> IPAddress:
    """Take an IPv4 address out of the IPv6 form (RFC 4291 §2.5.5.2) that a dual-stack listener puts it into."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` recipients in any ``window_s`` seconds (1 or 60)."""

    count: int
    window_s: int


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What one key may do beyond its scopes; None or empty means no limit of that kind."""

    ips: tuple[IPNetwork, ...] = ()
    from_domains: frozenset[str] = frozenset()
    """Lower-case A-label domains that From may use; exact match."""
    from_addresses: frozenset[str] = frozenset()
    """``local@domain`` (domain a lower-case A-label, local part as it is written) that From may be."""
    rate: Rate | None = None
    daily: int | None = None
    """Recipients in one UTC day."""
    max_recipients: int | None = None
    """Recipients in one message."""
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """The account (and subuser, when the pass is a subuser's) that a key acts for."""

    account_id: AccountId
    subuser_id: AccountId | None
    key_id: KeyId
    scopes: frozenset[str]
    policy: KeyPolicy
    credits: tuple[Credits, ...] = ()
    """What may still be sent, beside the key's own limits: the sender's grant, and that of a subuser's account."""

    @property
    def sender_id(self) -> AccountId:
        """Whose mail it is: the subuser's when there is one, else the account's."""
        return self.account_id if self.subuser_id is None else self.subuser_id
