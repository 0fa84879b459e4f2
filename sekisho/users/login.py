"""Whether a name and a password belong together: how often it may be asked, and nothing learned by asking.

One answer for a name that nobody has, for a wrong password, and for somebody who has none; the same work, too. How
much work depends on what was typed alone: a name with an ``@`` may be one's address and another's user name, so it is
compared with two passwords, found or not.

Over the pace a name gets the same work and the same answer each time; only from where its owner has logged in before
does a right password still open, so that nobody is locked out by others' guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection, select

from sekisho.identity import IPAddress
from sekisho.ids import AccountId, UserId
from sekisho.secret import Secret
from sekisho.users import addresses, pace
from sekisho.users.actions import renew_hash
from sekisho.users.hashing import Hasher
from sekisho.users.model import User, by_login_email, by_username, fold_name, user_by_id
from sekisho.users.pace import Kind, Pace, Taken
from sekisho.users.passwords import hash_password, needs_rehash, verify
from sekisho.users.tables import user

T = TypeVar("T")

NAME_MAX: Final = 254
"""Characters of a typed name that are looked at: what is longer is nobody's."""


class Transactions(Protocol):
    """The control database, from the loop's side (``doors.http.store``)."""

    async def read(self, query: Callable[[Connection], T]) -> T: ...

    async def write(self, action: Callable[[Connection], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Wrong:
    """Not these two together."""


@dataclass(frozen=True, slots=True)
class TooOften:
    """This name, or this address, must wait; what was typed may have been right."""

    wait_s: int


Failed = Callable[[IPAddress, AccountId | None, UserId | None], None]
"""Hears of each try that came to nothing: from where, and whose log-in was tried, if anybody's."""


class Login:
    """Checks passwords, for one process."""

    def __init__(self, store: Transactions, hasher: Hasher, pace: Pace, on_failed: Failed = lambda *_: None) -> None:
        self._store: Final = store
        self._hasher: Final = hasher
        self._pace: Final = pace
        self._on_failed: Final = on_failed

    async def check_password(
        self, name: str, password: Secret[str], *, address: IPAddress, counted_as: IPAddress, now_ms: int
    ) -> User | Wrong | TooOften:
        """Find who has this name and this password.

        ``counted_as`` is what tries of ``address`` are counted under (an IPv6 customer's /64). Raises HasherBusy.
        Whether this person's account lets anybody in is the session's to ask.
        """
        self._hasher.check()
        name = name if len(name) <= NAME_MAX else ""
        wait = TooOften(pace.wait_s(Kind.ADDRESS, now_ms))
        # First without a turn to write: who floods must not make writers wait.
        if await self._store.read(lambda tx: self._pace.is_over(tx, Kind.ADDRESS, str(counted_as), now_ms)):
            self._on_failed(address, None, None)
            return wait
        begun = await self._store.write(lambda tx: self._begin(tx, name, address, counted_as, now_ms))
        if begun is None:
            self._on_failed(address, None, None)
            return wait
        found = await self._hasher.run(lambda: _compare(begun.candidates, password))
        if found is not None and begun.may_open(found):
            person = await self._store.write(lambda tx: _succeed(tx, begun, found))
            if person is not None:
                return person
        self._on_failed(address, *begun.whose)
        return Wrong() if begun.by_name is not None else TooOften(pace.wait_s(Kind.NAME, now_ms))

    def _begin(
        self, tx: Connection, name: str, address: IPAddress, counted_as: IPAddress, now_ms: int
    ) -> _Begun | None:
        """Count the try, and read what it is compared with; None: none is left for this address."""
        by_address = self._pace.take(tx, Kind.ADDRESS, str(counted_as), now_ms)
        if by_address is None:
            return None
        candidates = _candidates(tx, name)
        by_name = self._pace.take(tx, Kind.NAME, fold_name(name), now_ms)
        by_known = None
        known: frozenset[UserId] = frozenset()
        if by_name is None:
            near = (one.person.id for one in candidates if one.person is not None)
            known = frozenset(number for number in near if addresses.is_known(tx, number, address))
            by_known = self._pace.take(tx, Kind.KNOWN, fold_name(name), now_ms) if known else None
        taken = tuple(one for one in (by_address, by_name, by_known) if one is not None)
        return _Begun(candidates, by_name, known if by_known is not None else frozenset(), taken)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Somebody who may be meant, or nobody, who has no password."""

    person: User | None
    stored: str


@dataclass(frozen=True, slots=True)
class _Begun:
    """A try that was counted."""

    candidates: tuple[_Candidate, ...]
    by_name: Taken | None
    """None: the name is over its pace."""
    known: frozenset[UserId]
    """Whom it may open for all the same."""
    taken: tuple[Taken, ...]

    def may_open(self, found: _Found) -> bool:
        return self.by_name is not None or found.person.id in self.known

    @property
    def whose(self) -> tuple[AccountId | None, UserId | None]:
        person = next((one.person for one in self.candidates if one.person is not None), None)
        return (None, None) if person is None else (person.tenant_id, person.id)


@dataclass(frozen=True, slots=True)
class _Found:
    """The password was right."""

    person: User
    stored: str
    renewed: str | None
    """The same at today's cost, when it was cheaper."""


def _candidates(tx: Connection, name: str) -> tuple[_Candidate, ...]:
    """Read whom a name may mean: as many as its form allows, whether or not there is anybody."""
    by_name = _candidate(tx, by_username(tx, name))
    return (_candidate(tx, by_login_email(tx, name)), by_name) if "@" in name else (by_name,)


def _candidate(tx: Connection, person: User | None) -> _Candidate:
    # Asked for nobody, too: the same statements for all.
    number = -1 if person is None else person.id
    stored = tx.execute(select(user.c.password).where(user.c.id == number)).scalar()
    return _Candidate(person, stored or "")


def _compare(candidates: tuple[_Candidate, ...], password: Secret[str]) -> _Found | None:
    """Compare with all of them, whoever it is; the first counts."""
    right = [one for one in candidates if verify(one.stored, password)]
    if not right or (person := right[0].person) is None:
        return None
    stored = right[0].stored
    return _Found(person, stored, hash_password(password) if needs_rehash(stored) else None)


def _succeed(tx: Connection, begun: _Begun, found: _Found) -> User | None:
    """Give the tries back; None when the password was changed, or the person removed, while it was compared."""
    if tx.execute(select(user.c.password).where(user.c.id == found.person.id)).scalar() != found.stored:
        return None
    for one in begun.taken:
        pace.give_back(tx, one)
    if found.renewed is not None:
        renew_hash(tx, found.person.id, before=found.stored, after=found.renewed)
    return user_by_id(tx, found.person.id)
