from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.apikeys.scopes import ALL, BILLING, FULL_ACCESS, MAIL_SEND, check, effective
from sekisho.refusal import Declined, Obstacle


def test_the_vocabulary_is_the_sheets() -> None:
    assert sorted(BILLING) == ["billing.create", "billing.delete", "billing.read", "billing.update"]
    assert not FULL_ACCESS & BILLING
    assert {
        MAIL_SEND,
        "mail.batch.delete",
        "access_settings.activity.read",
        "asm.suppressions.global.create",
        "suppression.spam_reports.delete",
        "subusers.stats.sums.read",
        "user.settings.enforced_tls.update",
        "tracking_settings.read",
        "recipients.erasejob.create",
        "clients.webmail.stats.read",
    } <= FULL_ACCESS
    assert not {"access_settings.activity.create", "user.settings.enforced_tls.create", "stats.create"} & ALL


@pytest.mark.parametrize(
    ("scope", "obstacle", "words"),
    [
        ("suppressions.read", Obstacle.SCOPE_UNKNOWN, "did you mean suppression.read?"),
        ("suppressions.bounces.delete", Obstacle.SCOPE_UNKNOWN, "did you mean suppression.bounces.delete?"),
        ("mail.sned", Obstacle.SCOPE_UNKNOWN, "did you mean mail.send?"),
        ("MAIL.SEND", Obstacle.SCOPE_UNKNOWN, "did you mean mail.send?"),
        ("mail.batch", Obstacle.SCOPE_UNKNOWN, "mail.batch.create, mail.batch.delete"),
        ("templates.*", Obstacle.SCOPE_UNKNOWN, "templates.create"),
        ("nonsense", Obstacle.SCOPE_UNKNOWN, "'nonsense'"),
        ("", Obstacle.SCOPE_UNKNOWN, "''"),
        ("x" * 10_000, Obstacle.SCOPE_UNKNOWN, "no scope"),
        ("mail.send\n", Obstacle.SCOPE_UNKNOWN, "mail.send"),
        ("2fa_required", Obstacle.SCOPE_UNASSIGNABLE, "set by the system"),
        ("sender_verification_eligible", Obstacle.SCOPE_UNASSIGNABLE, "set by the system"),
        ("marketing.read", Obstacle.SCOPE_UNASSIGNABLE, "does not have"),
        ("validations.email.create", Obstacle.SCOPE_UNASSIGNABLE, "does not have"),
    ],
)
def test_a_scope_that_cannot_be_given_is_named_with_help(scope: str, obstacle: Obstacle, words: str) -> None:
    answer = check([MAIL_SEND, scope], of_subuser=False)
    assert isinstance(answer, Declined)
    assert answer.obstacle is obstacle
    assert words in answer.text


@given(scope=st.text())
def test_no_text_but_a_scope_is_taken(scope: str) -> None:
    answer = check([scope], of_subuser=False)
    assert answer == frozenset({scope}) if scope in ALL else isinstance(answer, Declined)


def test_billing_stands_alone() -> None:
    assert check(["billing.read", "billing.update"], of_subuser=False) == frozenset({"billing.read", "billing.update"})
    answer = check(["billing.read", MAIL_SEND], of_subuser=False)
    assert isinstance(answer, Declined)
    assert answer.obstacle is Obstacle.SCOPE_UNASSIGNABLE


@pytest.mark.parametrize("scope", ["subusers.read", "subusers.credits.remaining.update", "billing.read"])
def test_what_is_the_parents_is_not_a_subusers(scope: str) -> None:
    assert check([scope], of_subuser=False) == frozenset({scope})
    answer = check([scope], of_subuser=True)
    assert isinstance(answer, Declined)
    assert answer.obstacle is Obstacle.SCOPE_UNASSIGNABLE
    assert scope not in effective(None, of_subuser=True)
    assert scope not in effective([scope], of_subuser=True)


def test_full_access_is_everything_but_billing() -> None:
    assert effective(None, of_subuser=False) == FULL_ACCESS
    assert MAIL_SEND in effective(None, of_subuser=True)
    assert effective([MAIL_SEND, "gone.since"], of_subuser=False) == {MAIL_SEND}
    assert effective([], of_subuser=False) == frozenset()
