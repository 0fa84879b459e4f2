"""The only writers of sender domains.

Each function is one change: checks, rows, audit row, feed row, all in the caller's transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from sekisho import audit, changes
from sekisho.accounts import Account, no_such_subuser
from sekisho.audit import By
from sekisho.changes import ChangeKind
from sekisho.domains.model import (
    ASSIGNED_MAX,
    KEY_RECORDS,
    NAME_MAX,
    RETURN_PATH,
    Domain,
    KeyRecord,
    RecordName,
    Relay,
)
from sekisho.domains.reading import read_claim
from sekisho.domains.tables import domain, domain_assignment, domain_key, domain_record
from sekisho.domains.verify import Finding, Sight, is_disproof, is_proof
from sekisho.ids import AccountId, DomainId
from sekisho.ports.dns import ascii_name
from sekisho.refusal import Declined, Obstacle
from sekisho.sealing import Sealer
from sekisho.secret import Secret
from sekisho.wire.dkim import keys
from sekisho.wire.dkim.keys import PrivateKey

SEAL_PURPOSE = "dkim key"


@dataclass(frozen=True, slots=True, eq=False)
class NewKeys:
    """The four keys of a new claim. Made before the transaction: RSA takes a while, and the database has one writer."""

    keys: tuple[tuple[KeyRecord, PrivateKey], ...]

    def __repr__(self) -> str:
        return "NewKeys(…)"


def make_keys() -> NewKeys:
    return NewKeys(
        tuple(
            (record, keys.generate_rsa() if record.algorithm == "rsa-sha256" else keys.generate_ed25519())
            for record in KEY_RECORDS
        )
    )


def sealed_row(domain_id: DomainId, record: str) -> str:
    """Name the row that a sealed key is bound to."""
    return f"domain_key {domain_id} {record}"


def add(
    tx: Connection, owner: Account, text: str, new: NewKeys, *, relay: Relay, sealer: Sealer, by: By
) -> Domain | Declined:
    """Claim a domain for an account, or for a subuser alone. Others may claim it as well; one of them can prove it."""
    name = ascii_name(text)
    if name is None or len(name) > NAME_MAX:
        return Declined(Obstacle.DOMAIN_MALFORMED, f"{text!r} is not a domain name such as example.com")
    claims = tx.execute(
        select(domain.c.id, domain.c.account_id, domain.c.return_path).where(domain.c.name == name)
    ).all()
    if any(claim.account_id == owner.account_id for claim in claims):
        return Declined(Obstacle.DOMAIN_TAKEN, f"{name} was added to this account already")
    domain_id = DomainId(
        tx.execute(
            insert(domain)
            .values(
                account_id=owner.account_id,
                subuser_id=owner.subuser_id,
                name=name,
                return_path=_free_return_path(name, {claim.return_path for claim in claims}),
                valid=False,
                overridden=False,
                created_ms=by.at_ms,
            )
            .returning(domain.c.id)
        ).scalar_one()
    )
    suffix = _free_suffix(tx, [claim.id for claim in claims])
    for record, key in new.keys:
        sealed = sealer.seal(Secret(keys.to_der(key)), purpose=SEAL_PURPOSE, row=sealed_row(domain_id, record.name))
        tx.execute(
            insert(domain_key).values(
                domain_id=domain_id,
                record=record.name.value,
                selector=f"{record.selector}-{suffix}",
                algorithm=record.algorithm,
                active=record.active,
                sealed=sealed,
            )
        )
        _insert_record(tx, domain_id, record.name, keys.txt_record(key))
    for name_of in sorted(RETURN_PATH):
        _insert_record(tx, domain_id, name_of, relay.data(name_of))
    made = read_claim(tx, domain_id, relay)
    assert made is not None  # noqa: S101  # written above, in this transaction
    _leave_word(tx, made, "domain.add", by)
    return made


@dataclass(frozen=True, slots=True)
class Checked:
    """A claim after a check, and whether somebody else's valid claim stood in the way of this one."""

    domain: Domain
    valid_elsewhere: bool


def record_check(
    tx: Connection, domain_id: DomainId, findings: Sequence[Finding], *, relay: Relay, by: By
) -> Checked | Declined:
    """Write what a look at DNS came to.

    Proof makes the claim valid unless another account's is; a disproof takes that back, except from the operator's
    override; no answer changes nothing.
    """
    before = read_claim(tx, domain_id, relay)
    if before is None:
        return Declined(Obstacle.DOMAIN_UNKNOWN, "the domain was removed meanwhile")
    for finding in findings:
        if finding.sight is not Sight.UNKNOWN:
            tx.execute(
                update(domain_record)
                .where(domain_record.c.domain_id == domain_id, domain_record.c.record == finding.record.name.value)
                .values(data=finding.record.data, seen=finding.sight is Sight.VALID)
            )
    proof = is_proof(findings)
    valid_elsewhere = proof and not before.valid and _is_valid_elsewhere(tx, before)
    valid, overridden = before.valid, before.overridden
    if proof and not valid_elsewhere:
        valid, overridden = True, False
    elif is_disproof(findings) and not overridden:
        valid = False
    tx.execute(
        update(domain).where(domain.c.id == domain_id).values(valid=valid, overridden=overridden, checked_ms=by.at_ms)
    )
    after = read_claim(tx, domain_id, relay)
    assert after is not None  # noqa: S101  # updated above, in this transaction
    seen = {finding.record.name.value: finding.sight.value for finding in findings}
    _leave_word(tx, after, "domain.verify", by, {"valid": valid, "valid_elsewhere": valid_elsewhere, **seen})
    return Checked(after, valid_elsewhere)


