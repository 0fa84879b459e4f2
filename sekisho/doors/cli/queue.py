"""``sekisho queue``: what is waiting to go out, and an operator's hand on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from sekisho.doors.cli.common import ConfigOption, DataOption, JsonOption, emit, now_ms, open_site
from sekisho.doors.cli.queueacting import (
    Wish,
    act,
    held_senders,
    names_of,
    not_queued,
    open_spool,
    parse,
    selection_of,
)
from sekisho.doors.cli.queuetext import (
    delivery_document,
    delivery_table,
    message_document,
    message_lines,
    recipient_table,
    status_document,
    status_table,
)
from sekisho.queue.operator import Operator
from sekisho.queue.selection import Selection

app = typer.Typer(no_args_is_help=True, help="Mail that was accepted and has not reached its end.")

_LIST_MAX: Final = 1000

_Id = Annotated[
    str | None,
    typer.Argument(metavar="ID", help="A message id, or ID.INDEX for one recipient.", show_default=False),
]
_All = Annotated[bool, typer.Option("--all", help="Everything in the queue.")]
_Key = Annotated[str | None, typer.Option("--key", metavar="ID", help="Sent with this key.", show_default=False)]
_Account = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Sent by this account or its subusers.", show_default=False),
]
_Subuser = Annotated[
    str | None, typer.Option("--subuser", metavar="NAME", help="Sent by this subuser.", show_default=False)
]
_Domain = Annotated[
    str | None, typer.Option("--domain", metavar="DOMAIN", help="To recipients in this domain.", show_default=False)
]
_OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="DURATION", help="Accepted longer ago than this: 2h.", show_default=False),
]


@app.command()
def status(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Sum up the queue by destination."""
    with open_site(config, data) as site, open_spool(site) as operator:
        found = operator.status()
        held = held_senders(site)
    document = {
        "deliveries": sum(each.count for each in found),
        "held": sum(each.held for each in found),
        "set_aside": sum(each.set_aside for each in found),
        "senders_held": len(held.senders) + len(held.keys),
        "destinations": [status_document(each, now_ms()) for each in found],
    }
    emit(document, as_json, lambda: status_table(found, now_ms()) if found else "The queue is empty.")


@app.command("list")
def list_(
    *,
    message: _Id = None,
    all_: _All = False,
    key: _Key = None,
    account: _Account = None,
    subuser: _Subuser = None,
    domain: _Domain = None,
    older_than: _OlderThan = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = _LIST_MAX,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deliveries, oldest first; without a condition, all."""
    wish = Wish(message, all_, key, account, subuser, domain, older_than)
    with open_site(config, data) as site, open_spool(site) as operator:
        # One more than asked for: says whether there are more.
        found = operator.list(selection_of(site, wish), limit + 1)
        whose, held = names_of(site, found), held_senders(site)
    more, found = len(found) > limit, found[:limit]
    document = {"deliveries": [delivery_document(each, whose, held) for each in found], "more": more}
    tail = f"\n… more than {limit}: narrow it down, or say --limit." if more else ""
    emit(
        document,
        as_json,
        lambda: delivery_table(found, whose, held, now_ms()) + tail if found else "Nothing is queued.",
    )


@app.command()
def show(
    message: Annotated[str, typer.Argument(metavar="ID", help="A message id, or ID.INDEX.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one message and each recipient that is left of it."""
    message_id, recipient = parse(message)
    with open_site(config, data) as site, open_spool(site) as operator:
        found = operator.show(message_id)
        left = () if found is None else found.deliveries
        deliveries = tuple(each for each in left if recipient in {None, each.index})
        if found is None or not deliveries:
            raise not_queued(message)
        whose, held = names_of(site, deliveries), held_senders(site)
    document = {
        **message_document(found, whose),
        "recipients": [delivery_document(each, whose, held) for each in deliveries],
    }
    emit(
        document,
        as_json,
        lambda: f"{message_lines(found, whose)}\n\n{recipient_table(deliveries, held, now_ms())}",
    )


def _add(name: str, done: str, text: str, do: Callable[[Operator, Selection], int]) -> None:
    """Add a command that acts on what is selected; all take the same options."""

    def command(
        *,
        message: _Id = None,
        all_: _All = False,
        key: _Key = None,
        account: _Account = None,
        subuser: _Subuser = None,
        domain: _Domain = None,
        older_than: _OlderThan = None,
        config: ConfigOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        wish = Wish(message, all_, key, account, subuser, domain, older_than)
        with open_site(config, data) as site:
            count = act(site, wish, f"queue.{name}", do)
        emit({done: count}, as_json, f"{done.capitalize()}: {count}.")

    app.command(name, help=text)(command)


_add("retry", "retried", "Try again now, not when the next attempt is due.", Operator.retry)
_add("hold", "held", "Keep it from going out until released. What comes later is not held.", Operator.hold)
_add("release", "released", "Let go out what was held with `queue hold`, or set aside after faults.", Operator.release)
_add("drop", "dropped", "Give it up: it is never sent, and ends in a dropped event.", Operator.drop)
