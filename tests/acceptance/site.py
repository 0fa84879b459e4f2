"""A configured place: a data directory with an account, a domain and a key in it, and the file that points there."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.certificates import Certificate
from tests.acceptance.relay import Document, Relay, run


@dataclass(frozen=True)
class Seed:
    """Made once, copied for each test: account ``acme``, domain ``example.test`` declared valid, one full key."""

    data: Path
    api_key: str
    key_id: str
    certificate: Certificate


@dataclass
class Site:
    """One test's own data directory and configuration; ``tables`` are further TOML."""

    folder: Path
    seed: Seed
    sink_port: int
    server: str = ""
    smtp: str = ""
    delivery: str = ""
    listeners: str = ""
    tables: str = ""
    routes: str | None = None
    _relay: Relay | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        shutil.copytree(self.seed.data, self.data)
        self.write()

    @property
    def key(self) -> str:
        return self.seed.api_key

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def config(self) -> Path:
        return self.folder / "sekisho.toml"

    def write(self) -> None:
        """Write the file as the fields say now."""
        listeners = self.listeners or (
            '[[smtp.listeners]]\naddress = "127.0.0.1:0"\ntls = "starttls"\n'
            '[[smtp.listeners]]\naddress = "127.0.0.1:0"\ntls = "implicit"\n'
        )
        routes = self.routes
        if routes is None:
            routes = f'[[delivery.routes]]\ndomain = "*"\nhost = "127.0.0.1"\nport = {self.sink_port}\ntls = "off"\n'
        # In one step, as a reload may come at any moment.
        fresh = self.config.with_suffix(".new")
        fresh.write_text(
            f'[server]\nhostname = "relay.test"\ndata_dir = "{self.data}"\n{self.server}\n'
            f"[smtp]\n{self.smtp}\n{listeners}"
            f'[tls]\ncertificate_file = "{self.seed.certificate.chain}"\n'
            f'private_key_file = "{self.seed.certificate.key}"\n'
            f'[http]\naddress = "127.0.0.1:0"\n'
            f"[delivery]\n{self.delivery}\n{routes}\n{self.tables}"
        )
        fresh.replace(self.config)

    def relay(self) -> Relay:
        """The server of this site, not yet started; the same one each time, so that it can be started again."""
        if self._relay is None:
            self._relay = Relay(
                "serve", "--config", self.config, logs=self.folder / "logs", ca_file=self.seed.certificate.chain
            )
        return self._relay

    @contextlib.contextmanager
    def relay_kept(self) -> Iterator[Relay]:
        """The server of this site for a test that starts and stops it itself; nothing of it is left afterwards."""
        relay = self.relay()
        try:
            yield relay
        finally:
            relay.kill_group()

    def run(self, *arguments: str, stdin: str | None = None, status: int = 0) -> Document:
        """Run an administration command here and read what it prints."""
        done = run(*arguments, "--config", self.config, "--json", stdin=stdin, status=status)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def queue(self) -> list[Document]:
        """What is queued now."""
        rows: list[Document] = self.run("queue", "list", "--limit", "100000")["deliveries"]
        return rows

    def events(self) -> list[Document]:
        """What happened so far, oldest first."""
        rows: list[Document] = self.run("events", "tail", "--all")["events"]
        return rows


def copy_files(source: Path, target: Path) -> None:
    """Copy a directory of the server's, which may be running, without what is not a file: the workers' bell."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("bell"))


def make_seed(folder: Path, certificate: Certificate) -> Seed:
    """Create the data directory before any server ran, as an installer would."""
    data = folder / "data"

    def admin(*arguments: str) -> Document:
        return json.loads(run(*arguments, "--data", data, "--json").stdout)

    admin("account", "create", "acme", "--owner", "owner@example.test")
    admin("domain", "add", "example.test", "--account", "acme")
    admin("domain", "verify", "example.test", "--override")
    key = admin("key", "create", "--account", "acme", "--name", "first")
    return Seed(data, key["api_key"], key["api_key_id"], certificate)