def override(tx: Connection, claim: Domain, *, relay: Relay, by: By) -> Domain | Declined:
    """Call a domain valid without DNS, on the operator's word; what DNS must say for the return path stays unproven."""
    if _is_valid_elsewhere(tx, claim):
        return Declined(Obstacle.DOMAIN_TAKEN, f"{claim.name} is valid in another account")
    if not claim.valid:
        tx.execute(update(domain).where(domain.c.id == claim.id).values(valid=True, overridden=True))
    _leave_word(tx, claim, "domain.override", by)
    after = read_claim(tx, claim.id, relay)
    assert after is not None  # noqa: S101  # updated above, in this transaction
    return after


def assign(tx: Connection, claim: Domain, subuser: Account, *, by: By) -> Declined | None:
    """Lend an account's domain to one of its subusers; the account keeps using it. Again is a no-op."""
    if subuser.parent_id != claim.account_id:
        return no_such_subuser(subuser.name)
    if claim.subuser_id is not None:
        return Declined(Obstacle.DOMAIN_TAKEN, f"{claim.name} is a subuser's own and cannot be lent")
    theirs = set(
        tx.execute(select(domain_assignment.c.domain_id).where(domain_assignment.c.subuser_id == subuser.id)).scalars()
    )
    if claim.id in theirs:
        return None
    if len(theirs) >= ASSIGNED_MAX:
        return Declined(Obstacle.ASSIGNMENTS_TOO_MANY, f"{subuser.name} has {ASSIGNED_MAX} assigned domains already")
    tx.execute(insert(domain_assignment).values(domain_id=claim.id, subuser_id=subuser.id, assigned_ms=by.at_ms))
    _leave_word(tx, claim, "domain.assign", by, {"subuser": subuser.name})
    return None


def remove(tx: Connection, claim: Domain, *, by: By) -> None:
    """Give a claim up: keys and assignments go with it, and nothing more is sent as this domain."""
    tx.execute(delete(domain).where(domain.c.id == claim.id))
    _leave_word(tx, claim, "domain.remove", by)


def remove_all_of(tx: Connection, subuser: Account, *, relay: Relay, by: By) -> int:
    """Remove the domains of a subuser that goes, and give back what it borrowed; how many were its own."""
    own = tx.execute(select(domain.c.id).where(domain.c.subuser_id == subuser.id)).scalars().all()
    for domain_id in own:
        claim = read_claim(tx, domain_id, relay)
        assert claim is not None  # noqa: S101  # read above, in this transaction
        remove(tx, claim, by=by)
    lent = select(domain.c.name).join(domain_assignment).where(domain_assignment.c.subuser_id == subuser.id)
    for name in tx.execute(lent).scalars().all():
        changes.record(tx, ChangeKind.DOMAIN_CHANGED, subuser.account_id, name, at_ms=by.at_ms)
    tx.execute(delete(domain_assignment).where(domain_assignment.c.subuser_id == subuser.id))
    return len(own)


def _is_valid_elsewhere(tx: Connection, claim: Domain) -> bool:
    query = select(func.count()).where(domain.c.name == claim.name, domain.c.valid, domain.c.id != claim.id)
    return tx.execute(query).scalar_one() > 0


def _free_suffix(tx: Connection, claims: Sequence[int]) -> str:
    """Four hexadecimal digits that no other claim of this name has in its selectors."""
    taken = set(tx.execute(select(domain_key.c.selector).where(domain_key.c.domain_id.in_(claims))).scalars())
    used = {selector.rpartition("-")[2] for selector in taken}
    while (suffix := secrets.token_hex(2)) in used:
        pass
    return suffix


def _free_return_path(name: str, taken: set[str]) -> str:
    while (host := f"em{secrets.randbelow(9000) + 1000}.{name}") in taken:
        pass
    return host


def _insert_record(tx: Connection, domain_id: DomainId, name: RecordName, data: str) -> None:
    tx.execute(insert(domain_record).values(domain_id=domain_id, record=name.value, data=data, seen=False))


def _leave_word(
    tx: Connection, claim: Domain, action: str, by: By, details: dict[str, audit.Detail] | None = None
) -> None:
    whose: AccountId = claim.owner_id
    audit.record(tx, by=by, action=action, account_id=whose, subject=claim.name, details=details)
    changes.record(tx, ChangeKind.DOMAIN_CHANGED, claim.account_id, claim.name, at_ms=by.at_ms)
