from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import TypeVar

import pyotp
import pytest
import sqlalchemy as sa

from sekisho import factors, users
from sekisho.accounts import Account
from sekisho.audit import By, audit
from sekisho.db import Database
from sekisho.factors import Enrolled, Passkey, RelyingParty, ask_to_make, ask_to_show
from sekisho.factors.actions import PASSKEYS_MAX
from sekisho.factors.reading import PENDING_MS
from sekisho.factors.recovery import COUNT
from sekisho.factors.tables import passkey, recovery_code, totp, totp_pending
from sekisho.ids import UserId
from sekisho.letters.tables import letter
from sekisho.refusal import Declined, Obstacle
from sekisho.sealing import SealBroken
from sekisho.users import User
from tests.fakes.authenticator import Authenticator
from tests.fakes.control import NOW_MS, SEALER, an_account, audited

RP = RelyingParty("relay.example.net", "https://relay.example.net")
RACERS = 20

T = TypeVar("T")


@dataclass
class Scene:
    """Ann, her phone and her keys."""

    database: Database
    acme: Account
    ann: User
    now_ms: int = NOW_MS
    secret: str = ""
    devices: list[Authenticator] = field(default_factory=list)

    @property
    def by(self) -> By:
        return By(f"user:{self.ann.id}", self.now_ms, "192.0.2.7")

    def do(self, act: Callable[[sa.Connection], T]) -> T:
        with self.database.begin() as tx:
            return act(tx)

    def code(self, *, steps: int = 0, secret: str = "") -> str:
        return pyotp.TOTP(secret or self.secret).generate_otp(self.now_ms // 30_000 + steps)

    def begin_app(self) -> None:
        self.do(lambda tx: factors.begin_totp(tx, self.ann.id, sealer=SEALER, at_ms=self.now_ms))

    def enrol_app(self) -> None:
        self.begin_app()
        self.secret = self.pending() or ""
        assert self.confirm(self.code()) is None

    def pending(self) -> str | None:
        found = self.do(lambda tx: factors.pending_totp(tx, self.ann.id, sealer=SEALER, now_ms=self.now_ms))
        return None if found is None else found.reveal()

    def confirm(self, code: str) -> Declined | None:
        return self.do(lambda tx: factors.confirm_totp(tx, self.ann, code, sealer=SEALER, by=self.by))

    def use(self, code: str) -> Declined | None:
        return self.do(lambda tx: factors.use_totp(tx, self.ann.id, code, sealer=SEALER, now_ms=self.now_ms))

    def enrol_key(self, name: str = "key", device: Authenticator | None = None, who: User | None = None) -> Passkey:
        made = self.try_key(name, device or Authenticator(RP), who or self.ann)
        assert isinstance(made, Passkey), made
        return made

    def try_key(self, name: str, device: Authenticator, who: User) -> Passkey | Declined:
        asked = ask_to_make(RP, who.id, user_name=who.username, rp_name="Sekisho", known=())
        answer = device.make(asked.options)
        self.devices.append(device)
        return self.do(
            lambda tx: factors.add_passkey(tx, who, name, answer, rp=RP, challenge=asked.challenge, by=self.by)
        )

    def show(self, device: Authenticator, *, user_id: UserId | None) -> Passkey | Declined:
        asked = ask_to_show(RP, known=(), alone=user_id is None)
        return self.give(device.show(asked.options), asked.challenge, user_id=user_id)

    def give(self, answer: str, challenge: bytes, *, user_id: UserId | None) -> Passkey | Declined:
        return self.do(
            lambda tx: factors.use_passkey(tx, answer, rp=RP, challenge=challenge, user_id=user_id, by=self.by)
        )

    def codes(self) -> list[str]:
        return [code.reveal() for code in self.do(lambda tx: factors.renew_recovery(tx, self.ann, by=self.by))]

    def recover(self, code: str) -> int | Declined:
        return self.do(lambda tx: factors.use_recovery(tx, self.ann, code, by=self.by))

    @property
    def enrolled(self) -> Enrolled:
        return self.do(lambda tx: factors.enrolled(tx, self.ann.id))

    @property
    def told(self) -> list[str]:
        """What Ann is written, oldest first."""
        hers = sa.select(letter).where(letter.c.user_id == self.ann.id).order_by(letter.c.id)
        rows = self.do(lambda tx: tx.execute(hers).all())
        assert {(row.to_email, row.language) for row in rows} <= {("ann@example.com", "ja")}
        return [json.loads(row.about)["what"] for row in rows]

    def race(self, act: Callable[[int], T]) -> list[T]:
        """Do it twenty times at once."""
        ready = Barrier(RACERS)

        def one(number: int) -> T:
            ready.wait()
            return act(number)

        with ThreadPoolExecutor(RACERS) as pool:
            return list(pool.map(one, range(RACERS)))


def a_person(tx: sa.Connection, tenant: Account, name: str, *, proved: bool = True) -> User:
    address = f"{name}@example.com"
    row = {"account_id": tenant.id, "email": address, "password": "", "created_ms": NOW_MS, "language": "ja"}
    names = {"username": name, "folded_username": name, "login_email": address if proved else None}
    tx.execute(sa.insert(users.user).values(row | names))
    found = users.by_username(tx, name)
    assert found is not None
    return found


@pytest.fixture
def scene(control: Database) -> Scene:
    with control.begin() as tx:
        acme = an_account(tx)
        return Scene(control, acme, a_person(tx, acme, "ann"))


def obstacle(answer: object) -> Obstacle | None:
    return answer.obstacle if isinstance(answer, Declined) else None


def entries(scene: Scene) -> list[tuple[str, str]]:
    return audited(scene.database)[1:]


# Authenticator apps.


def test_an_app_is_a_factor_once_a_code_of_it_is_given(scene: Scene) -> None:
    scene.begin_app()
    secret = scene.pending()
    assert secret is not None
    assert not scene.enrolled.is_any
    assert obstacle(scene.use(scene.code(secret=secret))) is Obstacle.FACTOR_WRONG
    assert obstacle(scene.confirm("000000")) is Obstacle.FACTOR_WRONG
    assert scene.confirm(scene.code(secret=secret)) is None
    assert scene.enrolled == Enrolled(totp=True, passkeys=0, recovery_left=0)
    assert scene.pending() is None
    assert entries(scene) == [("factor.add", "ann")]
    assert scene.told == ["totp_added"]


def test_the_code_that_confirms_is_used_up(scene: Scene) -> None:
    scene.enrol_app()
    assert obstacle(scene.use(scene.code())) is Obstacle.FACTOR_USED
    assert scene.use(scene.code(steps=1)) is None


def test_what_was_begun_waits_for_ten_minutes(scene: Scene) -> None:
    scene.begin_app()
    secret = scene.pending()
    assert secret is not None
    scene.now_ms += PENDING_MS - 1
    assert scene.pending() == secret
    scene.now_ms += 1
    assert scene.pending() is None
    assert obstacle(scene.confirm(scene.code(secret=secret))) is Obstacle.FACTOR_NOT_PENDING
    assert not scene.enrolled.is_any


def test_to_begin_again_forgets_the_first_secret(scene: Scene) -> None:
    scene.begin_app()
    first = scene.pending()
    scene.begin_app()
    assert first is not None
    assert scene.pending() not in {None, first}
    assert obstacle(scene.confirm(scene.code(secret=first))) is Obstacle.FACTOR_WRONG


def test_another_app_takes_the_place_of_the_first(scene: Scene) -> None:
    scene.enrol_app()
    first = scene.secret
    scene.enrol_app()
    scene.now_ms += 90_000
    assert obstacle(scene.use(scene.code(secret=first))) is Obstacle.FACTOR_WRONG
    assert scene.use(scene.code()) is None
    details = scene.do(lambda tx: tx.execute(sa.select(audit.c.details).order_by(audit.c.id)).scalars().all())
    assert [json.loads(one).get("replaces") for one in details[1:]] == [False, True]


def test_until_it_is_confirmed_the_first_app_stays(scene: Scene) -> None:
    scene.enrol_app()
    scene.begin_app()
    scene.now_ms += 90_000
    assert scene.use(scene.code()) is None


def test_a_code_proves_once(scene: Scene) -> None:
    scene.enrol_app()
    scene.now_ms += 90_000
    code = scene.code()
    assert scene.use(code) is None
    assert obstacle(scene.use(code)) is Obstacle.FACTOR_USED
    scene.now_ms += 30_000  # it would still be taken, if it were not for its first use
    assert obstacle(scene.use(code)) is Obstacle.FACTOR_USED


def test_of_twenty_who_give_the_same_code_at_once_one_gets_in(scene: Scene) -> None:
    scene.enrol_app()
    scene.now_ms += 90_000
    code = scene.code()
    answers = scene.race(lambda _: scene.use(code))
    assert sorted(str(obstacle(answer)) for answer in answers) == ["None"] + ["factor.used"] * (RACERS - 1)


def test_a_code_uses_up_those_before_it(scene: Scene) -> None:
    scene.enrol_app()
    scene.now_ms += 90_000
    assert scene.use(scene.code(steps=1)) is None
    assert obstacle(scene.use(scene.code())) is Obstacle.FACTOR_USED
    assert obstacle(scene.use(scene.code(steps=-1))) is Obstacle.FACTOR_USED


@pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_before_and_after(scene: Scene, steps: int, good: bool) -> None:
    scene.enrol_app()
    scene.now_ms += 300_000
    assert obstacle(scene.use(scene.code(steps=steps))) is (None if good else Obstacle.FACTOR_WRONG)


def test_secrets_are_sealed_and_bound_to_their_owner(scene: Scene) -> None:
    scene.enrol_app()
    bob = scene.do(lambda tx: a_person(tx, scene.acme, "bob"))
    sealed = scene.do(lambda tx: tx.execute(sa.select(totp.c.sealed)).scalar_one())
    assert scene.secret.encode() not in sealed
    row = {"user_id": bob.id, "sealed": sealed, "confirmed_ms": NOW_MS, "last_step": 0}
    scene.do(lambda tx: tx.execute(sa.insert(totp).values(row)))
    with pytest.raises(SealBroken):
        scene.do(lambda tx: factors.use_totp(tx, bob.id, scene.code(), sealer=SEALER, now_ms=scene.now_ms))


# Passkeys.


def test_a_passkey_is_a_factor_at_once(scene: Scene) -> None:
    made = scene.enrol_key(" Ann's phone ")
    assert (made.name, made.user_id, made.transports, made.used_ms) == (
        "Ann's phone",
        scene.ann.id,
        ("nfc", "usb"),
        None,
    )
    assert scene.enrolled == Enrolled(totp=False, passkeys=1, recovery_left=0)
    assert scene.do(lambda tx: factors.passkeys_of(tx, scene.ann.id)) == (made,)
    assert entries(scene) == [("factor.add", "ann")]
    assert scene.told == ["passkey_added"]


@pytest.mark.parametrize("alone", [True, False])
def test_it_proves_who_it_is(scene: Scene, alone: bool) -> None:
    device = Authenticator(RP)
    made = scene.enrol_key(device=device)
    scene.now_ms += 1000
    device.backed_up = True  # it may become so later
    used = scene.show(device, user_id=None if alone else scene.ann.id)
    assert isinstance(used, Passkey)
    assert (used.id, used.user_id, used.used_ms, used.backed_up) == (made.id, scene.ann.id, scene.now_ms, True)


def test_somebody_elses_passkey_proves_nothing(scene: Scene) -> None:
    device = Authenticator(RP)
    scene.enrol_key(device=device)
    bob = scene.do(lambda tx: a_person(tx, scene.acme, "bob"))
    assert obstacle(scene.show(device, user_id=bob.id)) is Obstacle.FACTOR_WRONG
    # Nor one that says it is somebody else's than we know.
    device.user_handle = bob.id.to_bytes(8, "big")
    assert obstacle(scene.show(device, user_id=None)) is Obstacle.FACTOR_WRONG


def test_an_unknown_passkey_proves_nothing(scene: Scene) -> None:
    device = Authenticator(RP)
    device.user_handle = scene.ann.id.to_bytes(8, "big")
    assert obstacle(scene.show(device, user_id=None)) is Obstacle.FACTOR_WRONG
    assert obstacle(scene.show(device, user_id=scene.ann.id)) is Obstacle.FACTOR_WRONG


def test_an_answer_to_another_challenge_proves_nothing(scene: Scene) -> None:
    device = Authenticator(RP)
    scene.enrol_key(device=device)
    before = ask_to_show(RP, known=(), alone=True)
    answer = device.show(before.options)
    now = ask_to_show(RP, known=(), alone=True)
    assert obstacle(scene.give(answer, now.challenge, user_id=None)) is Obstacle.FACTOR_WRONG
    assert isinstance(scene.give(answer, before.challenge, user_id=None), Passkey)


@pytest.mark.parametrize("count", [0, 4, 5])
def test_a_copy_is_noticed_by_its_count(scene: Scene, count: int) -> None:
    device = Authenticator(RP)
    scene.enrol_key(device=device)
    device.count = 4
    assert isinstance(scene.show(device, user_id=None), Passkey)  # 5
    device.count, device.counts = count, False
    assert obstacle(scene.show(device, user_id=None)) is Obstacle.FACTOR_USED
    assert entries(scene)[-1] == ("factor.copied", "ann")
    device.count = 6
    assert isinstance(scene.show(device, user_id=None), Passkey)


def test_a_count_with_a_wrong_signature_is_no_copy(scene: Scene) -> None:
    device = Authenticator(RP)
    scene.enrol_key(device=device)
    device.count = 4
    assert isinstance(scene.show(device, user_id=None), Passkey)
    forged = Authenticator(RP, credential_id=device.credential_id, user_handle=device.user_handle)
    assert obstacle(scene.show(forged, user_id=None)) is Obstacle.FACTOR_WRONG
    assert ("factor.copied", "ann") not in entries(scene)


def test_one_that_does_not_count_is_good_again_and_again(scene: Scene) -> None:
    device = Authenticator(RP, counts=False)
    scene.enrol_key(device=device)
    assert all(isinstance(scene.show(device, user_id=None), Passkey) for _ in range(3))


def test_of_twenty_with_the_same_answer_one_gets_in(scene: Scene) -> None:
    device = Authenticator(RP)
    scene.enrol_key(device=device)
    asked = ask_to_show(RP, known=(), alone=True)
    answer = device.show(asked.options)
    answers = scene.race(lambda _: scene.give(answer, asked.challenge, user_id=None))
    assert sum(isinstance(one, Passkey) for one in answers) == 1


def test_a_passkey_is_one_persons(scene: Scene) -> None:
    device = Authenticator(RP)
    scene.enrol_key(device=device)
    bob = scene.do(lambda tx: a_person(tx, scene.acme, "bob"))
    assert obstacle(scene.try_key("mine", device, bob)) is Obstacle.FACTOR_TAKEN


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "two\nlines", "bell\a", "\u202edrow"])
def test_names_that_cannot_be(scene: Scene, name: str) -> None:
    assert obstacle(scene.try_key(name, Authenticator(RP), scene.ann)) is Obstacle.FACTOR_MALFORMED
    assert not scene.enrolled.is_any


