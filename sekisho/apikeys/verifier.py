"""From a key's text to an Identity, through a cache that revocation empties.

The cache is the only truth: a lookup puts its result there unless something about it changed while it was under way,
and whoever waited looks again. So a slow read can never bring back a key that was revoked meanwhile. An identity is
good for as long as the cache holds that very object; whatever touches its key, subuser or account ends it, and its
session logs in anew. Everything but the read itself happens on the event loop.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from sekisho.accounts import credits_of, is_stopped
from sekisho.apikeys.model import ApiKey, digest_of, key_id_of
from sekisho.apikeys.tables import api_key, key_from_row
from sekisho.changes import Change, ChangeKind, newest_position
from sekisho.db import Database, DatabaseUnavailable
from sekisho.identity import Identity, IPAddress
from sekisho.ids import KeyId
from sekisho.ipaccess import AllowList, allow_list
from sekisho.ports.clock import Clock
from sekisho.refusal import Reason, Refused
from sekisho.secret import Secret

DEADLINE_S: Final = 2.0
"""A login waits this long for the database; then 454, and the client tries again."""

STALE_S: Final = 5.0
"""Older knowledge of the change feed than this is distrusted: a revocation may be waiting behind it."""

PASSES_MAX: Final = 10_000
"""Also smtp.max_connections: the passes of open sessions are among the most recently used."""

UNKNOWN_MAX: Final = 10_000
"""A guesser fills this and nothing else: about 2 MB."""

UNKNOWN_S: Final = 60.0
"""A client with a wrong key tries again and again; this long it costs no database read."""

LOOKUPS_MAX: Final = 500
"""Reads under way or waiting for a thread; more logins than that at once are told to come back."""

_BAD_KEY: Final = Refused(Reason.AUTH_BAD_KEY)
_UNAVAILABLE: Final = Refused(Reason.AUTH_UNAVAILABLE)
_ENDED: Final = Refused(Reason.AUTH_ENDED)
_NOBODYS_DIGEST: Final = bytes(32)


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """A key whose text was right, and what its rows say besides."""

    digest: bytes
    identity: Identity
    refused: Refused | None
    """Revoked or disabled: known, and let in nowhere."""
    addresses: tuple[AllowList, ...]
    """Of its account or subuser, and its own: each must let the client's address in."""
    position: int
    """Of the change feed, when it was read: changes up to here are no news to it."""
    is_canary: bool
    """To be alarmed at, and answered as a wrong text is."""


@dataclass(slots=True, eq=False)
class _Lookup:
    """A read under way, shared by all who present the same text."""

    key_id: KeyId
    over: asyncio.Future[BaseException | None]
    """Done once the result stands in the cache: with the read's error, if it had one. Waiting for the read itself would
    not do: it is done one turn of the loop before its result is where the waiters look."""
    overtaken: bool = False
    """Something that it may have read the old state of has changed: its result counts for nothing."""


