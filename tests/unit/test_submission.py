from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sekisho.apikeys.model import ApiKey
from sekisho.domains import SigningDomain
from sekisho.identity import Identity, KeyPolicy, Rate
from sekisho.ids import AccountId, DomainId, KeyId, message_id_text, request_of
from sekisho.queue.model import BodyFile, Delivery, NewMessage, Recipient
from sekisho.queue.spool import DestinationDue, Found, HeldSenders, HopState, Settlement, ShutHop, Wanted
from sekisho.refusal import Reason, Refused
from sekisho.submission import INVALID_SMTPAPI, Accepted, Intake, NotTaken, Submission
from sekisho.wire.mail.address import Mailbox
from sekisho.wire.mail.smtpapi import Instructions

NOW_MS = 1_790_000_000_000
TRACE = b"Received: from client (unknown) by relay.test with ESMTPSA id 1; Mon, 21 Sep 2026 12:26:40 +0000\r\n"


class Clock:
    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return 0.0


@dataclass
class RecordingSpool:
    """Answers at once, and keeps what it was given."""

    answer: tuple[Delivery, ...] | Refused = ()
    appended: list[NewMessage] = field(default_factory=list)

    def append(self, *news: NewMessage) -> asyncio.Future[tuple[Delivery, ...] | Refused]:
        self.appended += news
        future: asyncio.Future[tuple[Delivery, ...] | Refused] = asyncio.get_running_loop().create_future()
        future.set_result(self.answer)
        return future

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        raise NotImplementedError

    async def destinations(self, after: str, limit: int) -> Sequence[DestinationDue]:
        raise NotImplementedError

    async def due(self, wanted: Sequence[Wanted], now_ms: int, limit: int, held: HeldSenders) -> Sequence[Found]:
        raise NotImplementedError

    def note(self, state: HopState) -> None:
        raise NotImplementedError

    async def shut_hops(self) -> Sequence[ShutHop]:
        raise NotImplementedError


