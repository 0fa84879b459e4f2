from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sekisho.db import DatabaseUnavailable
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import AccountId, KeyId, MessageId
from sekisho.queue.model import Delivery
from sekisho.refusal import Reason, Refused
from sekisho.secret import Secret
from sekisho.service.crowd import Crowd
from sekisho.service.gate import SmtpGate
from sekisho.submission import Accepted, Submission
from sekisho.wire.mail.address import Mailbox
from tests.fakes.clock import FakeClock

ACCEPTED = Accepted(MessageId(bytes(16)))


def identity(*scopes: str, policy: KeyPolicy = KeyPolicy()) -> Identity:  # noqa: B008  # frozen
    return Identity(AccountId(1), None, KeyId("k" * 22), frozenset(scopes), policy)


SUBMISSION = cast(
    "Submission", SimpleNamespace(identity=identity(), address=ip_address("192.0.2.9"))
)  # nothing here looks at more of it


class Verifier:
    """Lets everybody in as ``found``."""

    def __init__(self, found: Identity | Refused) -> None:
        self.found = found

    async def authenticate(self, _password: Secret[bytes], _address: object) -> Identity | Refused:
        return self.found


class Intake:
    """Answers every submission alike, or raises."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def accept(self, _submission: Submission) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Scheduler:
    """Notes what it is told; breaks when it should."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.offered: list[Sequence[Delivery]] = []
        self.rescans = 0

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        if self.broken:
            raise RuntimeError
        self.offered.append(deliveries)

    def rescan(self) -> None:
        self.rescans += 1


def gate(
    found: Identity | Refused,
    answer: object = ACCEPTED,
    scheduler: Scheduler | None = None,
    heard: list[tuple[object, ...]] | None = None,
) -> SmtpGate:
    scheduler = scheduler or Scheduler()
    told: list[tuple[object, ...]] = [] if heard is None else heard
    return SmtpGate(
        verifier=cast("Any", Verifier(found)),
        intake=cast("Any", Intake(answer)),
        offer=scheduler.offer,
        rescan=scheduler.rescan,
        clock=FakeClock(),
        crowd=Crowd(FakeClock()),
        on_refused=lambda *no: told.append(no),
    )


async def login(found: Identity | Refused, username: bytes = b"apikey") -> Identity | Refused:
    return await gate(found).authenticate(username, Secret(b"SG.x"), ip_address("192.0.2.1"))


@pytest.mark.parametrize("username", [b"", b"APIKEY", b"apikey ", b"someone@example.test"])
async def test_the_user_name_is_the_literal_word(username: bytes) -> None:
    assert await login(identity("mail.send"), username) == Refused(Reason.AUTH_BAD_USERNAME)


async def test_a_pass_must_be_good_for_sending() -> None:
    good, idle = identity("mail.send"), identity("stats.read")
    refused = await login(idle)

    assert await login(good) is good
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.AUTH_UNSCOPED
    assert await login(Refused(Reason.AUTH_BAD_KEY)) == Refused(Reason.AUTH_BAD_KEY)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (Mailbox("a", "example.com"), None),
        (Mailbox("a", "[127.0.0.1]"), Reason.RECIPIENT_LITERAL),
        (Mailbox('"x@evil.example"', "example.com"), Reason.RECIPIENT_MALFORMED),
    ],
)
def test_recipients_need_a_public_domain(address: Mailbox, reason: Reason | None) -> None:
    refused = gate(identity()).recipient(identity(), address, 0)

    assert (None if refused is None else refused.reason) == reason


async def test_what_was_committed_is_offered() -> None:
    scheduler = Scheduler()
    deliveries = (cast("Delivery", object()),)

    assert await gate(identity(), (ACCEPTED, deliveries), scheduler).accept(SUBMISSION) == ACCEPTED
    assert not scheduler.offered, "before whoever waits for the answer has it"
    await asyncio.sleep(0)
    assert scheduler.offered == [deliveries]


async def test_a_fault_behind_the_commit_does_not_take_the_promise_back() -> None:
    scheduler = Scheduler(broken=True)
    answer = (ACCEPTED, (cast("Delivery", object()),))

    assert await gate(identity(), answer, scheduler).accept(SUBMISSION) == ACCEPTED
    await asyncio.sleep(0)
    assert scheduler.rescans == 1


async def test_without_control_data_nothing_is_accepted() -> None:
    assert await gate(identity(), DatabaseUnavailable()).accept(SUBMISSION) == Refused(Reason.STORAGE_UNAVAILABLE)


async def test_a_refusal_is_passed_on_and_told() -> None:
    refused, heard = Refused(Reason.FROM_UNVERIFIED), list[tuple[object, ...]]()
    assert await gate(identity(), refused, heard=heard).accept(SUBMISSION) == refused
    assert heard == [(Reason.FROM_UNVERIFIED, SUBMISSION.address, SUBMISSION.identity)]


async def test_who_cannot_log_in_is_told_of() -> None:
    heard, where = list[tuple[object, ...]](), ip_address("192.0.2.1")
    await gate(identity("mail.send"), heard=heard).authenticate(b"root", Secret(b"SG.x"), where)
    unscoped = identity("api_keys.read")
    await gate(unscoped, heard=heard).authenticate(b"apikey", Secret(b"SG.x"), where)
    assert heard == [(Reason.AUTH_BAD_USERNAME, where, None), (Reason.AUTH_UNSCOPED, where, unscoped)]
