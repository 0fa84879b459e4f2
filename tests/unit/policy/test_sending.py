from __future__ import annotations

import pytest

from sekisho.domains import SigningDomain
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import AccountId, DomainId, KeyId
from sekisho.policy.sending import may_mail, may_send, may_use_from
from sekisho.refusal import Reason, Refused
from sekisho.wire.mail.address import Mailbox


def identity(policy: KeyPolicy | None = None, *scopes: str) -> Identity:
    return Identity(AccountId(1), None, KeyId("k"), frozenset(scopes), policy or KeyPolicy())


def reason(refused: Refused | None) -> Reason | None:
    return None if refused is None else refused.reason


SIGNING = SigningDomain(DomainId(1), "example.com", None, ())
ONLY_ORG = KeyPolicy(from_domains=frozenset({"example.org"}))
ONLY_COM = KeyPolicy(from_domains=frozenset({"example.com", "example.org"}))


@pytest.mark.parametrize(
    ("scopes", "verdict"),
    [
        (["mail.send"], None),
        (["mail.send", "stats.read"], None),
        (["mail.batch.create"], Reason.AUTH_UNSCOPED),
        (["mail"], Reason.AUTH_UNSCOPED),
        ([], Reason.AUTH_UNSCOPED),
    ],
)
def test_mail_needs_its_scope(scopes: list[str], verdict: Reason | None) -> None:
    assert reason(may_send(identity(None, *scopes))) == verdict


@pytest.mark.parametrize(
    ("policy", "domain", "signing", "verdict"),
    [
        (KeyPolicy(), "example.com", SIGNING, None),
        (ONLY_COM, "example.com", SIGNING, None),
        (ONLY_ORG, "example.com", SIGNING, Reason.FROM_NOT_ALLOWED),
        (KeyPolicy(), "example.com", None, Reason.FROM_UNVERIFIED),
        (ONLY_ORG, "example.org", None, Reason.FROM_UNVERIFIED),  # a policy gives nothing
        (KeyPolicy(), "sub.example.com", SIGNING, Reason.FROM_UNVERIFIED),
        (KeyPolicy(), "com", SIGNING, Reason.FROM_UNVERIFIED),
    ],
)
def test_from_needs_a_valid_domain_that_the_key_may_use(
    policy: KeyPolicy, domain: str, signing: SigningDomain | None, verdict: Reason | None
) -> None:
    assert reason(may_use_from(identity(policy), Mailbox("news", domain), signing)) == verdict


@pytest.mark.parametrize(
    ("local", "domains", "verdict"),
    [
        ("news", (), None),
        ("News", (), Reason.FROM_NOT_ALLOWED),  # whose local parts are equal is the host's own affair (RFC 5321 §2.4)
        ("other", (), Reason.FROM_NOT_ALLOWED),
        ("news", ("example.com",), None),
        ("news", ("example.org",), Reason.FROM_NOT_ALLOWED),
    ],
)
def test_from_must_be_an_address_of_the_policy(local: str, domains: tuple[str, ...], verdict: Reason | None) -> None:
    policy = KeyPolicy(from_domains=frozenset(domains), from_addresses=frozenset({"news@example.com"}))
    assert reason(may_use_from(identity(policy), Mailbox(local, "example.com"), SIGNING)) == verdict


@pytest.mark.parametrize(
    ("domain", "verdict"),
    [
        ("example.org", None),
        ("[192.0.2.1]", Reason.RECIPIENT_LITERAL),
        ("[IPv6:::1]", Reason.RECIPIENT_LITERAL),
        ("192.0.2.1", Reason.RECIPIENT_LITERAL),
        ("127.1", Reason.RECIPIENT_LITERAL),
        ("2130706433", Reason.RECIPIENT_LITERAL),
        ("localhost", Reason.RECIPIENT_LITERAL),
        ("a.localhost", Reason.RECIPIENT_LITERAL),
        ("intranet", Reason.RECIPIENT_LITERAL),
    ],
)
def test_recipients_live_at_domains(domain: str, verdict: Reason | None) -> None:
    assert reason(may_mail(identity(), Mailbox("a", domain), 0)) == verdict


@pytest.mark.parametrize(
    ("most", "already", "verdict"),
    [
        (None, 10**6, None),
        (2, 0, None),
        (2, 1, None),
        (2, 2, Reason.RECIPIENTS_TOO_MANY),
        (1, 5, Reason.RECIPIENTS_TOO_MANY),
    ],
)
def test_a_key_may_have_a_limit_of_recipients(most: int | None, already: int, verdict: Reason | None) -> None:
    assert reason(may_mail(identity(KeyPolicy(max_recipients=most)), Mailbox("a", "example.org"), already)) == verdict
