"""The one log line of a session, built up as it goes: what an operator can act on, no secret and no content."""

from __future__ import annotations

import functools
import time
from collections import Counter
from dataclasses import dataclass, field

import structlog

from sekisho.identity import Identity

log = structlog.get_logger()


@dataclass(slots=True)
class SessionLine:
    """What is counted while a session lasts."""

    tls_version: str = ""
    tls_cipher: str = ""
    messages: int = 0
    recipients: int = 0
    received_bytes: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    """Reasons from our own closed lists, so their number is bounded."""
    ended: str = ""

    def refuse(self, reason: str) -> None:
        self.refusals[reason] += 1

    def write(self, *, session: str, peer: str, hello: str, identity: Identity | None, duration_s: float) -> None:
        log.info(
            "session",
            session=session,
            peer=peer,
            ehlo=hello,
            tls=self.tls_version,
            cipher=self.tls_cipher,
            account=None if identity is None else identity.account_id,
            subuser=None if identity is None else identity.subuser_id,
            key=None if identity is None else identity.key_id,
            messages=self.messages,
            recipients=self.recipients,
            bytes=self.received_bytes,
            refusals=dict(self.refusals),
            duration_s=round(duration_s, 3),
            ended=self.ended,
        )


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@functools.lru_cache(maxsize=4)
def date_text(now_s: int) -> str:
    """Print a time as RFC 5322 §3.3 does, whatever the locale; thousands of messages a second share one answer."""
    t = time.gmtime(now_s)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04d}"
        f" {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} +0000"
    )
