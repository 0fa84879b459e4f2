"""``sekisho key``: issue, import, show and revoke API keys."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Final

import typer

from sekisho import accounts
from sekisho.apikeys import actions
from sekisho.apikeys.actions import Wish, no_such_key
from sekisho.apikeys.model import ApiKey
from sekisho.apikeys.policy_text import PolicyFlaw, rate_text, read_policy
from sekisho.apikeys.tables import find_key, list_keys
from sekisho.doors.cli import keystopping
from sekisho.doors.cli.acting import by, done, moment, the_account, the_owner, the_subuser
from sekisho.doors.cli.common import (
    CommandError,
    ConfigOption,
    DataOption,
    JsonOption,
    emit,
    now_ms,
    open_site,
    table,
)
from sekisho.doors.cli.keystopping import blast_radius, radius_text
from sekisho.identity import KeyPolicy
from sekisho.ids import AccountId
from sekisho.secret import Secret

app = typer.Typer(no_args_is_help=True, help="Credentials of programs.")

# An imported id may start with "-" (one in 64 does): it is an argument all the same.
_ID_FIRST = {"ignore_unknown_options": True}
_INPUT_MAX_BYTES = 1024

_Id = Annotated[str, typer.Argument(metavar="ID", help="The middle part of the key, 22 characters.")]
_Account = Annotated[str, typer.Option("--account", metavar="NAME", help="Whose key it is.")]
_Subuser = Annotated[
    str | None, typer.Option("--subuser", metavar="NAME", help="A subuser of that account.", show_default=False)
]
_Name = Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is for, in your words.")]
_Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="SCOPE", help="What it may do, e.g. mail.send; none = full access."),
]
_Ips = Annotated[list[str] | None, typer.Option("--ip", metavar="CIDR", help="Only from these addresses.")]
_FromDomains = Annotated[
    list[str] | None, typer.Option("--from-domain", metavar="DOMAIN", help="Only with From in these domains.")
]
_FromAddresses = Annotated[
    list[str] | None, typer.Option("--from-address", metavar="EMAIL", help="Only with From one of these.")
]
_Rate = Annotated[
    str | None, typer.Option("--rate", metavar="N/s|N/m", help="Recipients per time.", show_default=False)
]
_Daily = Annotated[int | None, typer.Option("--daily", metavar="N", help="Recipients per UTC day.", show_default=False)]
_MaxRecipients = Annotated[
    int | None, typer.Option("--max-recipients", metavar="N", help="Recipients per message.", show_default=False)
]
_Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="WHEN", help="2027-01-31T12:00:00Z, or from now: 30d.", show_default=False),
]
_Import = Annotated[
    bool, typer.Option("--import", help="Accept an existing SG. key from now on; it is read from standard input.")
]
_Canary = Annotated[
    bool, typer.Option("--canary", help="It opens nothing, and its use alarms: put it where only a thief looks.")
]
_OfAccount = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Only this account's.", show_default=False)
]
_OfSubuser = Annotated[
    str | None, typer.Option("--subuser", metavar="NAME", help="Only this subuser's.", show_default=False)
]


@app.command()
def create(
    *,
    account: _Account,
    name: _Name,
    subuser: _Subuser = None,
    scope: _Scopes = None,
    ip: _Ips = None,
    from_domain: _FromDomains = None,
    from_address: _FromAddresses = None,
    rate: _Rate = None,
    daily: _Daily = None,
    max_recipients: _MaxRecipients = None,
    expires: _Expires = None,
    import_: _Import = False,
    canary: _Canary = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, or take one over from another provider."""
    who = by()
    policy = _read(
        read_policy(
            ips=ip or (),
            from_domains=from_domain or (),
            from_addresses=from_address or (),
            rate=rate,
            daily=daily,
            max_recipients=max_recipients,
            expires=expires,
            now_ms=who.at_ms,
        )
    )
    wish = Wish(name, policy, scope or None, canary=canary)
    text = _read_text() if import_ else None
    with open_site(config, data) as site, site.control.begin() as tx:
        owner = the_owner(tx, account, subuser)
        if text is None:
            issued = done(actions.issue(tx, owner, wish, by=who))
            key, shown = issued.key, issued.text.reveal().decode()
        else:
            key, shown = done(actions.import_text(tx, owner, wish, text, by=who)), None
    # The one time that the text is printed: after the commit, to whoever asked for it.
    document = {"api_key": shown, "api_key_id": key.id, "scopes": sorted(key.scopes)}
    what = f"Key {key.id} is accepted from now on." if shown is None else f"{shown}\nKeep it: it is not shown again."
    emit(document, as_json, what)