class Domains:
    """example.test signs for account 1."""

    async def lookup(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        if (account_id, subuser_id, domain) == (1, None, "example.test"):
            return SigningDomain(DomainId(1), "example.test", None, ())
        return None


def identity(policy: KeyPolicy = KeyPolicy()) -> Identity:  # noqa: B008  # frozen
    return Identity(AccountId(1), None, KeyId("k" * 22), frozenset({"mail.send"}), policy)


def no_example_org(_identity: Identity, mailbox: Mailbox, _already: int) -> Refused | None:
    return Refused(Reason.RECIPIENT_LITERAL, mailbox.domain) if mailbox.domain == "example.org" else None


HEADER = (
    b"From: Ann <ann@example.test>\r\nTo: bob@example.com\r\nSubject: hi\r\n"
    b"Date: Mon, 21 Sep 2026 12:26:40 +0000\r\nMessage-ID: <1@example.test>\r\n"
)


async def accept(
    header: bytes = HEADER,
    *,
    spool: RecordingSpool | None = None,
    recipients: tuple[str, ...] = ("bob@example.com",),
    body: bytes | BodyFile = b"Hello.\r\n",
    policy: KeyPolicy = KeyPolicy(),  # noqa: B008  # frozen
) -> tuple[Accepted, tuple[Delivery, ...]] | Refused:
    intake = Intake(
        spool=spool or RecordingSpool(),
        domains=Domains(),
        body_path=lambda message_id: Path("bodies") / message_id_text(message_id),
        hostname="relay.test",
        node=5,
        clock=Clock(),
        recipient=no_example_org,
    )
    return await intake.accept(
        Submission(identity(policy), "ann@example.test", recipients, header, body, TRACE, eight_bit=False)
    )


async def accepted(header: bytes = HEADER, **more: object) -> NewMessage:
    spool = RecordingSpool()
    answer = await accept(header, spool=spool, **more)  # type: ignore[arg-type]

    assert not isinstance(answer, Refused), answer
    return spool.appended[0]


async def test_through_unchanged_but_for_our_trace() -> None:
    new = await accepted()

    assert new.message.header == TRACE + HEADER
    assert new.message.body == b"Hello.\r\n"
    assert new.message.smtp_id == "<1@example.test>"
    assert new.message.from_domain == "example.test"
    assert new.message.mail_from == "ann@example.test"
    assert new.recipients == (Recipient(0, "bob@example.com"),)
    assert new.caps is None
    assert new.dropped_reason == ""


async def test_bcc_return_path_and_smtpapi_are_removed_and_nothing_else_moves() -> None:
    new = await accepted(
        b"X-Odd:   two  blanks \r\nBcc: secret@example.com,\r\n more@example.com\r\nReturn-Path: <x@y.example>\r\n"
        b"X-SMTPAPI: {}\r\nX-SMTPAPI: again\r\n" + HEADER
    )

    assert new.message.header == TRACE + b"X-Odd:   two  blanks \r\n" + HEADER


async def test_date_and_message_id_are_added_when_missing() -> None:
    new = await accepted(b"From: ann@example.test\r\n")
    text = message_id_text(new.message.id)

    assert new.message.smtp_id == f"<{text}@relay.test>"
    assert new.message.header == (
        TRACE
        + f"Message-ID: <{text}@relay.test>\r\n".encode()
        + b"Date: Mon, 21 Sep 2026 14:13:20 +0000\r\nFrom: ann@example.test\r\n"
    )


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"To: bob@example.com\r\n", Reason.FROM_MISSING),
        (b"From: ann@example.test\r\nFrom: ann@example.test\r\n", Reason.FROM_MALFORMED),
        (b"From: ann@example.test\r\nfrom: eve@evil.test\r\n", Reason.FROM_MALFORMED),
        (b"From: ann@example.test, eve@evil.test\r\n", Reason.FROM_MALFORMED),
        (b"From: group: ann@example.test;\r\n", Reason.FROM_MALFORMED),
        (b"From: ann@example.test (<eve@evil.test>)\r\n", Reason.FROM_MALFORMED),
        (b"From: eve@evil.test\r\n", Reason.FROM_UNVERIFIED),
        (b"From: ann@sub.example.test\r\n", Reason.FROM_UNVERIFIED),
        (b"From: ann@test\r\n", Reason.FROM_UNVERIFIED),
        (b"From: ann@example.test\r\nSubject: a\r\nSubject: b\r\n", Reason.HEADER_DUPLICATE),
        (b"From: ann@example.test\r\nno field\r\n", Reason.HEADER_MALFORMED),
        (b"From : ann@example.test\r\n", Reason.HEADER_MALFORMED),
        (b" From: ann@example.test\r\n", Reason.HEADER_MALFORMED),
        (b"", Reason.FROM_MISSING),
        (b"From: ann@example.test\r\n" + b"Received: x\r\n" * 101, Reason.MESSAGE_LOOP),
        (b'From: ann@example.test\r\nX-SMTPAPI: {"sub": {}}\r\n', Reason.SMTPAPI_UNSUPPORTED),
        (b'From: ann@example.test\r\nX-SMTPAPI: {"to": ["x"]}\r\n', Reason.RECIPIENT_MALFORMED),
        (b'From: ann@example.test\r\nX-SMTPAPI: {"to": ["x@example.org"]}\r\n', Reason.RECIPIENT_LITERAL),
    ],
)
async def test_what_is_refused(header: bytes, reason: Reason) -> None:
    spool = RecordingSpool()
    answer = await accept(header, spool=spool)

    assert isinstance(answer, Refused)
    assert answer.reason is reason
    assert spool.appended == []


async def test_a_hundred_received_fields_are_no_loop() -> None:
    await accepted(HEADER + b"Received: x\r\n" * 100)


async def test_the_keys_own_list_of_domains_binds() -> None:
    answer = await accept(policy=KeyPolicy(from_domains=frozenset({"other.test"})))

    assert isinstance(answer, Refused)
    assert answer.reason is Reason.FROM_NOT_ALLOWED


async def test_smtpapi_to_replaces_the_envelope_with_own_copies() -> None:
    new = await accepted(
        HEADER + b'X-SMTPAPI: {"to": ["Cat <cat@example.com>",\r\n "dan@example.com"], "category": "c"}\r\n'
    )

    assert new.recipients == (
        Recipient(0, "cat@example.com", "Cat <cat@example.com>"),
        Recipient(1, "dan@example.com", "dan@example.com"),
    )
    assert new.message.categories == ("c",)


async def test_smtpapi_to_is_bound_by_the_keys_recipient_limit() -> None:
    answer = await accept(
        HEADER + b'X-SMTPAPI: {"to": ["a@example.com", "b@example.com"]}\r\n', policy=KeyPolicy(max_recipients=1)
    )

    assert isinstance(answer, Refused)


