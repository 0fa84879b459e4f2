"""Read the configuration: one TOML file, then the environment over it, into the frozen value.

The tree that the file gives is walked along the model's keys; what the model does not name is refused with the nearest
name, what a later version brings is refused with its name.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sekisho.secret import Secret
from sekisho.service.config import later
from sekisho.service.config.model import KEY, REQUIRED, Config, Key, Listener, Route, RouteTls, Section, Tables
from sekisho.service.config.values import BadValue, from_text

T = TypeVar("T")

ENVIRONMENT_PREFIX: Final = "SEKISHO_"
_FILE_MAX_BYTES: Final = 1 << 20
_PASSWORD_MAX_BYTES: Final = 4096


class ConfigError(Exception):
    """The configuration cannot be used: ``key`` is its dotted name (or the file's), ``reason`` one line."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _FromEnvironment:
    """A text that an environment variable put in the tree."""

    variable: str
    text: str


def load(
    file: Path | None,
    environ: Mapping[str, str],
    *,
    data_dir: Path | None = None,
    read_secrets: bool = True,
) -> Config:
    """Read ``file`` (none = defaults) and ``environ``; raises ConfigError.

    ``data_dir`` is the command line's word and wins. ``read_secrets=False`` is for commands that need no password of a
    smart host and may not be able to read its file.
    """
    tree: dict[str, object] = {}
    base = Path.cwd()
    if file is not None:
        tree = _read_file(file)
        base = file.absolute().parent
    _lay_over(tree, environ)
    if data_dir is not None:
        server = tree.setdefault("server", {})
        if isinstance(server, dict):
            server["data_dir"] = str(data_dir.absolute())
    return _finish(_table(Config, tree, ""), base, read_secrets=read_secrets)


def _read_file(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as stream:
            raw = stream.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from None
    if len(raw) > _FILE_MAX_BYTES:
        raise ConfigError(str(file), "is larger than 1 MiB")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(str(file), "is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(file), f"is not TOML: {error}") from None


def _lay_over(tree: dict[str, object], environ: Mapping[str, str]) -> None:
    """Put every ``SEKISHO_SECTION__KEY`` where the file would have it."""
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        *tables, last = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        place = tree
        for name in tables:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ConfigError(variable, "names no key that an environment variable can set")
            place = cast("dict[str, object]", inner)
        place[last] = _FromEnvironment(variable, environ[variable])


# The tree along the model.


def _table(model: type[T], tree: object, at: str) -> T:
    """Read one table into its dataclass; ``at`` is its dotted name with the final dot, empty at the top."""
    if not isinstance(tree, dict):
        raise ConfigError(at.rstrip("."), "must be a table")
    fields = {
        entry.name: (field.name, entry)
        for field in dataclasses.fields(cast("Any", model))
        if (entry := field.metadata.get(KEY)) is not None
    }
    found: dict[str, Any] = {}
    for name, written in cast("dict[str, object]", tree).items():
        _refuse_later(at, name, written)
        if name not in fields:
            raise ConfigError(_name_of(at, name, written), _unknown(name, fields))
        attribute, entry = fields[name]
        match entry:
            case Key():
                found[attribute] = _value(entry, f"{at}{name}", written)
            case Section():
                section = _type_of(model, attribute)
                found[attribute] = _table(section, written, f"{at}{name}.")
            case Tables():
                found[attribute] = _rows(entry, written, f"{at}{name}")
    for name, (attribute, entry) in fields.items():
        if attribute not in found and isinstance(entry, Key) and entry.written is REQUIRED:
            raise ConfigError(key=f"{at}{name}", reason="is missing")
    return model(**found)


def _type_of(model: type[Any], attribute: str) -> type[Any]:
    """The dataclass of a section: its default factory, which is the class itself."""
    (field,) = (field for field in dataclasses.fields(model) if field.name == attribute)
    return cast("type[Any]", field.default_factory)


def _rows(entry: Tables, written: object, at: str) -> tuple[Any, ...]:
    if isinstance(written, _FromEnvironment):
        raise ConfigError(written.variable, "an array of tables can only be set in the file")
    if not isinstance(written, list):
        raise ConfigError(at, f"must be an array of tables ([[{at}]])")
    return tuple(_table(entry.row, row, f"{at}[{position}].") for position, row in enumerate(written))


def _value(entry: Key, name: str, written: object) -> object:
    try:
        if isinstance(written, _FromEnvironment):
            return _checked(entry, name, from_text(written.text, entry.reader.kind))
        return _checked(entry, name, written)
    except BadValue as wrong:
        raise ConfigError(_name_of("", name, written), str(wrong)) from None


def _checked(entry: Key, name: str, written: object) -> object:
    if (reason := later.refusal(_without_positions(name), written)) is not None:
        raise BadValue(reason)
    return entry.reader.read(written)


def _refuse_later(at: str, name: str, written: object) -> None:
    """Refuse a table or key that the model does not have yet, but the contract does."""
    dotted = _without_positions(f"{at}{name}")
    if dotted in later.WHOLE and (reason := later.refusal(dotted, written)) is not None:
        raise ConfigError(_name_of(at, name, written), reason)


def _without_positions(name: str) -> str:
    """``smtp.listeners[0].accept`` → ``smtp.listeners.accept``."""
    return ".".join(part.partition("[")[0] for part in name.split("."))


def _name_of(at: str, name: str, written: object) -> str:
    """How the person who wrote it knows the key."""
    return written.variable if isinstance(written, _FromEnvironment) else f"{at}{name}"


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"is not a key of this version; did you mean {near[0]}?" if near else "is not a key of this version"


# What one key alone cannot tell.


def _finish(config: Config, base: Path, *, read_secrets: bool) -> Config:
    server, storage, tls = config.server, config.storage, config.tls
    if storage.url != "sqlite":
        raise ConfigError(key="storage.url", reason='must be "sqlite" (PostgreSQL is not supported by this version)')
    if (tls.certificate_file is None) != (tls.private_key_file is None):
        missing = "tls.private_key_file" if tls.private_key_file is None else "tls.certificate_file"
        raise ConfigError(missing, "must be set: certificate and private key come together")
    if config.delivery.retry_first_s > config.delivery.retry_max_s:
        raise ConfigError(key="delivery.retry_first", reason="must not be longer than delivery.retry_max")
    if not config.http.address.address.is_loopback and not config.http.tls and not config.http.trusted_proxies:
        raise ConfigError(key="http.address", reason="is not loopback: set http.tls or http.trusted_proxies")
    _check_listeners(config.smtp.listeners)
    routes = tuple(
        _finish_route(route, f"delivery.routes[{position}]", base, read_secrets=read_secrets)
        for position, route in enumerate(config.delivery.routes)
    )
    return dataclasses.replace(
        config,
        server=dataclasses.replace(
            server,
            data_dir=_absolute(base, server.data_dir),
            public_url=server.public_url or f"https://{server.hostname}",
        ),
        storage=dataclasses.replace(storage, master_key_file=_absolute_or_none(base, storage.master_key_file)),
        tls=dataclasses.replace(
            tls,
            certificate_file=_absolute_or_none(base, tls.certificate_file),
            private_key_file=_absolute_or_none(base, tls.private_key_file),
        ),
        delivery=dataclasses.replace(config.delivery, routes=routes),
    )


def _check_listeners(listeners: tuple[Listener, ...]) -> None:
    if not listeners:
        raise ConfigError(
            key="smtp.listeners", reason="must name at least one listener (leave it out for the defaults)"
        )
    seen: set[str] = set()
    for position, listener in enumerate(listeners):
        address = str(listener.address)
        if listener.address.port and address in seen:
            raise ConfigError(key=f"smtp.listeners[{position}].address", reason=f"{address} is listed twice")
        seen.add(address)


def _finish_route(route: Route, at: str, base: Path, *, read_secrets: bool) -> Route:
    if route.username and route.password_file is None:
        raise ConfigError(key=f"{at}.password_file", reason="is missing: username needs it")
    if route.password_file is not None and not route.username:
        raise ConfigError(key=f"{at}.username", reason="is missing: password_file needs it")
    if route.username and route.tls is not RouteTls.REQUIRED:
        raise ConfigError(key=f"{at}.tls", reason='must be "required": a password only travels over verified TLS')
    file = _absolute_or_none(base, route.password_file)
    password = _read_password(file, f"{at}.password_file") if file is not None and read_secrets else None
    return dataclasses.replace(route, password_file=file, password=password)


def _read_password(file: Path, key: str) -> Secret[str]:
    try:
        with file.open("rb") as stream:
            raw = stream.read(_PASSWORD_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(key, f"cannot be read: {error.strerror}") from None
    if len(raw) > _PASSWORD_MAX_BYTES:
        raise ConfigError(key, "the file is larger than a password can be")
    try:
        password = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(key, "the file is not UTF-8 text") from None
    if not password or "\0" in password or "\n" in password:
        raise ConfigError(key, "the file must hold one line with the password")
    return Secret(password)


def _absolute(base: Path, path: Path) -> Path:
    return base / path


def _absolute_or_none(base: Path, path: Path | None) -> Path | None:
    return None if path is None else base / path