@app.command("list")
def list_(
    account: _OfAccount = None,
    subuser: _OfSubuser = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List keys, newest first; never their secret."""
    with open_site(config, data) as site, site.control.connect() as tx:
        found = list_keys(
            tx,
            account_id=None if account is None else the_account(tx, account).id,
            subuser_id=None if subuser is None else the_subuser(tx, subuser).id,
        )
        whose = accounts.names(tx, [owner for key in found for owner in _owners(key)])
    now = now_ms()
    rows = [
        (
            key.id,
            key.name,
            whose[key.account_id],
            None if key.subuser_id is None else whose[key.subuser_id],
            key.state(now),
            "full" if key.given is None else len(key.scopes),
            moment(key.created_ms),
        )
        for key in found
    ]
    emit(
        {"keys": [_document(key, whose, now) for key in found]},
        as_json,
        lambda: table(("ID", "NAME", "ACCOUNT", "SUBUSER", "STATE", "SCOPES", "CREATED"), rows),
    )


@app.command(context_settings=_ID_FIRST)
def show(key_id: _Id, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what a key may do; never its secret."""
    with open_site(config, data) as site, site.control.connect() as tx:
        key = find_key(tx, key_id)
        key = done(no_such_key(key_id) if key is None else key)
        whose = accounts.names(tx, _owners(key))
    document = _document(key, whose, now_ms())
    emit(document, as_json, lambda: "\n".join(f"{name + ':':16}{_line(value)}" for name, value in document.items()))


@app.command(context_settings=_ID_FIRST)
def revoke(
    key_id: _Id,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Somebody else may have it: hold what it has queued, too.")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a key, everywhere, within a second."""
    with open_site(config, data) as site:
        with site.control.begin() as tx:
            key = done(actions.revoke(tx, key_id, compromised=compromised, by=by()))
        document = {"api_key_id": key.id, "revoked_at": moment(key.revoked_ms), "compromised": key.compromised}
        # In force before anything is counted.
        radius = blast_radius(site, key) if key.compromised else None
    if radius is None:
        emit(document, as_json, f"Key {key.id} is revoked.")
    else:
        next_ = f"What it has queued is held: `sekisho key release {key.id}` or `sekisho key purge {key.id}`."
        emit({**document, **radius}, as_json, lambda: f"Key {key.id} is revoked. {next_}\n\n{radius_text(radius)}")


keystopping.add(app)


_OPTIONS: Final = {
    "ips": "--ip",
    "from_domains": "--from-domain",
    "from_addresses": "--from-address",
    "rate": "--rate",
    "daily": "--daily",
    "max_recipients": "--max-recipients",
    "expires_at": "--expires",
}


def _read(policy: KeyPolicy | PolicyFlaw) -> KeyPolicy:
    if isinstance(policy, PolicyFlaw):
        message = f"{_OPTIONS[policy.field]} {policy.text}"
        raise CommandError(message)
    return policy


def _read_text() -> Secret[bytes]:
    """Read a key from standard input: never an argument, where every user of the machine could read it."""
    if sys.stdin.isatty():
        return Secret(str(typer.prompt("API key", hide_input=True, err=True)).strip().encode())
    return Secret(sys.stdin.buffer.read(_INPUT_MAX_BYTES).strip())


def _owners(key: ApiKey) -> list[AccountId]:
    return [key.account_id] if key.subuser_id is None else [key.account_id, key.subuser_id]


def _document(key: ApiKey, whose: Mapping[AccountId, str], now: int) -> dict[str, object]:
    policy = key.policy
    return {
        "api_key_id": key.id,
        "name": key.name,
        "account": whose[key.account_id],
        "subuser": None if key.subuser_id is None else whose[key.subuser_id],
        "state": key.state(now),
        "full_access": key.given is None,
        "scopes": sorted(key.scopes),
        "ips": [str(network) for network in policy.ips],
        "from_domains": sorted(policy.from_domains),
        "from_addresses": sorted(policy.from_addresses),
        "rate": None if policy.rate is None else rate_text(policy.rate),
        "daily": policy.daily,
        "max_recipients": policy.max_recipients,
        "expires_at": moment(policy.expires_ms),
        "imported": key.imported,
        "created_at": moment(key.created_ms),
        "revoked_at": moment(key.revoked_ms),
        "held_reason": None if key.hold is None else key.hold.text,
    }


def _line(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "-"
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