def test_nobody_has_more_than_twenty(scene: Scene) -> None:
    for number in range(PASSKEYS_MAX):
        scene.enrol_key(f"key {number}")
    assert obstacle(scene.try_key("one more", Authenticator(RP), scene.ann)) is Obstacle.FACTORS_TOO_MANY


# Recovery codes.


def test_each_code_proves_once(scene: Scene) -> None:
    codes = scene.codes()
    assert scene.enrolled.recovery_left == COUNT
    assert scene.recover(codes[3].lower()) == COUNT - 1
    assert obstacle(scene.recover(codes[3])) is Obstacle.FACTOR_WRONG
    assert scene.recover(codes[4]) == COUNT - 2
    assert not scene.enrolled.is_any  # a way back to a factor, none
    assert entries(scene) == [("recovery.renew", "ann"), ("recovery.use", "ann"), ("recovery.use", "ann")]
    assert scene.told == ["recovery_used"] * 2


def test_of_twenty_with_the_same_recovery_code_one_gets_in(scene: Scene) -> None:
    code = scene.codes()[0]
    answers = scene.race(lambda _: scene.recover(code))
    assert sorted(map(str, map(obstacle, answers))) == ["None"] + ["factor.wrong"] * (RACERS - 1)
    assert scene.enrolled.recovery_left == COUNT - 1


