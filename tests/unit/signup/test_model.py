from __future__ import annotations

import pytest

from sekisho.signup import Sent, Terms, is_earned

DAY_MS = 86_400_000
TERMS = Terms(daily_credits=200, lift_after_ms=7 * DAY_MS, lift_delivered=500, lift_bounces_percent=5)


@pytest.mark.parametrize(
    ("days", "delivered", "lost", "earned"),
    [
        (7, 500, 0, True),
        (7, 950, 50, True),
        (7, 949, 51, False),
        (7, 499, 0, False),
        (6, 5000, 0, False),
        (0, 0, 0, False),
    ],
)
def test_the_first_limit_is_lifted_by_time_delivered_mail_and_few_bounces(
    days: int, delivered: int, lost: int, earned: bool
) -> None:
    assert is_earned(TERMS, Sent(delivered, lost), since_ms=1, now_ms=1 + days * DAY_MS) == earned


def test_an_operator_may_ask_for_nothing_but_time() -> None:
    assert is_earned(Terms(200, 1000, 0, 100), Sent(0, 9), since_ms=0, now_ms=1000)
