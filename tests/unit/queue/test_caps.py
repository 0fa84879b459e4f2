from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sekisho.credits import FOREVER, Bucket
from sekisho.ids import KeyId
from sekisho.ports.clock import DAY_MS
from sekisho.queue.counters import used_of
from sekisho.queue.model import Caps, Delivery
from sekisho.refusal import Reason, Refused

from .conftest import OpenSpool
from .support import NOW_MS, FakeClock, large_body, make, rows

KEY = KeyId("key-1")
# 2027-01-15T08:00:00Z
MIDNIGHT_MS = (NOW_MS // DAY_MS + 1) * DAY_MS


def reasons(answers: list[tuple[Delivery, ...] | Refused]) -> list[str]:
    return [answer.reason.value if isinstance(answer, Refused) else "ok" for answer in answers]


async def test_a_batch_is_counted_message_by_message(open_spool: OpenSpool) -> None:
    spool = open_spool()
    caps = Caps(KEY, daily=5)
    answers = await asyncio.gather(*(spool.append(make("a@d.example", "b@d.example", caps=caps)) for _ in range(4)))
    assert reasons(answers) == ["ok", "ok", "limit.daily", "limit.daily"]
    # What still fits goes, and not one more.
    one = await asyncio.gather(*(spool.append(make(caps=caps)) for _ in range(2)))
    assert reasons(one) == ["ok", "limit.daily"]
    assert one[1] == Refused(Reason.DAILY_EXCEEDED, "daily limit of 5 recipients; resets at 2027-01-16T00:00:00Z")


async def test_the_day_is_a_utc_day(open_spool: OpenSpool, clock: FakeClock) -> None:
    spool = open_spool()
    caps = Caps(KEY, daily=1)
    clock.time_ms = MIDNIGHT_MS - 1
    assert reasons([await spool.append(make(caps=caps)), await spool.append(make(caps=caps))]) == ["ok", "limit.daily"]
    clock.time_ms = MIDNIGHT_MS
    assert reasons([await spool.append(make(caps=caps)), await spool.append(make(caps=caps))]) == ["ok", "limit.daily"]
    # Set back over midnight: yesterday is still counted.
    clock.time_ms = MIDNIGHT_MS - 1
    assert reasons([await spool.append(make(caps=caps))]) == ["limit.daily"]


async def test_a_rate_frees_up_with_time(open_spool: OpenSpool, clock: FakeClock) -> None:
    spool = open_spool()
    caps = Caps(KEY, rate_count=3, rate_window_s=60)
    clock.time_ms = NOW_MS
    assert reasons([await spool.append(make("a@d.example", "b@d.example", caps=caps))]) == ["ok"]
    answer = await spool.append(make("a@d.example", "b@d.example", caps=caps))
    assert answer == Refused(Reason.RATE_EXCEEDED, "limit of 3 recipients per minute; free again in 61 s")
    clock.time_ms += 61_000
    assert reasons([await spool.append(make("a@d.example", "b@d.example", caps=caps))]) == ["ok"]


@pytest.mark.parametrize(
    ("caps", "detail"),
    [
        (Caps(KEY, daily=1), "2 recipients at once, the key's daily limit is 1"),
        (Caps(KEY, rate_count=1, rate_window_s=1), "2 recipients at once, the key's limit is 1 per second"),
    ],
)
async def test_more_at_once_than_can_ever_fit(open_spool: OpenSpool, caps: Caps, detail: str) -> None:
    spool = open_spool()
    answer = await spool.append(make("a@d.example", "b@d.example", caps=caps))
    assert isinstance(answer, Refused)
    assert answer.detail == detail
    # Refused whole: nothing of it was counted or stored.
    assert reasons([await spool.append(make(caps=caps))]) == ["ok"]


async def test_what_one_limit_refuses_counts_for_no_other(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    caps = Caps(KEY, rate_count=1, rate_window_s=60, daily=5)
    answers = await asyncio.gather(*(spool.append(make(caps=caps)) for _ in range(3)))
    assert reasons(answers) == ["ok", "limit.rate", "limit.rate"]
    assert rows(tmp_path / "spool", "SELECT count FROM daily") == [1]


async def test_keys_are_counted_apart_and_after_reopening(open_spool: OpenSpool) -> None:
    spool = open_spool()
    first, second = Caps(KEY, daily=1, rate_count=1), Caps(KeyId("key-2"), daily=1, rate_count=1)
    assert reasons([await spool.append(make(caps=first)), await spool.append(make(caps=second))]) == ["ok", "ok"]
    await spool.close()
    spool = open_spool()
    assert reasons([await spool.append(make(caps=first)), await spool.append(make(caps=second))]) == [
        "limit.daily",
        "limit.daily",
    ]
    rate_only = [Caps(KEY, rate_count=1), Caps(KeyId("key-2"), rate_count=1)]
    assert reasons([await spool.append(make(caps=caps)) for caps in rate_only]) == ["limit.rate", "limit.rate"]


async def test_a_refusal_writes_nothing(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    await spool.append(make(caps=Caps(KEY, daily=1)))
    wal = tmp_path / "spool" / "spool.db-wal"
    before = wal.stat().st_size
    assert reasons([await spool.append(make(caps=Caps(KEY, daily=1)))]) == ["limit.daily"]
    assert wal.stat().st_size == before


async def test_dropped_messages_count_too(open_spool: OpenSpool) -> None:
    spool = open_spool()
    caps = Caps(KEY, daily=1)
    assert await spool.append(make(caps=caps, dropped_reason="Invalid SMTPAPI header")) == ()
    assert reasons([await spool.append(make(caps=caps, dropped_reason="Invalid SMTPAPI header"))]) == ["limit.daily"]


async def test_a_refused_message_leaves_no_body_behind(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    arguments = large_body(spool.incoming, spool.body_path)
    answer = await spool.append(make("a@d.example", "b@d.example", caps=Caps(KEY, daily=1), **arguments))
    assert reasons([answer]) == ["limit.daily"]
    await spool.close()
    assert list((tmp_path / "spool" / "bodies").iterdir()) == []
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []


async def test_old_counters_are_pruned(open_spool: OpenSpool, clock: FakeClock, tmp_path: Path) -> None:
    spool = open_spool()
    await spool.append(make(caps=Caps(KEY, daily=9, rate_count=9)))
    clock.time_ms += DAY_MS
    await spool.append(make(caps=Caps(KeyId("other"), daily=9, rate_count=9)))
    assert rows(tmp_path / "spool", "SELECT key FROM daily ORDER BY key") == ["key-1", "other"]
    assert rows(tmp_path / "spool", "SELECT key FROM rate") == ["other"]
    clock.time_ms += DAY_MS
    await spool.append(make())
    assert rows(tmp_path / "spool", "SELECT key FROM daily") == ["other"]


async def test_credits_are_counted_with_the_mail_and_never_passed(open_spool: OpenSpool) -> None:
    spool = open_spool()
    caps = Caps(KEY, credits=(Bucket("credit:7:1", FOREVER, 3),))
    answers = await asyncio.gather(*(spool.append(make("a@d.example", "b@d.example", caps=caps)) for _ in range(3)))
    assert reasons(answers) == ["ok", "limit.credits", "limit.credits"]
    assert reasons([await spool.append(make(caps=caps))]) == ["ok"]
    assert reasons([await spool.append(make(caps=caps))]) == ["limit.credits"]


async def test_what_one_limit_refuses_is_counted_by_no_other(open_spool: OpenSpool) -> None:
    spool = open_spool()
    bucket = Bucket("credit:7:1", FOREVER, 5)
    both = Caps(KEY, daily=1, credits=(bucket,))
    await spool.append(make(caps=both))
    assert reasons([await spool.append(make(caps=both))]) == ["limit.daily"]
    assert used_of(spool.body_path(make().message.id).parents[1], bucket) == 1
    other = KeyId("key-2")
    spent = Caps(other, daily=9, credits=(Bucket("credit:7:1", FOREVER, 1),))
    assert reasons([await spool.append(make(caps=spent))]) == ["limit.credits"]
    assert reasons([await spool.append(make(caps=Caps(other, daily=1)))]) == ["ok"]


async def test_mail_of_a_subuser_is_counted_against_its_accounts_grant_too(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool_path = spool.body_path(make().message.id).parents[1]
    account = Bucket("credit:1:1", FOREVER, 3)
    shop, other = Bucket("credit:7:1", FOREVER, 9), Bucket("credit:8:1", FOREVER, 9)
    for _ in range(2):
        assert reasons([await spool.append(make(caps=Caps(KEY, credits=(shop, account))))]) == ["ok"]
    assert reasons([await spool.append(make(caps=Caps(KEY, credits=(other, account))))]) == ["ok"]
    assert reasons([await spool.append(make(caps=Caps(KEY, credits=(other, account))))]) == ["limit.credits"]
    assert [used_of(spool_path, bucket) for bucket in (account, shop, other)] == [3, 2, 1]