async def test_a_malformed_smtpapi_header_is_accepted_and_dropped() -> None:
    new = await accepted(HEADER + b"X-SMTPAPI: {oops\r\n", policy=KeyPolicy(daily=1))

    assert new.dropped_reason == INVALID_SMTPAPI
    assert new.caps is not None  # nothing is for free


async def test_limits_are_handed_to_the_append_that_counts_them() -> None:
    new = await accepted(policy=KeyPolicy(rate=Rate(5, 60), daily=100))

    assert new.caps is not None
    assert (new.caps.rate_count, new.caps.rate_window_s, new.caps.daily) == (5, 60, 100)


async def test_a_repeated_recipient_gets_one_copy() -> None:
    new = await accepted(recipients=("b@example.com", "a@example.com", "b@example.com"))

    assert [recipient.address for recipient in new.recipients] == ["b@example.com", "a@example.com"]


async def test_a_large_body_moves_into_the_spool_or_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "incoming"
    file.write_bytes(b"x" * 10)
    body = BodyFile(file, 10, 12345)

    new = await accepted(body=body)

    assert new.temporary_file == file
    assert new.message.body == BodyFile(Path("bodies") / message_id_text(new.message.id), 10, 12345)
    assert file.exists()

    await accept(b"To: x@example.com\r\n", body=body)

    assert not file.exists()


async def test_a_full_disk_is_passed_on_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "incoming"
    file.write_bytes(b"x")

    answer = await accept(body=BodyFile(file, 1), spool=RecordingSpool(Refused(Reason.STORAGE_FULL)))

    assert answer == Refused(Reason.STORAGE_FULL)
    assert not file.exists()


@pytest.mark.parametrize("empty", [b"Message-ID:\r\n", b"Message-ID: \r\nDate:  \r\n", b"Date:\r\n"])
async def test_an_empty_date_or_message_id_is_a_missing_one(empty: bytes) -> None:
    new = await accepted(b"From: ann@example.test\r\n" + empty)

    assert new.message.header.count(b"Message-ID:") == 1
    assert new.message.header.count(b"Date:") == 1
    assert b"Date: Mon" in new.message.header
    assert new.message.smtp_id.startswith("<")


async def test_a_message_id_that_would_fill_every_event_is_refused() -> None:
    answer = await accept(b"From: ann@example.test\r\nMessage-ID: <" + b"x" * 900 + b"\r\n " + b"y" * 900 + b">\r\n")

    assert isinstance(answer, Refused)
    assert answer.reason is Reason.HEADER_MALFORMED


async def together(spool: RecordingSpool, *froms: str) -> tuple[Accepted, tuple[Delivery, ...]] | NotTaken:
    intake = Intake(
        spool=spool,
        domains=Domains(),
        body_path=lambda message_id: Path("bodies") / message_id_text(message_id),
        hostname="relay.test",
        node=5,
        clock=Clock(),
        recipient=no_example_org,
    )
    return await intake.accept_together(
        [
            Submission(
                identity(),
                sender,
                ("bob@example.com",),
                b"From: " + sender.encode() + b"\r\nX-SMTPAPI: {}\r\n",
                b"Hello.\r\n",
                TRACE,
                eight_bit=False,
                told=Instructions(categories=("news",)),
            )
            for sender in froms
        ]
    )


async def test_the_messages_of_a_request_are_handed_over_together() -> None:
    spool = RecordingSpool()

    answer = await together(spool, *["ann@example.test"] * 20)

    assert isinstance(answer, tuple)
    assert [request_of(new.message.id) for new in spool.appended] == [(answer[0].message_id, n) for n in range(20)]
    assert len({new.message.smtp_id for new in spool.appended}) == 20
    assert {new.message.categories for new in spool.appended} == {("news",)}


async def test_one_that_is_refused_refuses_them_all() -> None:
    spool = RecordingSpool()

    answer = await together(spool, "ann@example.test", "ann@elsewhere.test", "ann@example.test")

    assert answer == NotTaken(Refused(Reason.FROM_UNVERIFIED, "elsewhere.test"), 1)
    assert not spool.appended


async def test_what_the_spool_refuses_is_about_all_of_them() -> None:
    spool = RecordingSpool(Refused(Reason.DAILY_EXCEEDED))

    assert await together(spool, "ann@example.test") == NotTaken(Refused(Reason.DAILY_EXCEEDED))


