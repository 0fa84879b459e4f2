"""Independent verifiers: dkimpy as a library, opendkim as a program, both fed with the records that we print."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import dkim
import pytest

from tests.acceptance.relay import Document

Zone = Mapping[str, str]
"""TXT records by full name."""


def program(name: str) -> str:
    """The path of a program that judges; where it is missing, the test is skipped, but fails where CI runs it."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("JUDGES") == "required":
            pytest.fail(f"{reason}: add its package to .ci/run")
        pytest.skip(reason)
    return path


def zone(domain: Document) -> Zone:
    """The TXT records of what ``domain add`` and ``domain show`` print."""
    return {record["host"]: record["data"] for record in domain["dns"].values() if record["type"] == "txt"}


def signatures(raw: bytes) -> list[dict[str, str]]:
    """The tags of every DKIM-Signature of the message, topmost first."""
    header = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("ascii")
    fields = header.replace("\n ", " ").replace("\n\t", " ").split("\n")
    found = []
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "dkim-signature":
            pairs = (tag.partition("=") for tag in value.split(";") if tag.strip())
            found.append({tag.strip(): "".join(text.split()) for tag, _, text in pairs})
    return found


def dkimpy_verifies(raw: bytes, records: Zone) -> list[bool]:
    """One verdict per signature, topmost first."""

    def ask(name: bytes | str, timeout: int = 5) -> bytes | None:  # noqa: ARG001 - dkimpy's signature
        text = name.decode() if isinstance(name, bytes) else name
        found = records.get(text.rstrip("."))
        return None if found is None else found.encode()

    def verdict(index: int) -> bool:
        try:
            return bool(dkim.DKIM(raw).verify(idx=index, dnsfunc=ask))
        except dkim.DKIMException:
            return False

    return [verdict(index) for index in range(len(signatures(raw)))]


def opendkim_verifies(raw: bytes, records: Zone, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Ask ``opendkim -t`` with the records in a file instead of DNS; status 0 means verified."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "keys").write_text("".join(f"{host} {data}\n" for host, data in records.items()))
    (folder / "message").write_bytes(raw)
    (folder / "conf").write_text(f"Mode v\nTestPublicKeys {folder / 'keys'}\nAlwaysAddARHeader yes\n")
    return subprocess.run(
        ["opendkim", "-x", folder / "conf", "-t", folder / "message", "-vv"],
        capture_output=True,
        check=False,
        timeout=60,
    )