def test_new_codes_end_the_old_ones(scene: Scene) -> None:
    old, new = scene.codes(), scene.codes()
    assert not set(old) & set(new)
    assert obstacle(scene.recover(old[0])) is Obstacle.FACTOR_WRONG
    assert scene.recover(new[0]) == COUNT - 1
    assert scene.told == ["recovery_new", "recovery_used"]


def test_codes_are_kept_as_digests(scene: Scene) -> None:
    codes = scene.codes()
    rows = scene.do(lambda tx: tx.execute(sa.select(recovery_code.c.digest)).scalars().all())
    assert {len(row) for row in rows} == {32}
    assert not any(code.replace("-", "").encode() in row for code in codes for row in rows)


def test_somebody_elses_code_proves_nothing(scene: Scene) -> None:
    code = scene.codes()[0]
    bob = scene.do(lambda tx: a_person(tx, scene.acme, "bob"))
    assert obstacle(scene.do(lambda tx: factors.use_recovery(tx, bob, code, by=scene.by))) is Obstacle.FACTOR_WRONG
    assert scene.recover(code) == COUNT - 1


@pytest.mark.parametrize("typed", ["", "nonsense", "AAAA-AAAA-AAAA-AAAA"])
def test_what_is_none_of_the_codes(scene: Scene, typed: str) -> None:
    scene.codes()
    assert obstacle(scene.recover(typed)) is Obstacle.FACTOR_WRONG


