"""The configuration as one frozen value: every key with its default, its reader and its sentence.

Field names carry units (``idle_timeout_s``, ``max_message_size_bytes``); the name in the file is in the field's
``Key``. The file is read into this by ``read``, the reference page is printed from it by ``reference``.
"""

# ruff: noqa: RUF009 - the calls in defaults run once, at import, and give immutable values

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sekisho.db import Postgres
from sekisho.identity import IPAddress, IPNetwork
from sekisho.secret import Secret
from sekisho.service.config import network, values
from sekisho.service.config.network import Endpoint
from sekisho.service.config.values import Reader

T = TypeVar("T")

KEY: Final = "key"
"""Where a field's Key stands in its metadata."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file: how it is written, read and explained."""

    name: str
    written: object
    """The default as it would stand in the file; REQUIRED when there is none."""
    reader: Reader[Any]
    doc: str
    restart: bool
    """A change takes effect only at the next start."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the file."""

    name: str
    doc: str


@dataclass(frozen=True, slots=True)
class Tables:
    """One array of tables: ``row`` is the dataclass of each; a file without the array means the field's default."""

    name: str
    row: type[Any]
    doc: str
    default: str
    restart: bool


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED: Final = _Required()


def _key(name: str, written: object, reader: Reader[T], doc: str, *, restart: bool = False) -> T:
    metadata = {KEY: Key(name, written, reader, doc, restart)}
    if written is REQUIRED:
        return cast("T", dataclasses.field(metadata=metadata))
    return dataclasses.field(default=reader.read(written), metadata=metadata)


def _section(section: type[T], name: str, doc: str) -> T:
    return dataclasses.field(default_factory=section, metadata={KEY: Section(name, doc)})


def _tables(
    row: type[T], name: str, doc: str, default: tuple[T, ...], default_text: str, *, restart: bool = False
) -> tuple[T, ...]:
    metadata = {KEY: Tables(name, row, doc, default_text, restart)}
    return dataclasses.field(default=default, metadata=metadata)


# The words that keys choose from.


class Signup(enum.StrEnum):
    """Who may open an account."""

    CLOSED = "closed"
    INVITATION = "invitation"
    OPEN = "open"


class LogLevel(enum.StrEnum):
    """The least severe line that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class SpoolPlace(enum.StrEnum):
    """Where accepted mail waits."""

    LOCAL = "local"
    POSTGRESQL = "postgresql"


class ListenerTls(enum.StrEnum):
    """How a listener comes to TLS."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Purpose(enum.StrEnum):
    """What a listener takes."""

    SUBMISSION = "submission"
    INBOUND = "inbound"