class Verifier:
    """Answers who presents a key, and whether an identity given out is still good."""

    def __init__(
        self,
        database: Database,
        *,
        threads: Executor,
        clock: Clock,
        feed_age_s: Callable[[], float],
        on_attempt: Callable[[Identity, IPAddress, bool], None] = lambda *_: None,
        on_refused: Callable[[Reason, IPAddress, Identity | None], None] = lambda *_: None,
        on_canary: Callable[[Identity, IPAddress], None] = lambda *_: None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """``threads`` run the reads; ``feed_age_s`` is the age of the newest change feed state that was applied.

        ``on_attempt`` hears of each use of a key in force, and whether its address was let in; ``on_refused`` of each
        no for another reason, with whose key it is when the text was right; ``on_canary`` of each use of a key that is
        there to be stolen.
        """
        self._database: Final = database
        self._threads: Final = threads
        self._clock: Final = clock
        self._feed_age_s: Final = feed_age_s
        self._on_attempt: Final = on_attempt
        self._on_refused: Final = on_refused
        self._on_canary: Final = on_canary
        self._deadline_s: Final = deadline_s
        self._passes: Final[OrderedDict[bytes, _Pass]] = OrderedDict()
        self._by_key: Final[dict[KeyId, _Pass]] = {}
        self._unknown: Final[OrderedDict[bytes, tuple[KeyId, float]]] = OrderedDict()
        self._lookups: Final[dict[bytes, _Lookup]] = {}

    async def authenticate(self, password: Secret[bytes], address: IPAddress) -> Identity | Refused:
        """Say who it is, or why not. A text that is no key, an unknown id and a wrong secret get the same answer."""
        if self._feed_age_s() > STALE_S:
            return _UNAVAILABLE
        text = password.reveal()
        key_id = key_id_of(text)
        # By digest, not by id: a wrong secret for an id that is cached must take the same path as an unknown id.
        found = _BAD_KEY if key_id is None else await self._find(key_id, digest_of(text))
        answer = found if isinstance(found, Refused) else self._judge(found, address)
        if isinstance(answer, Refused) and answer.reason is not Reason.AUTH_UNAVAILABLE:
            self._on_refused(answer.reason, address, None if isinstance(found, Refused) else found.identity)
        return answer

    def recalls(self, password: Secret[bytes]) -> bool:
        """Whether this text was a right one of late: ``authenticate`` will not have to read anything."""
        return digest_of(password.reveal()) in self._passes

    def admits(self, identity: Identity, now_ms: int) -> Refused | None:
        """Say whether an identity from ``authenticate`` is still good; asked at every step of a session."""
        if self._feed_age_s() > STALE_S:
            return _UNAVAILABLE
        held = self._by_key.get(identity.key_id)
        if held is None or held.identity is not identity:
            return _ENDED
        expires_ms = identity.policy.expires_ms
        if expires_ms is not None and expires_ms <= now_ms:
            return _ENDED
        self._passes.move_to_end(held.digest)  # what is in use is not what gets evicted
        return None

    def apply(self, changes: Sequence[Change]) -> None:
        """Forget exactly what the changes touch; called by the follower of the change feed."""
        keys: dict[str, int] = {}
        tenants: dict[str, int] = {}
        owners: dict[str, int] = {}
        for change in changes:
            match change.kind:
                case ChangeKind.KEY_CREATED | ChangeKind.KEY_CHANGED | ChangeKind.KEY_REVOKED:
                    keys[change.subject] = change.position
                case ChangeKind.ACCOUNT_CHANGED:
                    tenants[change.subject] = change.position
                case ChangeKind.ACCESS_CHANGED:
                    owners[change.subject] = change.position
                case ChangeKind.RESYNC:
                    self._forget_all()
                case ChangeKind.DOMAIN_CHANGED:
                    pass
        if keys or tenants or owners:
            self._forget(keys, tenants, owners)

    # Looking up.

    async def _find(self, key_id: KeyId, digest: bytes) -> _Pass | Refused:
        try:
            async with asyncio.timeout(self._deadline_s):
                while (found := self._recall(digest)) is None:
                    lookup = self._lookups.get(digest)
                    if lookup is None:
                        if len(self._lookups) >= LOOKUPS_MAX:
                            return _UNAVAILABLE
                        lookup = self._begin(key_id, digest)
                    # Shielded: others may wait for the same read.
                    if (error := await asyncio.shield(lookup.over)) is not None:
                        raise error
                return found
        except (TimeoutError, DatabaseUnavailable):
            return _UNAVAILABLE

    def _recall(self, digest: bytes) -> _Pass | Refused | None:
        found = self._passes.get(digest)
        if found is not None:
            self._passes.move_to_end(digest)
            return found
        unknown = self._unknown.get(digest)
        if unknown is not None and unknown[1] > self._clock.monotonic():
            return _BAD_KEY
        return None

    def _begin(self, key_id: KeyId, digest: bytes) -> _Lookup:
        loop = asyncio.get_running_loop()
        lookup = self._lookups[digest] = _Lookup(key_id, loop.create_future())
        future = loop.run_in_executor(self._threads, self._read, key_id, digest)
        future.add_done_callback(functools.partial(self._finish, digest, lookup))
        return lookup

    def _read(self, key_id: KeyId, digest: bytes) -> _Pass | None:
        """Read the key, in a thread; None when no such key has this text."""
        with self._database.connect() as tx:
            row = tx.execute(select(api_key).where(api_key.c.id == key_id)).one_or_none()
            # The same comparison whether there is such an id or not.
            if not hmac.compare_digest(_NOBODYS_DIGEST if row is None else row.digest, digest) or row is None:
                return None
            key = key_from_row(row)
            stopped = is_stopped(tx, key.account_id, key.subuser_id)
            # A grant is read with the key, and a new one ends what was cached. That of a new account binds its subusers
            # too: whoever could make them to get round it had none.
            owners_of = (key.account_id,) if key.subuser_id is None else (key.subuser_id, key.account_id)
            granted = tuple(found for one in owners_of if (found := credits_of(tx, one)) is not None)
            owners = allow_list(tx, key.account_id if key.subuser_id is None else key.subuser_id)
            position = newest_position(tx)
        refused = _refusal_of(key, stopped=stopped)
        return _Pass(
            digest,
            Identity(key.account_id, key.subuser_id, key.id, key.scopes, key.policy, granted),
            refused,
            (owners, AllowList(key.policy.ips)),
            position,
            key.canary and key.revoked_ms is None,
        )

    def _finish(self, digest: bytes, lookup: _Lookup, future: asyncio.Future[_Pass | None]) -> None:
        del self._lookups[digest]
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None and not lookup.overtaken:
            self._remember(digest, lookup, future.result())
        lookup.over.set_result(error)

    def _remember(self, digest: bytes, lookup: _Lookup, found: _Pass | None) -> None:
        if found is None:
            self._unknown[digest] = (lookup.key_id, self._clock.monotonic() + UNKNOWN_S)
            self._unknown.move_to_end(digest)
            if len(self._unknown) > UNKNOWN_MAX:
                self._unknown.popitem(last=False)
            return
        self._passes[digest] = found
        self._by_key[found.identity.key_id] = found
        if len(self._passes) > PASSES_MAX:
            _, evicted = self._passes.popitem(last=False)
            del self._by_key[evicted.identity.key_id]

    def _judge(self, found: _Pass, address: IPAddress) -> Identity | Refused:
        if found.is_canary:
            self._on_canary(found.identity, address)
        if found.refused is not None:
            return found.refused
        policy = found.identity.policy
        if policy.expires_ms is not None and policy.expires_ms <= self._clock.now_ms():
            return _BAD_KEY
        allowed = all(addresses.admits(address) for addresses in found.addresses)
        self._on_attempt(found.identity, address, allowed)
        return found.identity if allowed else Refused(Reason.AUTH_ADDRESS)

    # Forgetting.

    def _forget(self, keys: Mapping[str, int], tenants: Mapping[str, int], owners: Mapping[str, int]) -> None:
        """Take the newest position at which each key, each tenant, and each owner's list of addresses changed."""
        for digest, found in list(self._passes.items()):
            identity = found.identity
            changed = max(
                keys.get(identity.key_id, 0),
                tenants.get(str(identity.account_id), 0),
                tenants.get(str(identity.subuser_id), 0),
                owners.get(str(identity.sender_id), 0),
            )
            # What was read after the change is not ended by hearing of it: a key used at once after its making stays.
            if changed > found.position:
                del self._passes[digest]
                del self._by_key[identity.key_id]
        if keys:
            for digest in [digest for digest, (key_id, _) in self._unknown.items() if key_id in keys]:
                del self._unknown[digest]
        for lookup in self._lookups.values():
            # Whose account it is will be known only when it has been read.
            if tenants or owners or lookup.key_id in keys:
                lookup.overtaken = True

    def _forget_all(self) -> None:
        self._passes.clear()
        self._by_key.clear()
        self._unknown.clear()
        for lookup in self._lookups.values():
            lookup.overtaken = True


def _refusal_of(key: ApiKey, *, stopped: bool) -> Refused | None:
    """Judge what a key's rows say, whoever comes with it from wherever."""
    if key.revoked_ms is not None or key.canary:
        return _BAD_KEY
    if stopped:
        return Refused(Reason.AUTH_DISABLED)
    return None if key.hold is None else Refused(Reason.AUTH_HELD)
