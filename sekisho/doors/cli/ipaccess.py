"""``sekisho ip-access``: the addresses from which an account is used; the way back in for whoever is locked out."""

from __future__ import annotations

from typing import Annotated

import typer

from sekisho import ipaccess
from sekisho.doors.cli.acting import by, done, moment, the_owner
from sekisho.doors.cli.common import CommandError, ConfigOption, DataOption, JsonOption, emit, open_site, table
from sekisho.identity import IPNetwork
from sekisho.ipaccess.networks import read_entry
from sekisho.refusal import Declined

app = typer.Typer(no_args_is_help=True, help="From which addresses an account is used: API, SMTP and people.")

_Account = Annotated[str, typer.Option("--account", metavar="NAME", help="Whose list.")]
_Subuser = Annotated[
    str | None, typer.Option("--subuser", metavar="NAME", help="The list of this subuser of it.", show_default=False)
]
_Entries = Annotated[
    list[str], typer.Argument(metavar="ADDRESS...", help="Addresses, networks such as 192.0.2.0/24, or 192.0.2.*.")
]


@app.command("list")
def list_(
    account: _Account,
    subuser: _Subuser = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the addresses; none: every address is let in."""
    with open_site(config, data) as site, site.control.connect() as tx:
        owner = the_owner(tx, account, subuser)
        rules, until_ms = ipaccess.rules_of(tx, owner.id), ipaccess.pending_until(tx, owner.id)
    document = {
        "addresses": [
            {"id": rule.id, "ip": str(rule.network), "created_at": moment(rule.created_ms)} for rule in rules
        ],
        "rolls_back_at": moment(until_ms),
    }
    emit(document, as_json, lambda: _text(rules, until_ms))


@app.command()
def add(  # noqa: PLR0917
    entries: _Entries,
    account: _Account,
    subuser: _Subuser = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let in more addresses; the first one shuts out all that are not on the list."""
    with open_site(config, data) as site, site.control.begin() as tx:
        owner = the_owner(tx, account, subuser)
        added = done(ipaccess.add(tx, owner.id, entries, caller=None, confirmed=True, by=by()))
    shown = [str(rule.network) for rule in added]
    emit({"added": shown}, as_json, f"On the list of {owner.name}: {', '.join(shown)}.")


@app.command()
def remove(  # noqa: PLR0917
    entries: _Entries,
    account: _Account,
    subuser: _Subuser = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take addresses off the list; without the last one every address is let in."""
    networks = [_network(text) for text in entries]
    with open_site(config, data) as site, site.control.begin() as tx:
        owner = the_owner(tx, account, subuser)
        there = {rule.network: rule.id for rule in ipaccess.rules_of(tx, owner.id)}
        for network in networks:
            if network not in there:
                message = f"{network} is not on the list of {owner.name}: see `sekisho ip-access list`"
                raise CommandError(message)
        ids = [there[network] for network in networks]
        gone = done(ipaccess.remove(tx, owner.id, ids, caller=None, confirmed=True, by=by()))
    shown = [str(rule.network) for rule in gone]
    open_now = len(there) == len(gone)
    text = f"No longer on the list of {owner.name}: {', '.join(shown)}."
    emit({"removed": shown}, as_json, f"{text} {_OPEN}" if open_now else text)


@app.command()
def clear(
    account: _Account,
    subuser: _Subuser = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Empty the list: every address is let in again."""
    with open_site(config, data) as site, site.control.begin() as tx:
        owner = the_owner(tx, account, subuser)
        gone = ipaccess.clear(tx, owner.id, by=by())
    emit({"removed": [str(rule.network) for rule in gone]}, as_json, f"The list of {owner.name} is empty. {_OPEN}")


_OPEN = "Every address is let in now."


def _network(text: str) -> IPNetwork:
    network = read_entry(text)
    if isinstance(network, Declined):
        raise CommandError(network.text)
    return network


def _text(rules: tuple[ipaccess.Rule, ...], until_ms: int | None) -> str:
    if not rules:
        return "The list is empty: every address is let in."
    text = table(("ADDRESS", "ID", "SINCE"), [(rule.network, rule.id, moment(rule.created_ms)) for rule in rules])
    if until_ms is not None:
        text += f"\nNot confirmed yet: the list before it comes back at {moment(until_ms)}."
    return text
