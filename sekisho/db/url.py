"""Where a PostgreSQL database is and how to log in to it, read from a URL.

Read here and not by the client library, whose complaints about a URL quote parts of it: a password must not come out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sekisho.db.history import History
from sekisho.secret import Secret

# What libpq lets a URL say, without what holds a secret or what is said elsewhere in it.
_OPTIONS: Final = frozenset(
    {
        "channel_binding", "gssencmode", "host", "passfile", "port", "require_auth", "sslcert", "sslcrl", "sslkey",
        "sslmode", "sslnegotiation", "sslrootcert", "target_session_attrs",
    }
)  # fmt: skip
_SHAPE: Final = "must look like postgresql://user@host/database"
_BAD_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_PORT: Final = re.compile("[0-9]{1,5}")
_VERIFYING: Final = frozenset({"verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True)
class Postgres:
    """A database on a PostgreSQL server; ``parse_postgres`` makes one."""

    hosts: tuple[str, ...]
    """Names, addresses, or directories of sockets, tried in order; none: the local socket."""
    ports: tuple[str, ...]
    """One for each host, empty where none was given."""
    name: str
    user: str
    """Empty: the system's user."""
    password: Secret[str] | None
    """None: libpq looks at PGPASSWORD, PGPASSFILE and ~/.pgpass, or needs none."""
    options: tuple[tuple[str, str], ...]
    """Further words for libpq, such as sslmode."""
    history: History = History.CONTROL
    """Which tables are meant: both histories live in one database, and each has its own turn for writers."""

    def __str__(self) -> str:
        """Name it without its password."""
        user = f"{self.user}@" if self.user else ""
        hosts = ",".join(host + (f":{port}" if port else "") for host, port in zip(self.hosts, self.ports, strict=True))
        return f"postgresql://{user}{hosts}/{self.name}"

    def of(self, history: History) -> Postgres:
        """Mean the other tables."""
        return replace(self, history=history)

    def parameters(self) -> dict[str, str]:
        """Say it in libpq's words. It holds the password: it goes to the library and nowhere else."""
        found = {"dbname": self.name, **dict(self.options)}
        if self.hosts:
            found |= {"host": ",".join(self.hosts), "port": ",".join(self.ports)}
        if self.user:
            found["user"] = self.user
        if self.password is not None:
            found["password"] = self.password.reveal()
        return found

    def is_verified(self) -> bool:
        """Whether the way there is local, or the server's certificate is compared."""
        local = all(host.startswith("/") or host in {"localhost", "127.0.0.1", "::1"} for host in self.hosts)
        return local or dict(self.options).get("sslmode") in _VERIFYING


def parse_postgres(url: str) -> Postgres:
    """Read ``postgresql://[user[:password]@][host[:port],…]/database[?option=value]``.

    Raises ValueError with a reason that quotes nothing of the URL.
    """
    if _BAD_ESCAPE.search(url):
        message = "holds a % that no two hexadecimal digits follow (write %25)"
        raise ValueError(message)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(_SHAPE) from None
    if parts.scheme not in {"postgresql", "postgres"} or parts.fragment or "\0" in unquote(url):
        raise ValueError(_SHAPE)
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        message = f"{_SHAPE}: it names no database"
        raise ValueError(message)
    login, _, places = parts.netloc.rpartition("@")
    user, has_password, password = login.partition(":")
    options = _options(parts)
    hosts, ports = _hosts(places, options)
    return Postgres(
        hosts=hosts,
        ports=ports,
        name=name,
        user=unquote(user),
        password=Secret(unquote(password)) if has_password else None,
        options=tuple(sorted(options.items())),
    )


def _options(parts: SplitResult) -> dict[str, str]:
    try:
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(_SHAPE) from None
    options = dict(given)
    if len(options) != len(given) or not options.keys() <= _OPTIONS:
        message = f"may have these options, each once: {', '.join(sorted(_OPTIONS))}"
        raise ValueError(message)
    return options


def _hosts(places: str, options: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split ``a,b:5433,[::1]:5434``; a directory of sockets stands in the options, or percent-encoded."""
    named, port = options.pop("host", ""), options.pop("port", "")
    if places and (named or port):
        message = "names its host twice"
        raise ValueError(message)
    if not places and named:
        places = ",".join(f"[{host}]:{port}" if port else f"[{host}]" for host in named.split(","))
    hosts, ports = [], []
    for place in places.split(",") if places else ():
        host, colon, number = _split_port(place)
        if not host or (colon and not (_PORT.fullmatch(number) and 0 < int(number) < 1 << 16)):
            message = f"{_SHAPE}: it names no host and port that can be"
            raise ValueError(message)
        hosts.append(unquote(host))
        ports.append(number)
    return tuple(hosts), tuple(ports)


def _split_port(place: str) -> tuple[str, str, str]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        colon, number = rest[:1], rest[1:]
        return (host, colon, number) if bracket and colon in {"", ":"} else ("", "", "")
    return place.partition(":")
