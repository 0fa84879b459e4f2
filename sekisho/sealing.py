"""Secrets at rest: the master key, what is sealed under it, and the keys derived from it.

The master key is a file of its own, so that a copy of the database alone gives nothing away. It may hold several
keys: the first one seals, all of them open. Rotating is adding a line on top and sealing everything anew at leisure.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sekisho.secret import Secret

_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_VERSION: Final = b"\x01"
_FILE_MAX_BYTES: Final = 16_384
_COMMENT: Final = (
    "# Sekisho's master key. With it and the database one can sign as every domain; keep a copy elsewhere.\n"
)


class MasterKeyUnusable(Exception):
    """The master key file is missing, unreadable, too open or not one; the message says which and never quotes it."""


class SealBroken(Exception):
    """What was sealed cannot be opened: another master key, another row, or damage."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One line of the file."""

    id: bytes
    """Names the key inside what it sealed; says nothing about it."""
    secret: Secret[bytes]


class Sealer:
    """Seals and opens small secrets, and derives keys for single purposes."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        """Take the master keys, the one in force first."""
        self._keys: Final = {key.id: key for key in keys}
        self._current: Final = keys[0]
        # Never the master key itself: what seals and what is derived must not be able to meet.
        self._ciphers: Final = {key.id: AESGCM(_expand(key, "seal")) for key in keys}

    def seal(self, plain: Secret[bytes], *, purpose: str, row: str) -> bytes:
        """Seal; only ``open`` with the same purpose and row gives it back, so rows cannot be swapped by hand."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        head = _VERSION + self._current.id
        sealed = self._ciphers[self._current.id].encrypt(nonce, plain.reveal(), _bound_to(head, purpose, row))
        return head + nonce + sealed

    def open(self, sealed: bytes, *, purpose: str, row: str) -> Secret[bytes]:
        """Open, or raise SealBroken."""
        head, rest = sealed[: 1 + _ID_BYTES], sealed[1 + _ID_BYTES :]
        if head[:1] != _VERSION or len(rest) < _NONCE_BYTES + _TAG_BYTES:
            message = f"{purpose} of {row} is not something we sealed"
            raise SealBroken(message)
        cipher = self._ciphers.get(head[1:])
        if cipher is None:
            message = f"{purpose} of {row} is sealed under master key {head[1:].hex()}, which is not in the key file"
            raise SealBroken(message)
        try:
            return Secret(cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _bound_to(head, purpose, row)))
        except InvalidTag:
            message = f"{purpose} of {row} does not open: it was changed, or moved from another row"
            raise SealBroken(message) from None

    def derive(self, purpose: str) -> Secret[bytes]:
        """Derive the 32-byte key of a purpose from the master key in force: the same each time, unlike any other's."""
        return Secret(_expand(self._current, f"derive {purpose}"))


def load(path: Path, *, make: bool) -> Sealer:
    """Read the key file; ``make`` one first when there is none.

    Raises MasterKeyUnusable. ``make`` is for the data directory's own file: that a configured one is missing is a
    mistake, which a new key would hide until nothing opens any more.
    """
    if make and not path.exists():
        create(path)
    return Sealer(_read(path))


def create(path: Path) -> None:
    """Make a key file unless there is one: complete and synced before it has its name, and one winner of a race."""
    key_id, key = secrets.token_bytes(_ID_BYTES), secrets.token_bytes(_KEY_BYTES)
    text = f"{_COMMENT}{key_id.hex()} {base64.b64encode(key).decode()}\n"
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        message = f"the master key cannot be made at {path}: {error.strerror}"
        raise MasterKeyUnusable(message) from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[MasterKey, ...]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        message = f"the master key cannot be read from {path}: {error.strerror}"
        raise MasterKeyUnusable(message) from error
    # A group may read (a secret mounted for the service's group); nobody else, and only the owner writes.
    if mode & (stat.S_IWGRP | stat.S_IRWXO):
        message = f"the master key file {path} is open to others: chmod 600 it"
        raise MasterKeyUnusable(message)
    keys = _parse(content)
    if not keys:
        message = f"{path} is not a master key file"
        raise MasterKeyUnusable(message)
    return keys


def _parse(content: bytes) -> tuple[MasterKey, ...]:
    """Read the lines ``<id in hex> <key in base64>``; empty when anything is wrong."""
    if len(content) > _FILE_MAX_BYTES:
        return ()
    keys: dict[bytes, MasterKey] = {}
    try:
        for line in content.decode("ascii").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            id_text, key_text = line.split()
            key_id, key = bytes.fromhex(id_text), base64.b64decode(key_text, validate=True)
            if len(key_id) != _ID_BYTES or len(key) != _KEY_BYTES or key_id in keys:
                return ()
            keys[key_id] = MasterKey(key_id, Secret(key))
    except (ValueError, binascii.Error):
        return ()
    return tuple(keys.values())


def _expand(key: MasterKey, info: str) -> bytes:
    # RFC 5869; the master key is uniformly random, so no salt is needed (§3.1).
    return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=f"sekisho {info}".encode()).derive(key.secret.reveal())


def _bound_to(head: bytes, purpose: str, row: str) -> bytes:
    # NUL cannot be in either, so no two pairs read alike.
    return head + f"{purpose}\0{row}".encode()
