"""Gather the texts that a configuration is read from: the only part that looks at the disk.

Apart from what they mean, because a worker reads its configuration again without the right to read the files: its
supervisor gathers, and hands the Source over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sekisho.secret import Secret
from sekisho.service.config import read
from sekisho.service.config.model import Config
from sekisho.service.config.values import ConfigError

ENVIRONMENT_PREFIX: Final = "SEKISHO_"
_FILE_MAX_BYTES: Final = 1 << 20
_PASSWORD_MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Source:
    """What was found; ``parse`` says what it means."""

    text: str = field(repr=False)
    """The file's content; empty without a file. Like the variables it may hold a database's password."""
    name: str
    """What to call the file in an error."""
    base: Path
    """Where relative paths count from."""
    environ: Mapping[str, str] = field(repr=False)
    """Only the variables that are meant for the configuration."""
    data_dir: Path | None
    """The command line's word, which wins."""
    passwords: tuple[Secret[str] | None, ...] = ()
    """One for each route, in order; empty when they were not read."""
    client_secret: Secret[str] | None = None
    """Of [oidc]; None also when it was not read."""


def gather(
    file: Path | None, environ: Mapping[str, str], *, data_dir: Path | None = None, read_secrets: bool = True
) -> Source:
    """Read ``file`` (none = defaults), take what concerns us from ``environ``; raises ConfigError.

    ``read_secrets=False`` is for commands that need no password of a smart host and may not be able to read its file.
    """
    source = Source(
        text="" if file is None else _read_file(file),
        name="" if file is None else str(file),
        base=Path.cwd() if file is None else file.absolute().parent,
        environ={name: text for name, text in environ.items() if name.startswith(ENVIRONMENT_PREFIX) and "__" in name},
        data_dir=None if data_dir is None else data_dir.absolute(),
    )
    return with_passwords(source) if read_secrets else source


def with_passwords(source: Source) -> Source:
    """Read the files of passwords that others gave us; raises ConfigError."""
    config = parse(source)
    passwords = tuple(
        None
        if route.password_file is None
        else _read_password(route.password_file, f"delivery.routes[{position}].password_file")
        for position, route in enumerate(config.delivery.routes)
    )
    file = config.oidc.client_secret_file
    client_secret = None if file is None else _read_password(file, "oidc.client_secret_file")
    return dataclasses.replace(source, passwords=passwords, client_secret=client_secret)


def parse(source: Source) -> Config:
    """Say what a source means; raises ConfigError. Reads nothing."""
    return read.read(
        source.text,
        source.name,
        source.environ,
        base=source.base,
        data_dir=source.data_dir,
        passwords=source.passwords,
        client_secret=source.client_secret,
    )


def load(
    file: Path | None, environ: Mapping[str, str], *, data_dir: Path | None = None, read_secrets: bool = True
) -> Config:
    """Gather and parse."""
    return parse(gather(file, environ, data_dir=data_dir, read_secrets=read_secrets))


def _read_file(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from None
    if len(raw) > _FILE_MAX_BYTES:
        raise ConfigError(str(file), "is larger than 1 MiB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(str(file), "is not UTF-8 text") from None


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
