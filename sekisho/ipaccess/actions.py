"""The only writers of allow lists.

Each function is one change: checks, rows, audit row, feed row, all in the caller's transaction.

A list may be on trial: changed in the dashboard so that it might lock people out, and rolled back unless somebody
confirms it from an address that it lets in. What the API or an operator changes meanwhile is changed in the list that
would come back too, so that it persists either way.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from ipaddress import ip_network
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from sekisho import audit, changes
from sekisho.audit import By
from sekisho.changes import ChangeKind
from sekisho.identity import IPAddress, IPNetwork
from sekisho.ids import AccountId
from sekisho.ipaccess.networks import admits, read_entry
from sekisho.ipaccess.reading import ID_MAX, Rule, rules_of
from sekisho.ipaccess.tables import access_activity, access_pending, access_rule
from sekisho.refusal import Declined, Obstacle

RULES_MAX: Final = 1000
"""Per account and per subuser: the vendor's number."""

TRIAL_MS: Final = 600_000
"""How long a list is on trial: ten minutes."""

_ROLLED_BACK_MAX: Final = 100
"""Lists per transaction; the rest in the next one."""


def add(
    tx: Connection, owner_id: AccountId, entries: Sequence[str], *, caller: IPAddress | None, confirmed: bool, by: By
) -> tuple[Rule, ...] | Declined:
    """Let in more; the entries as rules, those that were there already included.

    ``caller`` is the address of whoever the list is for, None when the list does not concern who asks. A list that
    would lock the caller out wants ``confirmed``.
    """
    networks = _read(entries)
    if isinstance(networks, Declined):
        return networks
    before = rules_of(tx, owner_id)
    known = {rule.network: rule for rule in before}
    fresh = _new_rules(tx, [network for network in networks if network not in known], by.at_ms)
    if len(before) + len(fresh) > RULES_MAX:
        there = f"the list has {len(before)} entries"
        return Declined(Obstacle.ACCESS_RULES_TOO_MANY, f"a list holds {RULES_MAX} addresses at most; {there}")
    after = (*before, *fresh)
    if (declined := _lock_out(after, caller, confirmed=confirmed)) is not None:
        return declined
    if fresh:
        _insert(tx, owner_id, fresh)
        _follow_up(tx, owner_id, by, added=fresh)
        _leave_word(tx, owner_id, "access.add", by, added=fresh, count=len(after))
    known.update((rule.network, rule) for rule in fresh)
    return tuple(known[network] for network in networks)


def remove(
    tx: Connection,
    owner_id: AccountId,
    rule_ids: Collection[int],
    *,
    caller: IPAddress | None,
    confirmed: bool,
    by: By,
) -> tuple[Rule, ...] | Declined:
    """Take entries off the list; an id that is not there declines all. ``caller`` and ``confirmed`` as in ``add``."""
    before = rules_of(tx, owner_id)
    wanted = set(rule_ids)
    gone = tuple(rule for rule in before if rule.id in wanted)
    if len(gone) < len(wanted):
        return Declined(Obstacle.ACCESS_RULE_UNKNOWN, "there is no entry of that id")
    after = tuple(rule for rule in before if rule.id not in wanted)
    if (declined := _lock_out(after, caller, confirmed=confirmed)) is not None:
        return declined
    if gone:
        _delete(tx, owner_id, gone)
        _follow_up(tx, owner_id, by, removed=gone)
        _leave_word(tx, owner_id, "access.remove", by, removed=gone, count=len(after))
    return gone


def clear(tx: Connection, owner_id: AccountId, *, by: By) -> tuple[Rule, ...]:
    """Empty the list and end its trial: every address is let in again. What was on it."""
    gone = rules_of(tx, owner_id)
    ended = tx.execute(delete(access_pending).where(access_pending.c.owner_id == owner_id)).rowcount
    if gone or ended:
        _delete(tx, owner_id, gone)
        _leave_word(tx, owner_id, "access.clear", by, removed=gone, count=0)
    return gone


