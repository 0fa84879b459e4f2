"""``sekisho account``: make, list and switch accounts."""

from __future__ import annotations

from typing import Annotated

import typer

from sekisho import accounts, signup, users
from sekisho.doors.cli.acting import by, done, moment, the_account
from sekisho.doors.cli.common import CommandError, ConfigOption, DataOption, JsonOption, emit, open_site, table
from sekisho.service.config import Signup
from sekisho.service.letters import KEY_ID
from sekisho.service.ownmail import way

app = typer.Typer(no_args_is_help=True, help="The tenants of this relay.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
_Owner = Annotated[str, typer.Option("--owner", metavar="EMAIL", help="Who owns it.")]


@app.command()
def create(
    name: _Name, owner: _Owner, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Make an account, and the link with which its owner sets it up."""
    who = by()
    with open_site(config, data) as site, site.control.begin() as tx:
        made = done(accounts.create_account(tx, name=name, owner_email=owner, by=who))
        url = site.config.server.public_url + signup.owner_link(tx, made, by=who)
    text = f"Account {made.name} created. Hand this link over to {owner}; it is good once, for 7 days:\n\n  {url}\n"
    emit({"account": made.name, "setup_url": url}, as_json, text)


@app.command("setup-link")
def setup_link(name: _Name, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Make a new link for an account's owner, which ends older ones.

    With it the owner sets the account up, or, when that is done, chooses a new password; the second factor stays.
    """
    who = by()
    with open_site(config, data) as site, site.control.begin() as tx:
        account = the_account(tx, name)
        is_new = users.owner_of(tx, account.id) is None
        url = site.config.server.public_url + signup.owner_link(tx, account, by=who)
    good = "to set the account up; good once, for 7 days" if is_new else "for a new password; good once, for an hour"
    emit({"account": account.name, "setup_url": url}, as_json, f"For the owner of {account.name}, {good}:\n\n  {url}\n")


@app.command()
def invite(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Who may open an account.")],
    *,
    print_link: Annotated[bool, typer.Option("--print", help="Print the link instead of mailing it.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Invite somebody to open an account, by a letter or a link to hand over."""
    who = by()
    with open_site(config, data) as site, site.control.begin() as tx:
        server = site.config.server
        if server.signup is Signup.CLOSED:
            message = 'sign-up is closed: set server.signup to "invitation" or "open" (or use account create)'
            raise CommandError(message)
        path = done(signup.invite(tx, email, by=who, by_letter=not print_link))
        can_mail = way(tx, server.notices_address, KEY_ID) is not None
    url = None if path is None else server.public_url + path
    waits = path is None and not can_mail
    emit(
        {"email": email, "signup_url": url, "mailed": path is None, "waits": waits},
        as_json,
        _invited(email, url, waits),
    )


def _invited(email: str, url: str | None, waits: bool) -> str:
    if url is not None:
        return f"For {email}; good once, for 7 days:\n\n  {url}\n"
    if waits:
        return (
            f"The invitation to {email} waits, for 7 days at most: no domain of an account carries the address that "
            "letters come from. Authenticate one and name an address of it in server.notices_from, or use --print."
        )
    return f"An invitation goes to {email}."


@app.command()
def lift(name: _Name, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lift the first limit of an account that somebody opened himself, before it is earned."""
    with open_site(config, data) as site, site.control.begin() as tx:
        account = the_account(tx, name)
        found = signup.probation_of(tx, account.id)
        if found is None:
            message = f"{account.name} has no first limit"
            raise CommandError(message)
        signup.lift(tx, found, by=by())
    emit({"account": account.name, "lifted": True}, as_json, f"The first limit of {account.name} is lifted.")


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
