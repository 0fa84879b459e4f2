"""``sekisho user``: the people who log in to the dashboard."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Connection

from sekisho import accounts, factors, users
from sekisho.doors.cli.acting import by, moment
from sekisho.doors.cli.common import CommandError, ConfigOption, DataOption, JsonOption, emit, open_site, table
from sekisho.policy import people
from sekisho.users import User

app = typer.Typer(no_args_is_help=True, help="People who log in to the dashboard.")

_Email = Annotated[
    str, typer.Argument(metavar="EMAIL", help="The address that the person logs in with, or the user name.")
]


@app.command("list")
def list_(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List everybody who logs in, by account."""
    with open_site(config, data) as site, site.control.connect() as tx:
        shown = [_shown(tx, person) for person in users.all_users(tx)]
    names = ("account", "username", "email", "role", "second_factor")
    rows = [[one[name] for name in names] for one in shown]
    emit({"users": shown}, as_json, lambda: table(("ACCOUNT", "USER NAME", "EMAIL", "ROLE", "2FA"), rows))


@app.command()
def show(email: _Email, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one person, and which second factors there are."""
    with open_site(config, data) as site, site.control.connect() as tx:
        person = _the_user(tx, email)
        enrolled = factors.enrolled(tx, person.id)
        document = _shown(tx, person) | {
            "scopes": None if person.scopes is None else sorted(person.scopes),
            "restricted": person.restricted,
            "authenticator_app": enrolled.totp,
            "passkeys": enrolled.passkeys,
            "recovery_codes_left": enrolled.recovery_left,
        }
    emit(
        document, as_json, lambda: table(("FIELD", "VALUE"), [(name, _text(value)) for name, value in document.items()])
    )


@app.command("reset-2fa")
def reset_2fa(email: _Email, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Take a person's second factors away, who has lost them, and log the person out everywhere.

    Whoever knows the password enrols the next one: make sure first that it is this person who asks.
    """
    with open_site(config, data) as site, site.control.begin() as tx:
        person = _the_user(tx, email)
        people.reset_factors(tx, person, by=by())
    text = f"{person.username} has no second factor any more, and enrols a new one at the next log-in."
    emit({"username": person.username, "email": person.email, "second_factor": False}, as_json, text)


def _the_user(tx: Connection, name: str) -> User:
    found = users.find_user(tx, name)
    if found is None:
        message = f"nobody logs in as {name!r}: sekisho user list shows everybody, with user names"
        raise CommandError(message)
    return found


def _shown(tx: Connection, person: User) -> dict[str, object]:
    tenant = accounts.account_by_id(tx, person.tenant_id)
    return {
        "account": None if tenant is None else tenant.name,
        "username": person.username,
        "email": person.email,
        "email_proved": person.login_email is not None,
        "role": person.role.value,
        "second_factor": factors.enrolled(tx, person.id).is_any,
        "created_at": moment(person.created_ms),
    }


def _text(value: object) -> object:
    return ", ".join(value) if isinstance(value, list) else value