def replace_provisionally(
    tx: Connection, owner_id: AccountId, entries: Sequence[str], *, until_ms: int, by: By
) -> tuple[Rule, ...] | Declined:
    """Put another list in force until it is confirmed or ``until_ms`` has come.

    While one is on trial already, what comes back is still the last list that was confirmed.
    """
    networks = _read(entries)
    if isinstance(networks, Declined):
        return networks
    if len(networks) > RULES_MAX:
        return Declined(Obstacle.ACCESS_RULES_TOO_MANY, f"a list holds {RULES_MAX} addresses at most")
    before = rules_of(tx, owner_id)
    known = {rule.network: rule for rule in before}
    fresh = _new_rules(tx, [network for network in networks if network not in known], by.at_ms)
    gone = tuple(rule for rule in before if rule.network not in set(networks))
    _delete(tx, owner_id, gone)
    _insert(tx, owner_id, fresh)
    again = update(access_pending).where(access_pending.c.owner_id == owner_id).values(until_ms=until_ms)
    if not tx.execute(again).rowcount:
        values = {"owner_id": owner_id, "until_ms": until_ms, "previous": _encode(before)}
        tx.execute(insert(access_pending).values(values))
    _leave_word(tx, owner_id, "access.replace", by, added=fresh, removed=gone, count=len(networks))
    return rules_of(tx, owner_id)


def confirm(tx: Connection, owner_id: AccountId, *, address: IPAddress, by: By) -> Declined | None:
    """End the trial of a list, from an address that it lets in; None: it stands."""
    mine = access_pending.c.owner_id == owner_id
    until_ms = tx.execute(select(access_pending.c.until_ms).where(mine)).scalar()
    # Overdue: what is about to be rolled back is not saved by being quicker than the task that does it.
    if until_ms is None or until_ms <= by.at_ms:
        return Declined(Obstacle.ACCESS_NOT_PENDING, "there is no change to confirm: it stands, or it was undone")
    if not admits((rule.network for rule in rules_of(tx, owner_id)), address):
        text = f"{address} is not on the list: confirm the change from an address that is"
        return Declined(Obstacle.ACCESS_EXCLUDES_CALLER, text)
    tx.execute(delete(access_pending).where(mine))
    audit.record(tx, by=by, action="access.confirm", account_id=owner_id, subject=str(owner_id))
    return None


def roll_back(tx: Connection, owner_id: AccountId, *, by: By) -> Declined | None:
    """Bring back the list that was in force before the one on trial, at once; None: it is in force."""
    mine = select(access_pending.c.previous).where(access_pending.c.owner_id == owner_id)
    previous = tx.execute(mine).scalar()
    if previous is None:
        return Declined(Obstacle.ACCESS_NOT_PENDING, "there is no change to undo: it stands, or it was undone")
    _roll_back(tx, owner_id, previous, by)
    return None


def roll_back_due(tx: Connection, now_ms: int) -> int:
    """Bring back the lists whose trial is over without a word; how many there were."""
    due = select(access_pending).where(access_pending.c.until_ms <= now_ms).order_by(access_pending.c.until_ms)
    rows = tx.execute(due.limit(_ROLLED_BACK_MAX)).all()
    for row in rows:
        _roll_back(tx, row.owner_id, row.previous, By("system:ip-access", now_ms))
    return len(rows)


def is_due(tx: Connection, now_ms: int) -> bool:
    """Whether ``roll_back_due`` has anything to do."""
    due = select(access_pending.c.owner_id).where(access_pending.c.until_ms <= now_ms)
    return tx.execute(due.limit(1)).first() is not None


def erase(tx: Connection, owner_id: AccountId) -> None:
    """Forget list and activity of a tenant that goes, whose own deletion is audited."""
    for table in (access_rule, access_pending, access_activity):
        tx.execute(delete(table).where(table.c.owner_id == owner_id))


# The steps.


def _roll_back(tx: Connection, owner_id: AccountId, previous: str, by: By) -> None:
    _restore(tx, owner_id, _decode(previous))
    tx.execute(delete(access_pending).where(access_pending.c.owner_id == owner_id))
    audit.record(tx, by=by, action="access.roll_back", account_id=owner_id, subject=str(owner_id))
    changes.record(tx, ChangeKind.ACCESS_CHANGED, owner_id, str(owner_id), at_ms=by.at_ms)


def _read(entries: Sequence[str]) -> list[IPNetwork] | Declined:
    """Read the entries, each network once."""
    found: dict[IPNetwork, None] = {}
    for text in entries:
        network = read_entry(text)
        if isinstance(network, Declined):
            return network
        found[network] = None
    return list(found)


def _lock_out(after: Sequence[Rule], caller: IPAddress | None, *, confirmed: bool) -> Declined | None:
    if caller is None or confirmed or admits((rule.network for rule in after), caller):
        return None
    text = f"this list would lock you out: {caller}, from which you are calling, is not on it. Keep or add that address"
    confirm = 'or repeat the request with "confirm": true in its body, or with ?confirm=true'
    return Declined(Obstacle.ACCESS_EXCLUDES_CALLER, f"{text}, {confirm}")


