from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import dkim
import pytest

from sekisho.db import DatabaseUnavailable
from sekisho.domains import SigningDomain
from sekisho.ids import AccountId, DomainId, KeyId, MessageId
from sekisho.preparation.model import NotNow, Prepared, Ready
from sekisho.preparation.prepare import SigningPreparer
from sekisho.preparation.signers import NotSignedError, Signers
from sekisho.queue.model import BodyFile, Delivery, Dropped, Message, Recipient
from sekisho.secret import Secret
from sekisho.wire.dkim import keys
from sekisho.wire.dkim.signature import Signer
from sekisho.wire.mail.headers import UnwritableHeaderError

RSA = keys.generate_rsa()
ED25519 = keys.generate_ed25519()
RECORDS = {
    b"r._domainkey.example.test.": keys.txt_record(RSA).encode(),
    b"e._domainkey.example.test.": keys.txt_record(ED25519).encode(),
}
SIGNERS = (Signer("r", "rsa-sha256", RSA), Signer("e", "ed25519-sha256", ED25519))
HEADER = (
    b"Received: trace\r\nFrom: a@example.test\r\nTo: all@example.com\r\nSubject: hi\r\n"
    b"Date: Mon, 21 Sep 2026 14:13:20 +0000\r\nMessage-ID: <1@example.test>\r\n"
)


class Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000  # dkimpy judges x= by the real clock

    def monotonic(self) -> float:
        return 0.0


