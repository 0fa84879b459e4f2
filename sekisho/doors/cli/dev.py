"""``sekisho dev``: a whole relay on this machine with nothing configured; mail ends in a local mailbox."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from sekisho import accounts, sealing, signup, users
from sekisho.apikeys import actions as apikeys
from sekisho.audit import By
from sekisho.db import Database
from sekisho.domains import Relay
from sekisho.domains import actions as domains
from sekisho.doors.cli.acting import done, the_account
from sekisho.doors.cli.common import DEV_CONFIG, CommandError, now_ms
from sekisho.doors.cli.serve import LogFormatOption, say
from sekisho.identity import KeyPolicy
from sekisho.service import config as configuration
from sekisho.service.config import Config, ConfigError, DeliveryMode, Source
from sekisho.service.launch import PROBLEMS, Announcement, Manner, StartProblem, launch
from sekisho.service.sockets import has_ipv6
from sekisho.service.spawn import Failed, run_apart
from sekisho.service.stores import stores
from sekisho.service.telemetry import LogFormat
from sekisho.service.worker import Role

ACCOUNT: Final = "dev"
OWNER: Final = "dev@example.test"
DOMAIN: Final = "example.test"

DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="Where everything is kept.")]
SmtpPortOption = Annotated[int, typer.Option("--smtp-port", min=0, max=65535, help="STARTTLS; 0 = any free port.")]
SmtpsPortOption = Annotated[int, typer.Option("--smtps-port", min=0, max=65535, help="TLS from the start.")]
HttpPortOption = Annotated[int, typer.Option("--http-port", min=0, max=65535, help="HTTP.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Say where everything is in one JSON line.")]


def dev(
    *,
    data: DataOption = Path(".sekisho"),
    smtp_port: SmtpPortOption = 2525,
    smtps_port: SmtpsPortOption = 2465,
    http_port: HttpPortOption = 8080,
    log_format: LogFormatOption = LogFormat.TEXT,
    as_json: JsonOption = False,
) -> None:
    """Run everything on loopback, in capture mode: nothing leaves the machine. Ctrl-C stops it."""
    from sekisho.service.parts import parts  # noqa: PLC0415 - the whole program, which few commands need

    text = _configuration(smtp_port, smtps_port, http_port)

    def announce(found: Announcement) -> None:
        seeded = _first_run(found)
        address = found.config.server.public_url
        _keep_configuration(found, _configuration(smtp_port, smtps_port, http_port, public_url=address))
        document = _document(found, seeded)
        say(json.dumps(document) if as_json else _welcome(found, document, seeded))

    manner = Manner(
        roles=frozenset(Role),
        log_format=log_format,
        announce=announce,
        certificate_names=("localhost", "127.0.0.1", "::1"),
        http_host="localhost",
        hang_up_ends=True,
    )
    raise typer.Exit(launch(lambda: _gather(text, data), manner, parts()))


def _configuration(smtp_port: int, smtps_port: int, http_port: int, *, public_url: str | None = None) -> str:
    """Write the configuration as a file would hold it, so that it is read by the same rules."""
    listeners = [("127.0.0.1", smtp_port, "starttls"), ("127.0.0.1", smtps_port, "implicit")]
    if has_ipv6():
        # An ephemeral port would be another one than on 127.0.0.1.
        listeners += [("[::1]", port, tls) for _, port, tls in listeners if port]
    tables = "".join(f'[[smtp.listeners]]\naddress = "{host}:{port}"\ntls = "{tls}"\n' for host, port, tls in listeners)
    return (
        "# Written by `sekisho dev` for the commands that are given the same --data; not read by dev itself.\n"
        f'[server]\nhostname = "localhost"\npublic_url = "{public_url or f"http://localhost:{http_port or 8080}"}"\n'
        f'workers = 1\nnotices_from = "sekisho@{DOMAIN}"\n'
        f'{tables}[http]\naddress = "127.0.0.1:{http_port}"\n[delivery]\nmode = "capture"\n'
    )


def _gather(text: str, data: Path) -> Source:
    """The environment may still set bounds and the like; what makes it ``dev`` it may not."""
    source = configuration.gather(None, os.environ, data_dir=data)
    source = Source(text, "the configuration of dev", source.base, source.environ, source.data_dir)
    _insist(configuration.parse(source))
    return source


def _insist(config: Config) -> None:
    if config.delivery.mode is not DeliveryMode.CAPTURE:
        raise ConfigError(key="delivery.mode", reason="dev only captures; use serve to deliver")
    if not config.http.address.address.is_loopback:
        raise ConfigError(key="http.address", reason="dev binds loopback only; use serve")


# The first run.


@dataclass(frozen=True, slots=True)
class Seeded:
    """What a start has to show."""

    api_key: str | None
    """None: it was shown before."""
    setup_url: str | None
    """None: the owner has set up."""


def _first_run(found: Announcement) -> Seeded:
    """Make account, domain and key unless they are there, and a set-up link until it was used.

    Done once everything is up, so that a key is never made by a start that fails and then shown to nobody; and in a
    process of its own, so that the supervisor opens no database.
    """
    answer = run_apart(found.owner, lambda: _seed(found), (*PROBLEMS, CommandError))
    if isinstance(answer, Failed):
        raise StartProblem(answer.reason)
    api_key, path = json.loads(answer)
    return Seeded(api_key, None if path is None else found.config.server.public_url + path)


def _seed(found: Announcement) -> bytes:
    database = stores(found.config, found.directory).open_control()
    try:
        with database.connect() as tx:
            account = accounts.find_account(tx, ACCOUNT)
            owner = None if account is None else users.owner_of(tx, account.id)
        api_key = _make_account(found, database) if account is None else None
        path = None
        if owner is None:
            by = By("sekisho dev", now_ms())
            with database.begin() as tx:
                path = signup.owner_link(tx, the_account(tx, ACCOUNT), by=by)
    finally:
        database.close()
    return json.dumps([api_key, path]).encode()


def _make_account(found: Announcement, database: Database) -> str:
    config = found.config
    sealer = sealing.load(config.storage.master_key_file or found.directory.master_key, make=False)
    keys = domains.make_keys()
    relay = Relay(config.server.hostname, config.delivery.source_addresses)
    by = By("sekisho dev", now_ms())
    with database.begin() as tx:
        owner = done(accounts.create_account(tx, name=ACCOUNT, owner_email=OWNER, by=by))
        claim = done(domains.add(tx, owner, DOMAIN, keys, relay=relay, sealer=sealer, by=by))
        done(domains.override(tx, claim, relay=relay, by=by))
        issued = done(apikeys.issue(tx, owner, apikeys.Wish(name="dev", policy=KeyPolicy()), by=by))
    return issued.text.reveal().decode()


def _keep_configuration(found: Announcement, text: str) -> None:
    """Leave the configuration in the data directory, where commands with the same ``--data`` find it."""

    def write() -> bytes:
        fresh = found.directory.path / f"{DEV_CONFIG}.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(found.directory.path / DEV_CONFIG)
        return b""

    answer = run_apart(found.owner, write, (OSError,))
    if isinstance(answer, Failed):
        raise StartProblem(answer.reason)


# What is said.


def _document(found: Announcement, seeded: Seeded) -> dict[str, object]:
    document = found.document()
    # The doors on ::1 are the same ports again.
    document["smtp"] = [
        {"address": str(address), "tls": tls} for address, tls in found.smtp if address.address.version == 4
    ]
    return document | {"api_key": seeded.api_key, "setup_url": seeded.setup_url}


def _welcome(found: Announcement, document: dict[str, object], seeded: Seeded) -> str:
    ports = {tls: address.port for address, tls in found.smtp if address.address.version == 4}
    data_dir, command = document["data_dir"], _command()
    key_line = (
        seeded.api_key
        or f"shown at the first start; another: {command} key create --account dev --name N --data {data_dir}"
    )
    shown_key = seeded.api_key or "$API_KEY"
    dashboard = (
        f"{document['http']}/login"
        if seeded.setup_url is None
        else f"{seeded.setup_url}\n            (set up with this link, once)"
    )
    message = (
        f'{{"personalizations":[{{"to":[{{"email":"reader@example.com"}}]}}],"from":{{"email":"ann@{DOMAIN}"}},'
        '"subject":"Hello","content":[{"type":"text/plain","value":"Hello!"}]}'
    )
    return f"""
Sekisho is ready. Capture mode: nothing leaves this machine.

  SMTP      localhost:{ports["starttls"]} (STARTTLS), localhost:{ports["implicit"]} (TLS)
  Log in    user name apikey, password the API key
  API key   {key_line}
  From      anything@{DOMAIN}
  Dashboard {dashboard}
  Web API   {document["http"]}; what it takes: {document["http"]}/v3/reference
  CA file   {document["ca_file"]}
  Data      {data_dir}

Try it:

  swaks --server localhost --port {ports["starttls"]} --tls --tls-verify --tls-ca-path {document["ca_file"]} \\
    --auth PLAIN --auth-user apikey --auth-password "{shown_key}" \\
    --from ann@{DOMAIN} --to reader@example.com --header "Subject: Hello"

  curl -i {document["http"]}/v3/mail/send -H "Authorization: Bearer {shown_key}" \\
    -H "Content-Type: application/json" -d '{message}'

  {command} captured list --data {data_dir}

Ctrl-C stops it.
"""


def _command() -> str:
    """How this program can be called again: it need not be on the PATH (``make run``)."""
    found = shutil.which("sekisho")
    return "sekisho" if found is not None and Path(found).resolve() == Path(sys.argv[0]).resolve() else sys.argv[0]
