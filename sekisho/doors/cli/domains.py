"""``sekisho domain``: claim, prove, lend and give up the domains that mail is sent as."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from sqlalchemy import Connection

from sekisho import accounts
from sekisho.domains import Domain, actions, reading
from sekisho.domains import verify as verifying
from sekisho.domains.model import RETURN_PATH
from sekisho.domains.verify import Finding, Sight
from sekisho.doors.cli.acting import by, done, the_account, the_owner, the_relay, the_sealer, the_subuser
from sekisho.doors.cli.common import (
    CommandError,
    ConfigOption,
    DataOption,
    JsonOption,
    Site,
    emit,
    open_site,
    table,
)
from sekisho.ids import AccountId
from sekisho.ports.dns import Resolver, ResolverUnusable

app = typer.Typer(no_args_is_help=True, help="Who may send as which domain.")

_Name = Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain of the From header.")]
_Account = Annotated[str, typer.Option("--account", metavar="NAME", help="Who claims it.")]
_MaybeAccount = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Needed when several claim the domain.", show_default=False),
]
_MaybeSubuser = Annotated[
    str | None, typer.Option("--subuser", metavar="NAME", help="A subuser of it, alone.", show_default=False)
]
_Subuser = Annotated[str, typer.Option("--subuser", metavar="NAME", help="A subuser of the domain's account.")]


@app.command()
def add(
    *,
    domain: _Name,
    account: _Account,
    subuser: _MaybeSubuser = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Claim a domain: makes its keys and prints the records to publish."""
    with open_site(config, data) as site:
        sealer, new = the_sealer(site), actions.make_keys()
        with site.control.begin() as tx:
            owner = the_owner(tx, account, subuser)
            made = done(actions.add(tx, owner, domain, new, relay=the_relay(site), sealer=sealer, by=by()))
    text = f"Publish these records, then run: sekisho domain verify {made.name}\n{_records(made)}"
    emit(_document(made), as_json, text)


