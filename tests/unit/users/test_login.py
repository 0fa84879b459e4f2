from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final, TypeVar

import argon2
import pytest
import sqlalchemy as sa

from sekisho import users
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.db import Database
from sekisho.identity import IPAddress
from sekisho.ids import AccountId, UserId
from sekisho.refusal import Declined
from sekisho.secret import Secret
from sekisho.users import Hasher, HasherBusy, Pace, Role, User, addresses, hash_password
from sekisho.users.login import Login, TooOften, Wrong
from sekisho.users.pace import PURPOSE, Kind, wait_s
from sekisho.users.tables import login_failure, user
from tests.fakes.control import BY, NOW_MS, SEALER, an_account
from tests.fakes.databases import Engine

T = TypeVar("T")

PASSWORD: Final = "correct horse battery staple"
CHEAP: Final = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""So that tests of what is counted need not wait for what is dear."""
HOME: Final = "192.0.2.7"


class Threads:
    """The control database as doors reach it."""

    def __init__(self, database: Database, threads: ThreadPoolExecutor) -> None:
        self.database = database
        self.threads = threads
        self.writes = 0

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with self.database.connect() as tx:
                return query(tx)

        return await asyncio.get_running_loop().run_in_executor(self.threads, run)

    async def write(self, action: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with self.database.begin() as tx:
                return action(tx)

        self.writes += 1
        return await asyncio.get_running_loop().run_in_executor(self.threads, run)


@dataclass
class Scene:
    """Ann of acme, who logs in as ``ann`` and ``ann@example.org``, and a door."""

    database: Database
    acme: Account
    ann: User
    store: Threads
    hasher: Hasher
    compared: list[str]
    failures: list[tuple[str, AccountId | None, UserId | None]] = field(default_factory=list)
    now_ms: int = NOW_MS

    def __post_init__(self) -> None:
        pace = Pace(SEALER.derive(PURPOSE))
        self.login = Login(self.store, self.hasher, pace, self._failed)

    def _failed(self, address: IPAddress, tenant_id: AccountId | None, user_id: UserId | None) -> None:
        self.failures.append((str(address), tenant_id, user_id))

    async def attempt(self, name: str, password: str = PASSWORD, address: str = HOME) -> User | Wrong | TooOften:
        here = ip_address(address)
        return await self.login.check_password(
            name, Secret(password), address=here, counted_as=here, now_ms=self.now_ms
        )

    async def stuff(self, name: str, tries: int) -> list[User | Wrong | TooOften]:
        """Wrong passwords, each from an address of its own."""
        return [await self.attempt(name, f"wrong {number}", f"198.51.{number}.1") for number in range(tries)]

    def add(self, username: str, email: str, password: str, *, proved: bool = True) -> User:
        with self.database.begin() as tx:
            made = users.add(
                tx,
                self.acme,
                username=username,
                email=email,
                password=password,
                proved=proved,
                role=Role.ADMIN,
                by=BY,
            )
            assert isinstance(made, User), made
            return made

    def counted(self, kind: Kind) -> int:
        with self.database.connect() as tx:
            mine = sa.select(sa.func.coalesce(sa.func.sum(login_failure.c.count), 0))
            return int(tx.execute(mine.where(login_failure.c.kind == kind.column)).scalar_one())


@pytest.fixture
def scene(control: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    compared: list[str] = []
    real = argon2.PasswordHasher.verify

    def watch(self: argon2.PasswordHasher, stored: str, given: bytes) -> bool:
        compared.append(stored)
        return bool(real(self, stored, given))

    monkeypatch.setattr(argon2.PasswordHasher, "verify", watch)
    monkeypatch.setattr("sekisho.users.passwords._hasher", CHEAP)
    monkeypatch.setattr("sekisho.users.passwords._nobodys", lambda: CHEAP.hash("nobody's"))
    with control.begin() as tx:
        acme = an_account(tx)
        ann = users.add(
            tx, acme, username="ann", email="Ann@example.org", password=CHEAP.hash(PASSWORD), proved=True, by=BY
        )
        assert not isinstance(ann, Declined), ann
    hasher = Hasher()
    with ThreadPoolExecutor(8) as threads:
        yield Scene(control, acme, ann, Threads(control, threads), hasher, compared)
    hasher.close()


@pytest.mark.parametrize("name", ["ann", "ANN", "ann@example.org", "ANN@Example.ORG"])
async def test_either_name_and_the_password_open(scene: Scene, name: str) -> None:
    assert await scene.attempt(name) == scene.ann
    assert scene.failures == []


@pytest.mark.parametrize("name", ["", "an", "ann ", "ann@example.com", "nobody", "nobody@example.org", "x" * 9999])
async def test_another_name_does_not(scene: Scene, name: str) -> None:
    assert await scene.attempt(name) == Wrong()
    assert scene.failures == [(HOME, None, None)]


async def test_another_password_does_not_and_its_owner_is_told_apart(scene: Scene) -> None:
    for password in ("", PASSWORD.upper(), "x" * 9999):
        assert await scene.attempt("ann", password) == Wrong()
    assert scene.failures == [(HOME, scene.acme.id, scene.ann.id)] * 3


async def test_who_has_no_password_cannot_log_in_by_one(scene: Scene) -> None:
    scene.add("otto", "otto@example.org", "")
    assert await scene.attempt("otto", "") == Wrong()


async def test_an_address_that_was_not_proved_is_no_name(scene: Scene) -> None:
    made = scene.add("bob", "bob@example.org", CHEAP.hash(PASSWORD), proved=False)
    assert await scene.attempt("bob@example.org") == Wrong()
    assert await scene.attempt("bob") == made


async def test_a_user_name_that_is_anothers_address_opens_to_neither_what_is_the_others(scene: Scene) -> None:
    # As the vendor's subusers are called; nobody has proved the address when it is made.
    with scene.database.begin() as tx:
        shop = replace(an_account(tx, "shop"), name="ann@shop.example")
        squatter = users.add(
            tx, shop, username="ann@shop.example", email="x@y.example", password=CHEAP.hash("squatter's"), by=BY
        )
    rightful = scene.add("rightful", "ann@shop.example", CHEAP.hash("rightful's"))
    assert await scene.attempt("ann@shop.example", "rightful's") == rightful
    assert await scene.attempt("ann@shop.example", "squatter's") == squatter
    assert await scene.attempt("ann@shop.example", "neither's") == Wrong()


async def test_the_work_depends_on_what_was_typed_alone(scene: Scene) -> None:
    async def work(name: str, password: str) -> tuple[int, int]:
        compared, writes = len(scene.compared), scene.store.writes
        assert isinstance(await scene.attempt(name, password), Wrong | TooOften)
        return len(scene.compared) - compared, scene.store.writes - writes

    assert await work("ann", "wrong") == await work("nobody", "wrong") == (1, 1)
    assert await work("ann@example.org", "wrong") == await work("nobody@example.org", "wrong") == (2, 1)
    # Beyond the pace, too.
    for name in ("ann", "nobody"):
        await scene.stuff(name, Kind.NAME.tries)
    assert await work("ann", "wrong") == await work("nobody", "wrong") == (1, 1)


async def test_beyond_its_pace_a_name_is_answered_alike_whoever_has_it_and_whatever_is_typed(scene: Scene) -> None:
    for name in ("ann", "nobody"):
        answers = await scene.stuff(name, Kind.NAME.tries + 2)
        assert answers[: Kind.NAME.tries] == [Wrong()] * Kind.NAME.tries
        assert answers[Kind.NAME.tries :] == [TooOften(wait_s(Kind.NAME, NOW_MS))] * 2
    assert await scene.attempt("ann", PASSWORD, "203.0.113.1") == await scene.attempt("nobody", PASSWORD, "203.0.113.2")
    scene.now_ms += Kind.NAME.window_ms
    assert await scene.attempt("ann") == scene.ann


async def test_others_guesses_lock_nobody_out_from_where_he_has_been(scene: Scene) -> None:
    with scene.database.begin() as tx:
        addresses.note(tx, scene.ann, ip_address(HOME), by=By("user:1", NOW_MS))
    await scene.stuff("ann", Kind.NAME.tries)
    assert isinstance(await scene.attempt("ann", PASSWORD, "203.0.113.1"), TooOften)
    assert await scene.attempt("ann", PASSWORD, "192.0.2.200") == scene.ann
    # A wrong one there is told what all are told, and that has an end, too.
    answers = [await scene.attempt("ann", "wrong", f"192.0.2.{number}") for number in range(Kind.KNOWN.tries)]
    assert {type(one) for one in answers} == {TooOften}
    assert isinstance(await scene.attempt("ann"), TooOften)


async def test_an_address_that_tries_many_names_is_cut_off_without_work(scene: Scene) -> None:
    for number in range(Kind.ADDRESS.tries):
        assert await scene.attempt(f"name-{number}", "wrong") == Wrong()
    compared, writes = len(scene.compared), scene.store.writes
    assert isinstance(await scene.attempt("ann"), TooOften)
    assert (len(scene.compared), scene.store.writes) == (compared, writes)
    assert await scene.attempt("ann", PASSWORD, "192.0.2.8") == scene.ann
    scene.now_ms += Kind.ADDRESS.window_ms
    assert await scene.attempt("ann") == scene.ann


async def test_what_succeeds_is_not_counted(scene: Scene) -> None:
    for _ in range(Kind.ADDRESS.tries + 2):
        assert await scene.attempt("ann") == scene.ann
    assert scene.counted(Kind.NAME) == scene.counted(Kind.ADDRESS) == 0


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_of_twenty_at_the_same_time_no_more_are_judged_than_one_after_the_other(scene: Scene, name: str) -> None:
    tries = [scene.attempt(name, f"wrong {number}", f"198.51.{number}.1") for number in range(20)]
    answers = await asyncio.gather(*tries)
    assert sum(one == Wrong() for one in answers) == Kind.NAME.tries
    assert sum(isinstance(one, TooOften) for one in answers) == 20 - Kind.NAME.tries
    assert scene.counted(Kind.NAME) == Kind.NAME.tries


async def test_a_right_password_among_twenty_wrong_ones_opens_once_it_is_its_turn_or_not_at_all(scene: Scene) -> None:
    passwords = [PASSWORD if number == 10 else f"wrong {number}" for number in range(20)]
    tries = [scene.attempt("ann", one, f"198.51.{number}.1") for number, one in enumerate(passwords)]
    answers = await asyncio.gather(*tries)
    assert sum(one == Wrong() for one in answers) <= Kind.NAME.tries
    assert not isinstance(answers[10], Wrong)


async def test_a_password_that_was_changed_while_it_was_compared_opens_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = argon2.PasswordHasher.verify

    def slow(self: argon2.PasswordHasher, stored: str, given: bytes) -> bool:
        with scene.database.begin() as tx:
            users.set_password(tx, scene.ann, CHEAP.hash("another one"), by=BY)
        return bool(real(self, stored, given))

    monkeypatch.setattr(argon2.PasswordHasher, "verify", slow)
    assert await scene.attempt("ann") == Wrong()


async def test_too_much_waiting_is_said_before_anything_is_counted(scene: Scene) -> None:
    scene.login = Login(scene.store, Hasher(waiting_max=0), Pace(SEALER.derive(PURPOSE)))
    with pytest.raises(HasherBusy):
        await scene.attempt("ann")
    assert scene.store.writes == 0


@pytest.mark.parametrize("engine", [Engine.SQLITE])
async def test_a_hash_that_cost_less_is_renewed_when_its_password_is_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    await scene.attempt("ann", "wrong")

    def stored() -> str:
        with scene.database.connect() as tx:
            return str(tx.execute(sa.select(user.c.password).where(user.c.id == scene.ann.id)).scalar_one())

    cheap = stored()
    assert await scene.attempt("ann") == scene.ann
    assert stored() != cheap
    assert stored().split("$")[3] == hash_password(Secret("x")).split("$")[3]
    assert await scene.attempt("ann") == scene.ann