class TlsVersion(enum.StrEnum):
    """The oldest TLS version spoken."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class DeliveryMode(enum.StrEnum):
    """What the last hop is."""

    MX = "mx"
    CAPTURE = "capture"


class RouteTls(enum.StrEnum):
    """How much TLS a route demands."""

    REQUIRED = "required"
    OPPORTUNISTIC = "opportunistic"
    OFF = "off"


class MxTls(enum.StrEnum):
    """How much TLS an MX host must speak."""

    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"


# The tables.


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The process and its place on this machine."""

    hostname: str = _key(
        "hostname",
        "relay.example.net",
        network.host_name(),
        "This server's name: greeting, EHLO, Received, Message-ID, name in its own certificate. Set it.",
        restart=True,
    )
    data_dir: Path = _key(
        "data_dir",
        "/var/lib/sekisho",
        values.directory(),
        "Databases, queue, keys and captured mail. Created with mode 0700.",
        restart=True,
    )
    workers: int = _key(
        "workers", 0, values.integer(0, 256), "Relay processes; 0 = one per three cores, at least one.", restart=True
    )
    public_url: str = _key(
        "public_url",
        "",
        network.web_origin(),
        "Where people and programs reach the dashboard and the API; empty = https:// and the host name.",
        restart=True,
    )
    user: str = _key(
        "user",
        "",
        values.text(most=64),
        "Started as root, drop to this user after binding; empty = stay.",
        restart=True,
    )
    drain_s: float = _key(
        "drain_s", 30, values.seconds(0, 3600), "Seconds that SIGTERM gives open transactions to finish."
    )
    notices_from: str = _key(
        "notices_from",
        "",
        values.text(most=254),
        "The address that people get letters from (invitations, new passwords), and that owners are told from of "
        "leaked keys and the like; empty = sekisho@ and the host name. Mailed only when its domain is authenticated in "
        "one of the accounts, as whose mail it counts.",
    )
    signup: Signup = _key(
        "signup",
        "closed",
        values.choice(Signup),
        "Who may open an account: nobody but the operator, whom he invites (`account invite`), or everybody.",
        restart=True,
    )
    log_level: LogLevel = _key("log_level", "info", values.choice(LogLevel), "The least severe line that is logged.")

    @property
    def notices_address(self) -> str:
        """The address that mail of our own comes from."""
        return self.notices_from or f"sekisho@{self.hostname}"

    def relay_workers(self, cores: int) -> int:
        """How many relay processes to run on a machine with ``cores`` cores."""
        return self.workers or max(1, cores // 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where facts and mail are kept."""

    postgres: Postgres | None = _key(
        "url",
        "sqlite",
        values.database(),
        'Control data and events: "sqlite" = files in data_dir, or postgresql://user@host/database for a fleet (see '
        "[operations](operations.md#postgresql)).",
        restart=True,
    )
    spool: SpoolPlace = _key(
        "spool",
        "local",
        values.choice(SpoolPlace),
        "Accepted mail: durable on this machine's disk, or on every node's.",
        restart=True,
    )
    master_key_file: Path | None = _key(
        "master_key_file",
        "",
        values.path(),
        "The key that seals DKIM keys and other secrets at rest; empty = created in data_dir. Readable by "
        "server.user. Without it the sealed secrets are lost: back it up apart from the data.",
        restart=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One SMTP listener."""

    address: Endpoint = _key(
        "address", REQUIRED, network.endpoint(), "Where to listen; port 0 = an ephemeral port, told when ready."
    )
    tls: ListenerTls = _key("tls", "starttls", values.choice(ListenerTls), "STARTTLS offered, or TLS from the start.")
    accept: tuple[Purpose, ...] = _key(
        "accept", ["submission"], values.words(Purpose), "What this listener takes: authenticated submission."
    )


def _default_listeners() -> tuple[Listener, ...]:
    ports = ((25, ListenerTls.STARTTLS), (587, ListenerTls.STARTTLS), (2525, ListenerTls.STARTTLS))
    return tuple(
        Listener(address=network.parse_endpoint(f"{address}:{port}"), tls=tls)
        for port, tls in (*ports, (465, ListenerTls.IMPLICIT))
        for address in ("[::]", "0.0.0.0")  # noqa: S104 - a mail server's ports are for everybody
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """The SMTP door and what it bounds."""

    listeners: tuple[Listener, ...] = _tables(
        Listener,
        "listeners",
        "SMTP listeners.",
        _default_listeners(),
        "25, 587, 2525 with STARTTLS and 465 with implicit TLS, on [::] and 0.0.0.0",
        restart=True,
    )
    max_message_size_bytes: int = _key(
        "max_message_size",
        "30MiB",
        values.size("1KiB", "1GiB"),
        "Largest message accepted, declared or actual; announced with SIZE.",
    )
    max_recipients: int = _key(
        "max_recipients", 1000, values.integer(1, 100_000), "Recipients in one transaction (RFC 5321 asks for 100)."
    )
    max_messages_per_connection: int = _key(
        "max_messages_per_connection", 5000, values.integer(1, 1_000_000), "Then 421 4.7.0 and close."
    )
    max_connections: int = _key(
        "max_connections", 10_000, values.integer(1, 1_000_000), "Open connections on this host, all workers together."
    )
    max_connections_per_ip: int = _key(
        "max_connections_per_ip",
        200,
        values.integer(1, 1_000_000),
        "Open connections of one IPv4 address or one IPv6 /64, all workers together.",
    )
    idle_timeout_s: float = _key(
        "idle_timeout", "5m", values.duration("1s", "1h"), "A silent session ends after this (RFC 5321 §4.5.3.2.7)."
    )
    trusted_proxies: tuple[IPNetwork, ...] = _key(
        "trusted_proxies", [], network.networks(), "CIDRs that may send a PROXY header."
    )
    session_memory_bytes: int = _key(
        "session_memory",
        "256MiB",
        values.size("1MiB", "1TiB"),
        "Bytes that all sessions together may hold; beyond it reading pauses.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """This server's certificate, for SMTP and (with http.tls) HTTPS. Read again at SIGHUP."""

    certificate_file: Path | None = _key(
        "certificate_file", "", values.path(), "PEM chain, leaf first; empty = self-signed, made in data_dir."
    )
    private_key_file: Path | None = _key("private_key_file", "", values.path(), "PEM private key without a password.")
    minimum_version: TlsVersion = _key(
        "minimum_version", "1.2", values.choice(TlsVersion), "The oldest TLS version spoken with clients."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """The HTTP door: API, dashboard, tracking, health."""

    address: Endpoint = _key(
        "address",
        "127.0.0.1:8080",
        network.endpoint(),
        "Where to listen. An address that is not loopback needs tls or trusted_proxies.",
        restart=True,
    )
    tls: bool = _key("tls", False, values.boolean(), "Serve HTTPS with the certificate of [tls].", restart=True)
    trusted_proxies: tuple[IPNetwork, ...] = _key(
        "trusted_proxies", [], network.networks(), "CIDRs whose X-Forwarded-For is believed; nobody else's is."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """How this server asks the DNS."""

    nameservers: tuple[Endpoint, ...] = _key(
        "nameservers", [], network.endpoints(53), "Resolvers to ask; empty = the system's.", restart=True
    )
    timeout_s: float = _key(
        "timeout", "5s", values.duration("100ms", "60s"), "One question's whole time.", restart=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where mail for a domain goes instead of its MX: a smart host, a transport."""

    domain: str = _key("domain", REQUIRED, network.domain_pattern(), "Recipients' domain.")
    account: str = _key("account", "", values.text(), "Only mail of this account (its name); empty = everybody's.")
    subuser: str = _key("subuser", "", values.text(), "Only mail of this subuser (its name); empty = everybody's.")
    host: str = _key("host", REQUIRED, network.host(), "The next hop. Private and loopback addresses are allowed here.")
    port: int = _key("port", 587, values.integer(1, 65535), "Its port.")
    tls: RouteTls = _key(
        "tls",
        "required",
        values.choice(RouteTls),
        "required = verified TLS or no delivery; opportunistic = TLS when offered, at its best; off = clear text.",
    )
    username: str = _key("username", "", values.text(), "Log in there with this name; needs password_file and tls.")
    password_file: Path | None = _key(
        "password_file", "", values.path(), "The file that holds the password, one trailing line end ignored."
    )
    verp: bool = _key(
        "verp",
        True,
        values.boolean(),
        "An envelope sender per recipient; false = one per message, recipients in batches.",
    )
    password: Secret[str] | None = None
    """What password_file held when the configuration was read; never written in the file itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """How much a destination is given at once. Limits hold for this machine, all its relay processes together."""

    mx: str = _key(
        "mx", "", network.host_pattern(), "Where its best MX host, or the host of its route, matches; empty = any."
    )
    domain: str = _key("domain", "", network.host_pattern(), "Where the recipients' domain matches; empty = any.")
    connections: int = _key("connections", 8, values.integer(1, 1000), "Connections at once.")
    rate_per_s: float | None = _key(
        "rate", "", values.rate(), "Deliveries, each recipient one; empty = as fast as it goes."
    )
    messages_per_connection: int = _key(
        "messages_per_connection", 1000, values.integer(1, 1_000_000), "Recipients served, then a new connection."
    )
    tls: MxTls = _key(
        "tls",
        "opportunistic",
        values.choice(MxTls),
        "To MX hosts; routes have their own. required = verified TLS or no delivery.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The way out."""

    mode: DeliveryMode = _key(
        "mode",
        "mx",
        values.choice(DeliveryMode),
        "mx = out to the world; capture = into a local mailbox, nothing leaves.",
        restart=True,
    )
    max_age_s: float = _key(
        "max_age", "72h", values.duration("1s", "30d"), "Undelivered for this long = expired.", restart=True
    )
    retry_first_s: float = _key(
        "retry_first",
        "60s",
        values.duration("100ms", "24h"),
        "First retry after a deferral; grows exponentially, with jitter, up to retry_max.",
        restart=True,
    )
    retry_max_s: float = _key(
        "retry_max", "4h", values.duration("100ms", "7d"), "The longest pause between two attempts.", restart=True
    )
    allow_private_networks: bool = _key(
        "allow_private_networks",
        False,
        values.boolean(),
        "Deliver to an MX on a private or loopback address.",
        restart=True,
    )
    mx_port: int = _key("mx_port", 25, values.integer(1, 65535), "The port that MX hosts are asked at.", restart=True)
    source_addresses: tuple[IPAddress, ...] = _key(
        "source_addresses",
        [],
        network.addresses(),
        "Local addresses to send from; empty = the system's choice.",
        restart=True,
    )
    routes: tuple[Route, ...] = _tables(Route, "routes", "Routes; the first match wins, before MX.", (), "none")
    shaping: tuple[Shaping, ...] = _tables(
        Shaping,
        "shaping",
        "Limits by destination; the first row wins whose mx and domain both match.",
        (),
        "none, which is one row with the defaults for everything",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccounts:
    """Accounts that people open themselves, and what lifts their first limit."""

    daily_credits: int = _key(
        "daily_credits",
        200,
        values.integer(1, 1_000_000_000),
        "Recipients a day that a new account and its subusers together may mail at first.",
        restart=True,
    )
    lift_after_s: float = _key(
        "lift_after", "7d", values.duration("1s", "365d"), "The limit stays for at least so long.", restart=True
    )
    lift_delivered: int = _key(
        "lift_delivered",
        500,
        values.integer(0, 1_000_000_000),
        "Recipients that must have been delivered to, in the last 30 days.",
        restart=True,
    )
    lift_bounces_percent: float = _key(
        "lift_bounces_percent",
        5,
        values.percent(),
        "The share of bounces and blocks must not be over this, in the last 30 days.",
        restart=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Oidc:
    """Log-in to the dashboard through an OpenID Provider."""

    issuer: str = _key("issuer", "", network.issuer(), "The provider; empty = log-in by password only.", restart=True)
    client_id: str = _key("client_id", "", values.text(), "What this server is called there.", restart=True)
    client_secret_file: Path | None = _key(
        "client_secret_file",
        "",
        values.path(),
        "One line with the secret that the provider gave out; empty = a public client, with PKCE alone.",
        restart=True,
    )
    name: str = _key(
        "name", "", values.text(most=40), "What people call the provider; empty = its host name.", restart=True
    )
    second_factor_amr: tuple[str, ...] = _key(
        "second_factor_amr",
        ["mfa", "otp", "hwk", "swk"],
        values.tokens(),
        "RFC 8176 values that count as a second factor: mfa by itself, others beside another value. "
        "Without one, this server asks for its own second factor.",
        restart=True,
    )
    client_secret: Secret[str] | None = None
    """What client_secret_file held when the configuration was read; never written in the file itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that the operator decides."""

    server: Server = _section(Server, "server", "The process and its place on this machine.")
    storage: Storage = _section(Storage, "storage", "Where facts and mail are kept.")
    smtp: Smtp = _section(Smtp, "smtp", "The SMTP door and what it bounds.")
    tls: Tls = _section(Tls, "tls", "This server's certificate, read again at SIGHUP.")
    http: Http = _section(Http, "http", "The HTTP door: API, dashboard, tracking, health.")
    dns: Dns = _section(Dns, "dns", "How this server asks the DNS.")
    delivery: Delivery = _section(Delivery, "delivery", "The way out.")
    signup: NewAccounts = _section(
        NewAccounts,
        "signup",
        "Accounts that people open themselves (`server.signup`): their first limit, and what lifts it.",
    )
    oidc: Oidc = _section(
        Oidc,
        "oidc",
        "Log-in to the dashboard through an OpenID Provider: see [operations](operations.md#openid-connect).",
    )