@app.command()
def verify(
    *,
    domain: _Name,
    account: _MaybeAccount = None,
    override: Annotated[
        bool, typer.Option("--override", help="Call it valid without asking DNS (networks without one).")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare DNS with the records; a domain with all its keys published is valid."""
    with open_site(config, data) as site:
        with site.control.connect() as tx:
            claim = _claim(tx, site, domain, account)
        if override:
            with site.control.begin() as tx:
                after = done(actions.override(tx, claim, relay=the_relay(site), by=by()))
            emit(_document(after), as_json, f"{after.name} is valid on your word.")
            return
        # No transaction while DNS is asked: it may take seconds.
        findings = asyncio.run(verifying.look(_resolver(site), claim.records))
        with site.control.begin() as tx:
            checked = done(actions.record_check(tx, claim.id, findings, relay=the_relay(site), by=by()))
    after = checked.domain
    document = {**_document(after), "validation_results": {f.record.name.value: _result(f) for f in findings}}
    emit(document, as_json, lambda: _verdict(after, findings))
    if checked.valid_elsewhere:
        message = f"{after.name} is valid in another account, and can be in one only"
        raise CommandError(message)
    if not after.valid and verifying.is_disproof(findings):
        message = f"{after.name} is not valid: not all of its keys are published"
        raise CommandError(message)
    if any(finding.sight is Sight.UNKNOWN for finding in findings):
        message = f"the DNS did not answer for every record of {after.name}; nothing changes for those, try again"
        raise CommandError(message)


@app.command("list")
def list_(
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Only this account's.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all claims."""
    with open_site(config, data) as site, site.control.connect() as tx:
        account_id = None if account is None else the_account(tx, account).id
        found = reading.list_claims(tx, the_relay(site), account_id)
        whose = accounts.names(tx, [owner for claim in found for owner in (claim.account_id, claim.owner_id)])
    rows = [
        (
            claim.name,
            whose[claim.account_id],
            None if claim.subuser_id is None else whose[claim.subuser_id],
            claim.valid,
            "own" if _has_return_path(claim) else "relay's",
        )
        for claim in found
    ]
    emit(
        {"domains": [{**_document(claim), **_owner(claim, whose)} for claim in found]},
        as_json,
        lambda: table(("DOMAIN", "ACCOUNT", "SUBUSER", "VALID", "RETURN PATH"), rows),
    )


@app.command()
def show(
    domain: _Name,
    account: _MaybeAccount = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a claim with the records to publish."""
    with open_site(config, data) as site, site.control.connect() as tx:
        claim = _claim(tx, site, domain, account)
        lent = reading.assigned_to(tx, claim.id)
        whose = accounts.names(tx, [claim.account_id, claim.owner_id, *lent])
    document = {**_document(claim), **_owner(claim, whose), "assigned_to": [whose[subuser] for subuser in lent]}
    emit(document, as_json, lambda: f"{_state(claim)}\n{_records(claim)}")


@app.command()
def assign(
    *,
    domain: _Name,
    subuser: _Subuser,
    account: _MaybeAccount = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lend an account's domain to one of its subusers; the account keeps using it."""
    with open_site(config, data) as site, site.control.begin() as tx:
        borrower = the_subuser(tx, subuser)
        # The subuser says which account is meant, unless somebody says otherwise.
        claim = _claim(tx, site, domain, account, borrower.account_id)
        declined = actions.assign(tx, claim, borrower, by=by())
        if declined is not None:
            done(declined)
    emit({"domain": claim.name, "subuser": borrower.name}, as_json, f"{borrower.name} may send as {claim.name}.")


@app.command()
def remove(
    domain: _Name,
    account: _MaybeAccount = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a domain up: its keys are destroyed, and nothing more is sent as it."""
    with open_site(config, data) as site, site.control.begin() as tx:
        claim = _claim(tx, site, domain, account)
        actions.remove(tx, claim, by=by())
    emit({"domain": claim.name, "removed": True}, as_json, f"{claim.name} is removed.")


def _claim(tx: Connection, site: Site, domain: str, account: str | None, account_id: AccountId | None = None) -> Domain:
    wanted = account_id if account is None else the_account(tx, account).id
    return done(reading.find_claim(tx, domain, wanted, the_relay(site)))


def _resolver(site: Site) -> Resolver:
    dns = site.config.dns
    try:
        return Resolver([(str(server.address), server.port) for server in dns.nameservers], dns.timeout_s)
    except ResolverUnusable as error:
        raise CommandError(str(error)) from error


def _document(claim: Domain) -> dict[str, object]:
    """Print the contract's shape."""
    return {
        "domain": claim.name,
        "id": claim.id,
        "valid": claim.valid,
        "dns": {
            record.name.value: {
                "host": record.host,
                "type": record.type,
                "data": record.data,
                "valid": record.seen,
            }
            for record in claim.records
        },
    }


def _owner(claim: Domain, whose: Mapping[AccountId, str]) -> dict[str, object]:
    return {
        "account": whose[claim.account_id],
        "subuser": None if claim.subuser_id is None else whose[claim.subuser_id],
        "overridden": claim.overridden,
    }


def _result(finding: Finding) -> dict[str, object]:
    return {
        "valid": finding.sight is Sight.VALID,
        "status": finding.sight.value,
        "found": list(finding.found),
        "reason": finding.reason,
    }


def _records(claim: Domain) -> str:
    # The data last: a terminal may break the long lines without tearing the columns apart.
    rows = [(record.seen, record.type.upper(), record.host, record.data) for record in claim.records]
    return table(("SEEN", "TYPE", "HOST", "DATA"), rows)


def _state(claim: Domain) -> str:
    if not claim.valid:
        return f"{claim.name} is not valid: nobody may send as it."
    home = claim.return_path if _has_return_path(claim) else "the relay's own name until its two records are seen"
    return f"{claim.name} is valid{' on your word' if claim.overridden else ''}; bounces go to {home}."


def _has_return_path(claim: Domain) -> bool:
    return all(record.seen for record in claim.records if record.name in RETURN_PATH)


def _verdict(claim: Domain, findings: Sequence[Finding]) -> str:
    lines = [_state(claim)]
    for finding in findings:
        lines.append(f"  {finding.record.name.value:15} {finding.sight.value:9} {finding.record.host}")
        if finding.sight is not Sight.VALID:
            lines.append(f"    wanted: {finding.record.data}")
            lines.extend(f"    found:  {value}" for value in finding.found)
            if finding.sight is Sight.UNKNOWN:
                lines.append(f"    {finding.reason}")
    return "\n".join(lines)