# Removing.


def test_the_last_factor_stays(scene: Scene) -> None:
    def remove_app() -> Declined | None:
        return scene.do(lambda tx: factors.remove_totp(tx, scene.ann, by=scene.by))

    def remove_key(key: Passkey) -> Declined | None:
        return scene.do(lambda tx: factors.remove_passkey(tx, scene.ann, key.id, by=scene.by))

    scene.codes()
    assert obstacle(remove_app()) is Obstacle.FACTOR_UNKNOWN
    scene.enrol_app()
    assert obstacle(remove_app()) is Obstacle.FACTOR_LAST
    one, two = scene.enrol_key("one"), scene.enrol_key("two")
    assert remove_app() is None
    assert remove_key(one) is None
    assert obstacle(remove_key(one)) is Obstacle.FACTOR_UNKNOWN
    assert obstacle(remove_key(two)) is Obstacle.FACTOR_LAST
    assert scene.enrolled == Enrolled(totp=False, passkeys=1, recovery_left=COUNT)
    assert entries(scene)[-2:] == [("factor.remove", "ann")] * 2
    assert scene.told[-2:] == ["totp_removed", "passkey_removed"]


def test_of_two_removed_at_once_one_stays(scene: Scene) -> None:
    keys = [scene.enrol_key(f"{number}") for number in range(RACERS)]
    scene.race(lambda one: scene.do(lambda tx: factors.remove_passkey(tx, scene.ann, keys[one].id, by=scene.by)))
    assert scene.enrolled.passkeys == 1


