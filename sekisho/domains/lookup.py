"""Which domain a sender may use and sign with, through a cache that changes empty.

As in ``apikeys.verifier``, the cache is the only truth: a read that something overtook is thrown away and done again,
so a slow one cannot bring back a domain that was removed meanwhile. Everything but the read itself happens on the loop.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, or_, select

from sekisho.changes import Change, ChangeKind
from sekisho.db import Database, DatabaseUnavailable
from sekisho.domains.actions import SEAL_PURPOSE, sealed_row
from sekisho.domains.model import RETURN_PATH, RecordName, Relay, SigningDomain
from sekisho.domains.tables import domain, domain_assignment, domain_key, domain_record
from sekisho.ids import AccountId, DomainId
from sekisho.sealing import SealBroken, Sealer
from sekisho.wire.dkim import keys
from sekisho.wire.dkim.signature import Signer

_log = structlog.get_logger(__name__)

DEADLINE_S: Final = 2.0
"""A message waits this long for the database at its acceptance; then 451, and the client tries again."""

KNOWN_MAX: Final = 2_000
"""Domains with their unsealed keys: about 20 KiB each in OpenSSL's hands."""

NONE_MAX: Final = 10_000
"""A client may try any From domain it likes: it fills this and nothing else."""

LOOKUPS_MAX: Final = 500
"""Reads under way or waiting for a thread."""

_Question = tuple[AccountId, AccountId | None, str]


@dataclass(slots=True, eq=False)
class _Lookup:
    over: asyncio.Future[BaseException | None]
    """Done once the result stands in the cache: with the read's error, if it had one."""
    overtaken: bool = False


class SenderDomains:
    """Answers which valid domain stands behind a From domain for one sender. Equal names only."""

    def __init__(
        self,
        database: Database,
        *,
        threads: Executor,
        sealer: Sealer,
        relay: Relay,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """``threads`` run the reads; ``relay`` is what return-path records must point at to count."""
        self._database: Final = database
        self._threads: Final = threads
        self._sealer: Final = sealer
        self._relay: Final = relay
        self._deadline_s: Final = deadline_s
        self._known: Final[OrderedDict[_Question, SigningDomain]] = OrderedDict()
        self._none: Final[OrderedDict[_Question, None]] = OrderedDict()
        self._lookups: Final[dict[_Question, _Lookup]] = {}

    def cached(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        """Answer from the cache; None says nothing."""
        return self._known.get((account_id, subuser_id, domain))

    async def lookup(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        """Answer; None when this sender may not use the domain.

        A subuser uses its own domains and those assigned to it; an account its own, lent or not, and none of its
        subusers'. Raises DatabaseUnavailable when that cannot be known now.
        """
        question = (account_id, subuser_id, domain)
        # The usual case, without the cost of a deadline.
        if (found := self._known.get(question)) is not None:
            self._known.move_to_end(question)
            return found
        try:
            async with asyncio.timeout(self._deadline_s):
                while True:
                    if (found := self._known.get(question)) is not None:
                        self._known.move_to_end(question)
                        return found
                    if question in self._none:
                        return None
                    # Shielded: others may wait for the same read.
                    lookup = self._lookups.get(question) or self._begin(question)
                    if (error := await asyncio.shield(lookup.over)) is not None:
                        raise error
        except TimeoutError as error:
            message = "the control database did not answer in time"
            raise DatabaseUnavailable(message) from error

    def apply(self, changes: Sequence[Change]) -> None:
        """Forget exactly what the changes touch; called by the follower of the change feed."""
        names: set[str] = set()
        for change in changes:
            if change.kind is ChangeKind.DOMAIN_CHANGED:
                names.add(change.subject)
            elif change.kind is ChangeKind.RESYNC:
                self._known.clear()
                self._none.clear()
                names.update(question[2] for question in self._lookups)
        if not names:
            return
        for question in [question for question in self._known if question[2] in names]:
            del self._known[question]
        for question in [question for question in self._none if question[2] in names]:
            del self._none[question]
        for question, lookup in self._lookups.items():
            lookup.overtaken = lookup.overtaken or question[2] in names

    def _begin(self, question: _Question) -> _Lookup:
        if len(self._lookups) >= LOOKUPS_MAX:
            message = "too many domains are being looked up"
            raise DatabaseUnavailable(message)
        loop = asyncio.get_running_loop()
        lookup = self._lookups[question] = _Lookup(loop.create_future())
        future = loop.run_in_executor(self._threads, self._read, question)
        future.add_done_callback(functools.partial(self._finish, question, lookup))
        return lookup

    def _finish(self, question: _Question, lookup: _Lookup, future: asyncio.Future[SigningDomain | None]) -> None:
        del self._lookups[question]
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None and not lookup.overtaken:
            self._remember(question, future.result())
        lookup.over.set_result(error)

    def _remember(self, question: _Question, found: SigningDomain | None) -> None:
        if found is None:
            self._none[question] = None
            if len(self._none) > NONE_MAX:
                self._none.popitem(last=False)
        else:
            self._known[question] = found
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)

    # In a thread.

    def _read(self, question: _Question) -> SigningDomain | None:
        with self._database.connect() as tx:
            row = tx.execute(_usable(question)).one_or_none()
            if row is None:
                return None
            try:
                signers = _signers(tx, self._sealer, row.id)
            except (SealBroken, keys.UnusableKeyError) as error:
                # Ours to repair (the key file, a restored backup), and mail waits for it as for a database.
                _log.exception("domains.keys_not_opened", domain=row.name)
                message = f"the DKIM keys of {row.name} cannot be opened: {error}"
                raise DatabaseUnavailable(message) from error
            host = row.return_path if _is_return_path_seen(tx, self._relay, row.id) else None
        return SigningDomain(row.id, row.name, host, signers)


def _usable(question: _Question) -> Select[Any]:
    account_id, subuser_id, name = question
    may_use: ColumnElement[bool]
    if subuser_id is None:
        may_use = domain.c.subuser_id.is_(None)
    else:
        lent = exists().where(
            domain_assignment.c.domain_id == domain.c.id, domain_assignment.c.subuser_id == subuser_id
        )
        may_use = or_(domain.c.subuser_id == subuser_id, and_(domain.c.subuser_id.is_(None), lent))
    columns = select(domain.c.id, domain.c.name, domain.c.return_path)
    return columns.where(domain.c.name == name, domain.c.valid, domain.c.account_id == account_id, may_use)


def _signers(tx: Connection, sealer: Sealer, domain_id: DomainId) -> tuple[Signer, ...]:
    # RSA before Ed25519: some verifiers look at the first signature only, and not all know the second kind.
    query = select(domain_key).where(domain_key.c.domain_id == domain_id, domain_key.c.active)
    return tuple(
        Signer(
            row.selector,
            row.algorithm,
            keys.load(sealer.open(row.sealed, purpose=SEAL_PURPOSE, row=sealed_row(domain_id, row.record)).reveal()),
        )
        for row in tx.execute(query.order_by(domain_key.c.record))
    )


def _is_return_path_seen(tx: Connection, relay: Relay, domain_id: DomainId) -> bool:
    names = [name.value for name in RETURN_PATH]
    query = select(domain_record).where(domain_record.c.domain_id == domain_id, domain_record.c.record.in_(names))
    seen = [row.seen and row.data == relay.data(RecordName(row.record)) for row in tx.execute(query)]
    return len(seen) == len(RETURN_PATH) and all(seen)
