"""``sekisho audit``: read, export and verify the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from sqlalchemy import Connection

from sekisho import accounts
from sekisho.audit import OPERATOR, Entry, Search, entries, heads
from sekisho.audit.chain import Finding, Head, verify
from sekisho.audit.export import BadExport, encode_line, read_lines
from sekisho.audit.keeper import trusted
from sekisho.audit.reading import links
from sekisho.audit.signed import BadHead, Signer
from sekisho.audit.verifying import own_heads
from sekisho.doors.cli.acting import moment, the_owner, the_sealer
from sekisho.doors.cli.common import CommandError, ConfigOption, DataOption, JsonOption, Site, emit, open_site, table
from sekisho.ids import AccountId

app = typer.Typer(no_args_is_help=True, help="Who changed what, when and from where, in a log that shows tampering.")

_SHOWN: Final = 50
_SHOWN_MAX: Final = 10_000

_Account = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Only this account's log.", show_default=False)
]
_Subuser = Annotated[
    str | None, typer.Option("--subuser", metavar="NAME", help="Of this subuser of the account.", show_default=False)
]
_Operator = Annotated[bool, typer.Option("--operator", help="Only what concerns no account.")]
_Action = Annotated[
    str | None, typer.Option("--action", metavar="NAME", help="Only these, such as key.create.", show_default=False)
]
_Limit = Annotated[int, typer.Option("--limit", min=1, max=_SHOWN_MAX, help="How many, the newest.")]
_Heads = Annotated[
    Path | None,
    typer.Option(
        "--head",
        metavar="FILE",
        help="Signed heads to hold it against; the server's own file if left out.",
        show_default=False,
    ),
]
_File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Verify an exported log instead.", show_default=False)
]
_Key = Annotated[
    str | None,
    typer.Option(
        "--public-key",
        metavar="KEY",
        help="Of the heads' signatures; this server's own if left out.",
        show_default=False,
    ),
]


@app.command()
def show(  # noqa: PLR0917
    account: _Account = None,
    subuser: _Subuser = None,
    operator: _Operator = False,
    action: _Action = None,
    limit: _Limit = _SHOWN,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest entries, oldest of them first."""
    with open_site(config, data) as site, site.control.connect() as tx:
        chain = _chain(tx, account, subuser, operator)
        found = entries(tx, chain, limit=limit, search=Search(action))[::-1]
        names = accounts.names(tx, [AccountId(entry.chain) for entry in found])
    rows = [_row(entry, names.get(AccountId(entry.chain))) for entry in found]
    emit(
        {"entries": [_document(entry, names.get(AccountId(entry.chain))) for entry in found]},
        as_json,
        lambda: table(("AT", "ACTOR", "FROM", "ACCOUNT", "ACTION", "SUBJECT", "DETAILS"), rows),
    )


@app.command()
def export(  # noqa: PLR0917
    account: _Account = None,
    subuser: _Subuser = None,
    operator: _Operator = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,  # noqa: ARG001 - it is JSON anyway, and an option of every command
) -> None:
    """Print a whole log, one JSON line per entry, in the form that `verify --file` reads."""
    with open_site(config, data) as site, site.control.connect() as tx:
        chain = _chain(tx, account, subuser, operator)
        if chain is None:
            message = "say whose log: --account NAME [--subuser NAME], or --operator"
            raise CommandError(message)
        for link in links(tx, chain):
            typer.echo(encode_line(link), nl=False)


@app.command("verify")
def verify_(  # noqa: PLR0917
    account: _Account = None,
    subuser: _Subuser = None,
    operator: _Operator = False,
    head: _Heads = None,
    file: _File = None,
    public_key: _Key = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for entries that are missing, changed or cut off; exit status 1 when there are."""
    if file is not None:
        findings, walked, key = _verify_file(file, head, public_key)
    else:
        with open_site(config, data) as site:
            key = public_key or Signer(the_sealer(site)).public_key
            findings, walked = _verify_site(site, account, subuser, operator, head, key)
    document = {
        "valid": not findings,
        "chains": walked,
        "public_key": key,
        "findings": [
            {"chain": one.chain, "seq": one.seq, "flaw": one.flaw.value, "text": one.text} for one in findings
        ],
    }
    emit(document, as_json, lambda: _words(findings, walked, key))
    if findings:
        raise typer.Exit(1)


def _verify_site(  # noqa: PLR0917
    site: Site, account: str | None, subuser: str | None, operator: bool, head: Path | None, key: str
) -> tuple[list[Finding], int]:
    known = list(_known(head, key)) if head is not None else _own(site.directory.audit_heads, key)
    with site.control.connect() as tx:
        # The log's own note of its end is no proof, but whoever cuts only the entries is caught by it.
        ends = heads(tx)
        chain = _chain(tx, account, subuser, operator)
        chains = {one.chain for one in (*ends, *known)} if chain is None else {chain}
        findings = [finding for one in sorted(chains) for finding in verify(one, links(tx, one), [*known, *ends])]
    return findings, len(chains)


def _verify_file(file: Path, head: Path | None, public_key: str | None) -> tuple[list[Finding], int, str | None]:
    if head is not None and public_key is None:
        message = "--file with --head needs --public-key: whose signatures count"
        raise CommandError(message)
    known = [] if head is None or public_key is None else list(_known(head, public_key))
    try:
        with file.open("rb") as lines:
            chain, walk = read_lines(lines)
            return list(verify(chain, walk, known)), 1, public_key
    except (BadExport, OSError) as error:
        message = f"{file}: {error}"
        raise CommandError(message) from error


def _own(path: Path, key: str) -> list[Head]:
    try:
        return list(own_heads(path, key))
    except (BadHead, OSError) as error:
        message = f"{path}: {error}"
        raise CommandError(message) from error


def _known(path: Path, key: str) -> Iterator[Head]:
    try:
        yield from trusted(path, key)
    except (BadHead, OSError) as error:
        message = f"{path}: {error}"
        raise CommandError(message) from error


def _chain(tx: Connection, account: str | None, subuser: str | None, operator: bool) -> int | None:
    if operator:
        return OPERATOR
    if account is None:
        if subuser is not None:
            message = "--subuser goes with --account"
            raise CommandError(message)
        return None
    return the_owner(tx, account, subuser).id


def _words(findings: Sequence[Finding], walked: int, key: str | None) -> str:
    signed = "" if key is None else f"\nheads are signed with {key}"
    if not findings:
        return f"valid: {walked} log{'' if walked == 1 else 's'}, every entry in its place{signed}"
    return "\n".join(f"{_whose(one.chain)}: {one.text}" for one in findings) + signed


def _whose(chain: int) -> str:
    return "operator" if chain == OPERATOR else f"account {chain}"


def _row(entry: Entry, name: str | None) -> tuple[object, ...]:
    details = json.dumps(entry.details, ensure_ascii=False) if entry.details else ""
    return (moment(entry.at_ms), entry.actor, entry.address, name, entry.action, entry.subject, details)


def _document(entry: Entry, name: str | None) -> dict[str, object]:
    return {
        "account": name,
        "seq": entry.seq,
        "at": moment(entry.at_ms),
        "actor": entry.actor,
        "address": entry.address,
        "action": entry.action,
        "subject": entry.subject,
        "details": dict(entry.details),
        "hash": entry.hash.hex(),
    }