def _new_rules(tx: Connection, networks: Sequence[IPNetwork], now_ms: int) -> tuple[Rule, ...]:
    # Ascending, so that entries made together are listed in the order in which they were given.
    return tuple(
        Rule(number, network, now_ms, now_ms)
        for number, network in zip(sorted(_free_ids(tx, len(networks))), networks, strict=True)
    )


def _free_ids(tx: Connection, count: int) -> set[int]:
    found: set[int] = set()
    while len(found) < count:
        drawn = {secrets.randbelow(ID_MAX) + 1 for _ in range(count - len(found))}
        found |= drawn - set(tx.execute(select(access_rule.c.id).where(access_rule.c.id.in_(drawn))).scalars())
    return found


def _insert(tx: Connection, owner_id: AccountId, rules: Collection[Rule]) -> None:
    if rules:
        tx.execute(
            insert(access_rule),
            [
                {
                    "id": rule.id,
                    "owner_id": owner_id,
                    "network": str(rule.network),
                    "created_ms": rule.created_ms,
                    "updated_ms": rule.updated_ms,
                }
                for rule in rules
            ],
        )


def _delete(tx: Connection, owner_id: AccountId, rules: Collection[Rule]) -> None:
    if rules:
        ids = [rule.id for rule in rules]
        tx.execute(delete(access_rule).where(access_rule.c.owner_id == owner_id, access_rule.c.id.in_(ids)))


def _restore(tx: Connection, owner_id: AccountId, rules: Sequence[Rule]) -> None:
    tx.execute(delete(access_rule).where(access_rule.c.owner_id == owner_id))
    # An id may have been given to somebody else meanwhile.
    taken = set(tx.execute(select(access_rule.c.id).where(access_rule.c.id.in_([rule.id for rule in rules]))).scalars())
    spare = iter(_free_ids(tx, len(taken)) if taken else ())
    _insert(
        tx,
        owner_id,
        [
            Rule(next(spare), rule.network, rule.created_ms, rule.updated_ms) if rule.id in taken else rule
            for rule in rules
        ],
    )


def _follow_up(
    tx: Connection, owner_id: AccountId, by: By, *, added: Sequence[Rule] = (), removed: Sequence[Rule] = ()
) -> None:
    """Make the same change in the list that would come back.

    When nothing is left of that one it would let everybody in, which nobody asked for: then the trial is over, and the
    list that is in force stands.
    """
    mine = access_pending.c.owner_id == owner_id
    text = tx.execute(select(access_pending.c.previous).where(mine)).scalar()
    # An open list stays open: whoever is added to it is let in by it as it is.
    if text is None or not (previous := _decode(text)):
        return
    gone = {rule.network for rule in removed}
    kept = [rule for rule in previous if rule.network not in gone]
    there = {rule.network for rule in kept}
    after = [*kept, *(rule for rule in added if rule.network not in there)][:RULES_MAX]
    if not after and rules_of(tx, owner_id):
        tx.execute(delete(access_pending).where(mine))
        audit.record(tx, by=by, action="access.confirm", account_id=owner_id, subject=str(owner_id))
        return
    tx.execute(update(access_pending).where(mine).values(previous=_encode(after)))


def _encode(rules: Sequence[Rule]) -> str:
    rows = [(rule.id, str(rule.network), rule.created_ms, rule.updated_ms) for rule in rules]
    return msgspec.json.encode(rows).decode()


_rows: Final = msgspec.json.Decoder(list[tuple[int, str, int, int]])


def _decode(text: str) -> list[Rule]:
    return [Rule(number, ip_network(network), made, changed) for number, network, made, changed in _rows.decode(text)]


def _leave_word(
    tx: Connection,
    owner_id: AccountId,
    action: str,
    by: By,
    *,
    added: Sequence[Rule] = (),
    removed: Sequence[Rule] = (),
    count: int,
) -> None:
    details: dict[str, audit.Detail] = {
        "added": [str(rule.network) for rule in added],
        "removed": [str(rule.network) for rule in removed],
        "entries": count,
    }
    audit.record(tx, by=by, action=action, account_id=owner_id, subject=str(owner_id), details=details)
    changes.record(tx, ChangeKind.ACCESS_CHANGED, owner_id, str(owner_id), at_ms=by.at_ms)
