"""``sekisho account``: make, list and switch accounts."""

from __future__ import annotations

from typing import Annotated

import typer

from sekisho import accounts
from sekisho.doors.cli.acting import by, done, moment, the_account
from sekisho.doors.cli.common import ConfigOption, DataOption, JsonOption, emit, open_site, table

app = typer.Typer(no_args_is_help=True, help="The tenants of this relay.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
_Owner = Annotated[str, typer.Option("--owner", metavar="EMAIL", help="Who owns it.")]


@app.command()
def create(
    name: _Name, owner: _Owner, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Make an account."""
    with open_site(config, data) as site, site.control.begin() as tx:
        made = done(accounts.create_account(tx, name=name, owner_email=owner, by=by()))
    # The set-up link comes with people who log in.
    emit({"account": made.name, "setup_url": None}, as_json, f"Account {made.name} created.")


@app.command("list")
def list_(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the accounts."""
    with open_site(config, data) as site, site.control.connect() as tx:
        found = accounts.list_accounts(tx)
    document = {
        "accounts": [
            {
                "account": one.name,
                "owner": one.owner_email,
                "created_at": moment(one.created_ms),
                "disabled": one.disabled_ms is not None,
            }
            for one in found
        ]
    }
    rows = [(one.name, one.owner_email, moment(one.created_ms), one.disabled_ms is not None) for one in found]
    emit(document, as_json, lambda: table(("ACCOUNT", "OWNER", "CREATED", "DISABLED"), rows))


@app.command()
def disable(name: _Name, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Stop an account and its subusers: no login, and queued mail is held."""
    with open_site(config, data) as site, site.control.begin() as tx:
        after = accounts.disable(tx, the_account(tx, name), by=by())
    emit({"account": after.name, "disabled": True}, as_json, f"Account {after.name} is disabled; its mail is held.")


@app.command()
def enable(name: _Name, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let an account send again, held mail included."""
    with open_site(config, data) as site, site.control.begin() as tx:
        after = accounts.enable(tx, the_account(tx, name), by=by())
    emit({"account": after.name, "disabled": False}, as_json, f"Account {after.name} is enabled.")
