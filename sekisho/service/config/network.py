"""Readers for names and addresses on networks: hosts, domains, endpoints, CIDRs."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sekisho.identity import IPAddress, IPNetwork
from sekisho.service.config.values import BadValue, Kind, Reader

_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def parse_host_name(written: str) -> str:
    """Lower-case a host name in ASCII (A-label) form; raises BadValue."""
    name = written.lower()
    labels = name.split(".")
    # A name whose last label is a number is an address to many resolvers ("127.1").
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        message = "must be a host name in ASCII form (international names as xn--…)"
        raise BadValue(message)
    return name


def host_name() -> Reader[str]:
    """A host name; lower-cased."""
    return Reader(Kind.TEXT, parse_host_name, "host name")


def _parse_host(written: str) -> str:
    try:
        return str(ipaddress.ip_address(written.removeprefix("[").removesuffix("]")))
    except ValueError:
        return parse_host_name(written)


def host() -> Reader[str]:
    """A host name or an IP address."""
    return Reader(Kind.TEXT, _parse_host, "host name or IP address")


def _parse_domain_pattern(written: str) -> str:
    if written == "*":
        return written
    if written.startswith("*."):
        return "*." + parse_host_name(written[2:])
    try:
        return parse_host_name(written)
    except BadValue:
        message = 'must be "example.com", "*.example.com" or "*"'
        raise BadValue(message) from None


def domain_pattern() -> Reader[str]:
    """``example.com``, ``*.example.com`` or ``*``."""
    return Reader(Kind.TEXT, _parse_domain_pattern, '"example.com", "*.example.com" or "*"')


def host_pattern() -> Reader[str]:
    """What ``domain_pattern`` reads, or an IP address, or nothing at all."""

    def parse(written: str) -> str:
        try:
            return str(ipaddress.ip_address(written))
        except ValueError:
            return _parse_domain_pattern(written) if written else ""

    return Reader(Kind.TEXT, parse, '"mx.example.com", "*.example.com", "*" or empty')


def web_origin() -> Reader[str]:
    """``https://host[:port]`` without a path; empty is allowed."""

    def parse(written: str) -> str:
        wrong = BadValue("must be http:// or https:// with a host, an optional port and no path")
        if not written:
            return written
        try:
            parts = urlsplit(written)
            port = parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise wrong
        if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
            raise wrong
        try:
            _parse_host(parts.hostname)
        except BadValue:
            raise wrong from None
        return written.removesuffix("/")

    return Reader(Kind.TEXT, parse, "http(s) address without a path")


def issuer() -> Reader[str]:
    """An OpenID Provider's name for itself, as it writes it: ``https://``, or ``http://`` on this machine; or empty."""

    def parse(written: str) -> str:
        wrong = BadValue("must be https:// (http:// on this machine only) with a host, without a query")
        if not written:
            return written
        try:
            parts = urlsplit(written)
            _ = parts.port
        except ValueError:
            raise wrong from None
        is_here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and is_here)):
            raise wrong
        if parts.query or parts.fragment or parts.username is not None or not written.isascii() or " " in written:
            raise wrong
        try:
            _parse_host(parts.hostname)
        except BadValue:
            raise wrong from None
        return written

    return Reader(Kind.TEXT, parse, "https address, exactly as the provider writes it")


# Network addresses.


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP address with a port; port 0 asks for an ephemeral one."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


_ENDPOINT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([^:\[\]]{1,45}))(?::([0-9]{1,5}))?")


def parse_endpoint(written: str, *, default_port: int | None = None) -> Endpoint:
    """``127.0.0.1:25``, ``[::1]:25`` or, with a default port, a bare address; raises BadValue."""
    message = 'must be an IP address with a port such as "127.0.0.1:25" or "[::1]:25"'
    found = _ENDPOINT.fullmatch(written)
    if found is not None:
        name, port_text = found[1] or found[2], found[3]
    else:
        name, port_text = written, None
    port = int(port_text) if port_text is not None else default_port
    if port is None or port > 65535:
        raise BadValue(message)
    try:
        return Endpoint(ipaddress.ip_address("127.0.0.1" if name == "localhost" else name), port)
    except ValueError:
        raise BadValue(message) from None


def endpoint() -> Reader[Endpoint]:
    """An address to listen on."""
    return Reader(Kind.TEXT, parse_endpoint, "address:port, [address]:port")


def endpoints(default_port: int) -> Reader[tuple[Endpoint, ...]]:
    """Addresses to ask, with a default port."""

    def parse(written: list[str]) -> tuple[Endpoint, ...]:
        found = tuple(parse_endpoint(item, default_port=default_port) for item in written)
        if any(item.port == 0 for item in found):
            message = "must name ports above 0"
            raise BadValue(message)
        return found

    return Reader(Kind.LIST, parse, f"list of addresses (port {default_port} unless given)")


def networks() -> Reader[tuple[IPNetwork, ...]]:
    """CIDRs."""

    def parse(written: list[str]) -> tuple[IPNetwork, ...]:
        try:
            return tuple(ipaddress.ip_network(item) for item in written)
        except ValueError as error:
            message = f"must be a list of CIDRs: {error}"
            raise BadValue(message) from None

    return Reader(Kind.LIST, parse, 'list of CIDRs such as "10.0.0.0/8"')


def addresses() -> Reader[tuple[IPAddress, ...]]:
    """IP addresses."""

    def parse(written: list[str]) -> tuple[IPAddress, ...]:
        try:
            return tuple(ipaddress.ip_address(item) for item in written)
        except ValueError as error:
            message = f"must be a list of IP addresses: {error}"
            raise BadValue(message) from None

    return Reader(Kind.LIST, parse, "list of IP addresses")