@dataclass
class Screen:
    """Finds the same keys in everything."""

    keys: tuple[ApiKey, ...] = ()
    asked: list[tuple[object, ...]] = field(default_factory=list)
    told: list[tuple[str, int]] = field(default_factory=list)

    async def keys_in(
        self, header_blocks: Sequence[bytes], body: bytes | Path, said: Sequence[str]
    ) -> tuple[ApiKey, ...]:
        self.asked.append((list(header_blocks), body, list(said)))
        return self.keys

    async def tell(self, identity: Identity, message: str, keys: Sequence[ApiKey], *, at_ms: int) -> None:
        assert (identity.key_id, tuple(keys), at_ms) == ("k" * 22, self.keys, NOW_MS)
        self.told.append((message, len(keys)))


A_KEY = ApiKey(
    id=KeyId("l" * 22),
    account_id=AccountId(1),
    subuser_id=None,
    name="a",
    given=None,
    policy=KeyPolicy(),
    imported=False,
    created_ms=0,
    revoked_ms=None,
    compromised=False,
)


class Taken(list[tuple[Submission, NewMessage]]):
    """What the intake said that it took."""


def screened(screen: Screen, spool: RecordingSpool, taken: Taken) -> Intake:
    return Intake(
        spool=spool,
        domains=Domains(),
        body_path=lambda message_id: Path("bodies") / message_id_text(message_id),
        hostname="relay.test",
        node=5,
        clock=Clock(),
        recipient=no_example_org,
        screen=screen,
        on_taken=lambda submission, new: taken.append((submission, new)),
    )


def a_submission(header: bytes = HEADER, body: bytes | BodyFile = b"Hi.\r\n", **more: Any) -> Submission:
    return Submission(
        identity(), "ann@example.test", ("bob@example.com",), header, body, TRACE, eight_bit=False, **more
    )


@pytest.mark.parametrize("keys", [(), (A_KEY,)])
async def test_what_carries_a_key_is_held_from_the_start_and_told_once_it_is_stored(keys: tuple[ApiKey, ...]) -> None:
    screen, spool, taken = Screen(keys), RecordingSpool(), Taken()
    answer = await screened(screen, spool, taken).accept(a_submission())
    assert not isinstance(answer, Refused)
    assert screen.asked == [([HEADER], b"Hi.\r\n", [])]
    assert [new.is_held for new in spool.appended] == [bool(keys)]
    assert screen.told == ([(message_id_text(answer[0].message_id), 1)] if keys else [])
    assert [(one.recipients, new.message.id) for one, new in taken] == [(("bob@example.com",), answer[0].message_id)]


async def test_a_request_is_held_as_a_whole_and_what_it_says_beside_is_looked_at(tmp_path: Path) -> None:
    screen, spool, taken = Screen((A_KEY,)), RecordingSpool(), Taken()
    told = Instructions((), ("a",), category_is_list=False, unique_args=(("b", "c"),))
    file = BodyFile(tmp_path / "x", 3, 0)
    parts = [a_submission(body=file, told=told), a_submission(b"X-A: 1\r\n" + HEADER, file, told=told)]
    answer = await screened(screen, spool, taken).accept_together(parts)
    assert not isinstance(answer, NotTaken)
    assert screen.asked == [([HEADER, b"X-A: 1\r\n" + HEADER], file.path, ["a", "b", "c"] * 2)]
    assert [new.is_held for new in spool.appended] == [True, True]
    assert screen.told == [(message_id_text(answer[0].message_id), 1)]
    assert len(taken) == 2


async def test_of_what_is_not_taken_nobody_is_told() -> None:
    screen, taken = Screen((A_KEY,)), Taken()
    spool = RecordingSpool(Refused(Reason.DAILY_EXCEEDED))
    assert isinstance(await screened(screen, spool, taken).accept(a_submission()), Refused)
    assert (screen.told, list(taken)) == ([], [])


async def test_what_is_dropped_goes_nowhere_and_is_not_looked_at() -> None:
    screen, spool, taken = Screen((A_KEY,)), RecordingSpool(), Taken()
    answer = await screened(screen, spool, taken).accept(a_submission(b"X-SMTPAPI: {\r\n" + HEADER))
    assert not isinstance(answer, Refused)
    assert screen.asked == []
    assert not spool.appended[0].is_held
