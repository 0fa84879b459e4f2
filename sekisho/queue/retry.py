"""When to try again and when to give up: arithmetic on times, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

SPREAD = 0.2
"""Each wait is stretched or shrunk by up to this share, so that what failed together does not come back together."""

_DOUBLINGS_MAX = 40
"""Beyond it every sane ``max_s`` is reached; keeps the power from growing without end."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``delivery.retry_first``, ``retry_max`` and ``max_age``."""

    first_s: float = 60.0
    max_s: float = 14_400.0
    max_age_s: float = 259_200.0


def next_due(attempt: int, now_ms: int, first_s: float, max_s: float, jitter: float) -> int:
    """Say when to try again after ``attempt`` attempts (1 = the first has just failed).

    The wait doubles from ``first_s`` up to ``max_s``; ``jitter`` is a random number in [0, 1) and moves it within
    ±20 %. The longest wait is therefore 1.2 times ``max_s``: spreading matters most when it is longest.
    """
    doublings = min(max(attempt, 1) - 1, _DOUBLINGS_MAX)
    wait_s = min(first_s * 2.0**doublings, max_s)
    return now_ms + max(1, round(wait_s * 1000 * (1 - SPREAD + 2 * SPREAD * jitter)))


def next_attempt(policy: RetryPolicy, attempt: int, accepted_ms: int, now_ms: int, jitter: float) -> int | None:
    """Say when to try again, or None when the message is too old.

    The last attempt is moved forward to the moment of expiry, so that the full ``max_age`` is used.
    """
    expires_ms = accepted_ms + round(policy.max_age_s * 1000)
    if now_ms >= expires_ms:
        return None
    return min(next_due(attempt, now_ms, policy.first_s, policy.max_s, jitter), expires_ms)