def test_nobody_removes_somebody_elses(scene: Scene) -> None:
    key = scene.enrol_key("one")
    scene.enrol_key("two")
    bob = scene.do(lambda tx: a_person(tx, scene.acme, "bob"))
    declined = scene.do(lambda tx: factors.remove_passkey(tx, bob, key.id, by=scene.by))
    assert obstacle(declined) is Obstacle.FACTOR_UNKNOWN
    assert scene.enrolled.passkeys == 2


def everything(scene: Scene) -> list[int]:
    tables = (totp, totp_pending, passkey, recovery_code)
    return scene.do(lambda tx: [tx.execute(sa.select(sa.func.count()).select_from(one)).scalar_one() for one in tables])


def test_an_operator_takes_all(scene: Scene) -> None:
    bob = scene.do(lambda tx: a_person(tx, scene.acme, "bob"))
    scene.enrol_key(who=bob)
    scene.enrol_app()
    scene.enrol_key()
    scene.codes()
    scene.do(lambda tx: factors.reset(tx, scene.ann, by=scene.by))
    assert scene.enrolled == Enrolled(totp=False, passkeys=0, recovery_left=0)
    assert everything(scene) == [0, 0, 1, 0]
    assert entries(scene)[-1] == ("factor.reset", "ann")
    assert scene.told[-1] == "reset"


def test_whoever_goes_leaves_nothing(scene: Scene) -> None:
    scene.enrol_app()
    scene.begin_app()
    scene.enrol_key()
    scene.codes()
    assert everything(scene) == [1, 1, 1, COUNT]
    scene.do(lambda tx: factors.erase(tx, scene.ann.id))
    assert everything(scene) == [0, 0, 0, 0]


def test_nothing_is_written_to_an_address_that_nobody_has_proved(scene: Scene) -> None:
    scene.ann = scene.do(lambda tx: a_person(tx, scene.acme, "unproved", proved=False))
    scene.enrol_app()
    assert scene.told == []
