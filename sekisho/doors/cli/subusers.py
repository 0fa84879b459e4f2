"""``sekisho subuser``: make, list, switch and delete the subusers of accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sekisho import accounts
from sekisho.credits import TOTAL_MAX, Credits, Reset
from sekisho.doors.cli.acting import by, done, moment, the_account, the_relay, the_subuser
from sekisho.doors.cli.common import CommandError, ConfigOption, DataOption, JsonOption, emit, open_site, table
from sekisho.policy.closing import delete_subuser
from sekisho.queue.counters import used_of

app = typer.Typer(no_args_is_help=True, help="Senders within an account, each with keys and domains of its own.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The subuser's name.")]
_Account = Annotated[str, typer.Option("--account", metavar="NAME", help="The account it belongs to.")]
_MaybeAccount = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Only those of this account.", show_default=False)
]


@app.command()
def create(
    name: _Name, account: _Account, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Make a subuser of an account."""
    with open_site(config, data) as site, site.control.begin() as tx:
        made = done(accounts.create_subuser(tx, of=account, name=name, by=by()))
    emit({"subuser": made.name}, as_json, f"Subuser {made.name} created.")


@app.command("list")
def list_(
    account: _MaybeAccount = None, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List subusers."""
    with open_site(config, data) as site, site.control.connect() as tx:
        parent = None if account is None else the_account(tx, account).id
        found = accounts.list_subusers(tx, parent)
        parents = accounts.names(tx, [one.account_id for one in found])
    document = {
        "subusers": [
            {
                "subuser": one.name,
                "account": parents[one.account_id],
                "created_at": moment(one.created_ms),
                "disabled": one.disabled_ms is not None,
            }
            for one in found
        ]
    }
    rows = [(one.name, parents[one.account_id], moment(one.created_ms), one.disabled_ms is not None) for one in found]
    emit(document, as_json, lambda: table(("SUBUSER", "ACCOUNT", "CREATED", "DISABLED"), rows))


@app.command()
def disable(name: _Name, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Stop a subuser: no login, and queued mail is held."""
    with open_site(config, data) as site, site.control.begin() as tx:
        after = accounts.disable(tx, the_subuser(tx, name), by=by())
    emit({"subuser": after.name, "disabled": True}, as_json, f"Subuser {after.name} is disabled; its mail is held.")


@app.command()
def enable(name: _Name, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let a subuser send again, held mail included (unless its account is disabled)."""
    with open_site(config, data) as site, site.control.begin() as tx:
        after = accounts.enable(tx, the_subuser(tx, name), by=by())
    emit({"subuser": after.name, "disabled": False}, as_json, f"Subuser {after.name} is enabled.")


@app.command("credits")
def credits_(  # noqa: PLR0917
    name: _Name,
    total: Annotated[
        int | None,
        typer.Option(
            "--total", metavar="N", min=1, max=TOTAL_MAX, help="Grant so many recipients.", show_default=False
        ),
    ] = None,
    reset: Annotated[
        Reset | None, typer.Option("--reset", help="Grant them anew each time; else once.", show_default=False)
    ] = None,
    add: Annotated[
        int | None, typer.Option("--add", metavar="N", help="Add to what remains (or -N).", show_default=False)
    ] = None,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="Lift the limit.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set how many recipients a subuser may mail."""
    if sum((total is not None, add is not None, unlimited)) > 1:
        message = "--total, --add and --unlimited exclude one another"
        raise CommandError(message)
    if reset is not None and total is None:
        message = "--reset goes with --total"
        raise CommandError(message)
    who = by()
    with open_site(config, data) as site:
        with site.control.begin() as tx:
            subuser = the_subuser(tx, name)
            if total is not None:
                granted = Credits(subuser.id, total, reset, who.at_ms)
                subuser = accounts.grant_credits(tx, subuser, granted, by=who)
            elif unlimited:
                subuser = accounts.grant_credits(tx, subuser, None, by=who)
            elif add is not None:
                if subuser.credits is None:
                    message = f"the credits of {subuser.name} are unlimited: grant some with --total first"
                    raise CommandError(message)
                used = used_of(site.directory.spool, subuser.credits.bucket(who.at_ms))
                changed = subuser.credits.changed_by(add, used, who.at_ms)
                subuser = accounts.grant_credits(tx, subuser, changed, by=who)
        document = _credits(subuser, site.directory.spool, who.at_ms)
    remain = document["remain"]
    said = "without limit" if remain is None else f"{remain} more recipients"
    emit(document, as_json, f"Subuser {subuser.name} may mail {said}.")


def _credits(subuser: accounts.Account, spool: Path, now_ms: int) -> dict[str, object]:
    granted = subuser.credits
    if granted is None:
        return {"subuser": subuser.name, "type": "unlimited", "reset": None, "remain": None, "total": None}
    bucket = granted.bucket(now_ms)
    return {
        "subuser": subuser.name,
        "type": "nonrecurring" if granted.reset is None else "recurring",
        "reset": None if granted.reset is None else granted.reset.value,
        "remain": max(0, bucket.size - used_of(spool, bucket)),
        "total": granted.total,
    }


@app.command()
def delete(name: _Name, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Delete a subuser for good: its keys end, its domains are released, its queued mail is dropped."""
    with open_site(config, data) as site, site.control.begin() as tx:
        gone = the_subuser(tx, name)
        delete_subuser(tx, gone, relay=the_relay(site), by=by())
    emit({"subuser": gone.name, "deleted": True}, as_json, f"Subuser {gone.name} is deleted.")