class Domains:
    """One signing domain, cached or read; or no database."""

    def __init__(self, domain: SigningDomain | None, *, known: bool = True, broken: bool = False) -> None:
        self.domain = domain
        self.known = known
        self.broken = broken

    def cached(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        return self.domain if self.known and (account_id, subuser_id, domain) == (1, 2, "example.test") else None

    async def lookup(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        await asyncio.sleep(0)
        if self.broken:
            raise DatabaseUnavailable
        return self.domain if (account_id, subuser_id, domain) == (1, 2, "example.test") else None


def signing_domain(return_path_host: str | None = None) -> SigningDomain:
    return SigningDomain(DomainId(1), "example.test", return_path_host, SIGNERS)


def delivery(index: int = 0, personal_to: str = "", body: bytes | BodyFile = b"Hello\r\n") -> Delivery:
    message = Message(
        id=MessageId(bytes(16)),
        accepted_ms=0,
        account_id=AccountId(1),
        subuser_id=AccountId(2),
        key_id=KeyId("k"),
        mail_from="",
        from_domain="example.test",
        header=HEADER,
        body=body,
        eight_bit=False,
        smtp_id="<1@example.test>",
    )
    return Delivery(index, message, Recipient(index, f"r{index}@example.com", personal_to), 0, 0)


@pytest.fixture
async def signers() -> AsyncIterator[Signers]:
    found = Signers.fork(1)
    await found.connect(lambda: None)
    yield found
    await found.close()


def preparer(signers: Signers, domains: Domains, deleted: frozenset[AccountId] = frozenset()) -> SigningPreparer:
    return SigningPreparer(
        domains=domains,
        signers=signers,
        hostname="relay.test",
        verp_secret=Secret(b"s" * 32),
        clock=Clock(),
        deleted=lambda: deleted,
    )


async def ready(prepared: asyncio.Future[Prepared]) -> Ready:
    found = await prepared

    assert isinstance(found, Ready), found
    return found


def verified(header: bytes, body: bytes) -> bool:
    """Ask dkimpy about both signatures."""

    def txt(name: bytes, timeout: int = 5) -> bytes | None:  # noqa: ARG001  # dkimpy's signature
        return RECORDS.get(name)

    judge = dkim.DKIM(header + b"\r\n" + body)
    return bool(judge.verify(0, dnsfunc=txt) and judge.verify(1, dnsfunc=txt))


@pytest.mark.parametrize("known", [True, False])
async def test_both_signatures_verify_and_nothing_else_is_added(signers: Signers, known: bool) -> None:
    one = await ready(preparer(signers, Domains(signing_domain(), known=known)).prepare(delivery()))

    assert one.header.endswith(HEADER)
    assert one.header.count(b"DKIM-Signature:") == 2
    assert verified(one.header, b"Hello\r\n")


async def test_a_personal_copy_names_its_recipient_alone(signers: Signers) -> None:
    one = await ready(preparer(signers, Domains(signing_domain())).prepare(delivery(0, "Ann <ann@example.com>")))

    assert b"\r\nTo: Ann <ann@example.com>\r\n" in one.header
    assert b"all@example.com" not in one.header
    assert verified(one.header, b"Hello\r\n")


async def test_a_body_in_a_file_is_hashed_from_there(signers: Signers, tmp_path: Path) -> None:
    content = b"line  with\tblanks \r\n" * 40_000
    file = tmp_path / "body"
    file.write_bytes(content)

    one = await ready(preparer(signers, Domains(signing_domain())).prepare(delivery(body=BodyFile(file, len(content)))))

    assert verified(one.header, content)


async def test_equal_content_is_signed_once_and_every_recipient_has_an_own_return_path(
    signers: Signers,
) -> None:
    subject = preparer(signers, Domains(signing_domain()))
    first, second = [await ready(subject.prepare(delivery(index))) for index in (0, 1)]

    assert first.header is second.header
    assert first.mail_from != second.mail_from
    assert first.shared_mail_from == second.shared_mail_from
    assert first.mail_from.endswith("@relay.test")


async def test_the_return_path_is_the_domains_own_once_dns_says_so(signers: Signers) -> None:
    one = await ready(preparer(signers, Domains(signing_domain("em1.example.test"))).prepare(delivery()))

    assert one.mail_from.endswith("@em1.example.test")


async def test_new_keys_sign_anew(signers: Signers) -> None:
    domains = Domains(signing_domain())
    subject = preparer(signers, domains)
    first = await ready(subject.prepare(delivery()))
    domains.domain = signing_domain("em1.example.test")
    second = await ready(subject.prepare(delivery()))

    assert first.header is not second.header
    assert second.mail_from.endswith("@em1.example.test")


@pytest.mark.parametrize(
    "domains",
    [
        Domains(None),
        Domains(SigningDomain(DomainId(1), "example.test", None, ()), known=False),
        Domains(signing_domain(), known=False, broken=True),
    ],
)
async def test_without_keys_nothing_leaves(signers: Signers, domains: Domains) -> None:
    assert isinstance(await preparer(signers, domains).prepare(delivery()), NotNow)


async def test_mail_of_a_deleted_subuser_is_dropped(signers: Signers) -> None:
    subject = preparer(signers, Domains(signing_domain()), frozenset({AccountId(2)}))

    assert isinstance(await subject.prepare(delivery()), Dropped)


async def test_a_missing_body_is_a_fault_and_not_remembered(signers: Signers, tmp_path: Path) -> None:
    subject = preparer(signers, Domains(signing_domain()))
    file = tmp_path / "body"

    with pytest.raises(NotSignedError):
        await subject.prepare(delivery(body=BodyFile(file, 1)))

    file.write_bytes(b"x\r\n")
    await ready(subject.prepare(delivery(body=BodyFile(file, 3))))


@pytest.mark.parametrize("known", [True, False])
async def test_a_fault_of_one_message_is_heard_by_whoever_waits_for_it_and_by_nobody_else(
    signers: Signers, known: bool
) -> None:
    subject = preparer(signers, Domains(signing_domain(), known=known))

    for _ in range(2):  # the second time as the first: nothing half-made is remembered
        with pytest.raises(UnwritableHeaderError):
            await subject.prepare(delivery(personal_to="x" * 2_000))
    await ready(subject.prepare(delivery()))
