from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from sekisho.apikeys.actions import Issued
from sekisho.events.tables import event_day
from tests.fakes.api import ApiDoor
from tests.fakes.control import NOW_MS, a_key, a_subuser, an_account

TODAY = NOW_MS // 86_400_000


def date(day: int) -> str:
    return dt.date.fromordinal(dt.date(1970, 1, 1).toordinal() + day).isoformat()


@pytest.fixture
def key(door: ApiDoor) -> Issued:
    with door.control.begin() as tx:
        acme = an_account(tx)
        shop, news = a_subuser(tx, acme, "shop"), a_subuser(tx, acme, "news")
        issued = a_key(tx, acme)
    rows = [
        (acme.id, shop.id, TODAY, "delivered", 5),
        (acme.id, shop.id, TODAY - 1, "delivered", 1),
        (acme.id, news.id, TODAY, "delivered", 2),
        (acme.id, news.id, TODAY, "bounce", 48),
    ]
    names = ("account_id", "subuser_id", "day", "kind", "count")
    with door.events.begin() as tx:
        tx.execute(sa.insert(event_day), [dict(zip(names, row, strict=True)) for row in rows])
    return issued


def delivered(stat: dict[str, Any]) -> dict[str, int]:
    return {one["name"]: one["metrics"]["delivered"] for one in stat["stats"]}


async def test_days_without_anything_are_shown_too(door: ApiDoor, key: Issued) -> None:
    answer = await door.ask(
        "GET", "/v3/subusers/stats", key, params={"start_date": date(TODAY - 2), "subusers": ["shop", "news"]}
    )
    found = answer.json()
    assert [(one["date"], delivered(one)) for one in found] == [
        (date(TODAY - 2), {"shop": 0, "news": 0}),
        (date(TODAY - 1), {"shop": 1, "news": 0}),
        (date(TODAY), {"shop": 5, "news": 2}),
    ]
    assert found[0]["stats"][0]["type"] == "subuser"
    assert len(found[0]["stats"][0]["metrics"]) == 16


async def test_days_are_put_together(door: ApiDoor, key: Issued) -> None:
    for by in ("week", "month"):
        answer = await door.ask(
            "GET",
            "/v3/subusers/stats",
            key,
            params={"start_date": date(TODAY - 40), "subusers": "shop,news", "aggregated_by": by},
        )
        assert sum(delivered(one)["shop"] for one in answer.json()) == 6
        assert len(answer.json()) < 10


async def test_sums_are_ranked_and_paged(door: ApiDoor, key: Issued) -> None:
    wanted = {"start_date": date(TODAY - 1)}
    most = (await door.ask("GET", "/v3/subusers/stats/sums", key, params=wanted)).json()
    assert list(delivered(most).items()) == [("shop", 6), ("news", 2)]
    bounces = wanted | {"sort_by_metric": "bounces", "limit": "1"}
    assert delivered((await door.ask("GET", "/v3/subusers/stats/sums", key, params=bounces)).json()) == {"news": 2}
    least = wanted | {"sort_by_direction": "asc", "offset": "1"}
    assert delivered((await door.ask("GET", "/v3/subusers/stats/sums", key, params=least)).json()) == {"shop": 6}


async def test_a_month_of_all_of_some_and_of_one(door: ApiDoor, key: Issued) -> None:
    month = {"date": date(TODAY)}
    every = (await door.ask("GET", "/v3/subusers/stats/monthly", key, params=month)).json()
    assert every["date"] == date(TODAY)[:8] + "01"
    assert delivered(every) == {"shop": 6, "news": 2}
    assert every["stats"][0]["first_name"] == ""
    some = await door.ask("GET", "/v3/subusers/stats/monthly", key, params=month | {"subuser": "EW"})
    assert delivered(some.json()) == {"news": 2}
    one = await door.ask("GET", "/v3/subusers/shop/stats/monthly", key, params=month)
    assert delivered(one.json()) == {"shop": 6}


async def test_reputations_are_of_all_or_of_those_named(door: ApiDoor, key: Issued) -> None:
    every = await door.ask("GET", "/v3/subusers/reputations", key)
    assert every.json() == [{"reputation": 0.0, "username": "news"}, {"reputation": 100.0, "username": "shop"}]
    for named in (["shop"], "shop", "shop,shop"):
        one = await door.ask("GET", "/v3/subusers/reputations", key, params={"usernames": named})
        assert one.json() == [{"reputation": 100.0, "username": "shop"}]
    assert (await door.ask("GET", "/v3/user/account", key)).json() == {"type": "paid", "reputation": 100.0}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"subusers": "shop"}, "start_date"),
        ({"start_date": "yesterday", "subusers": "shop"}, "start_date"),
        ({"start_date": "2026-02-30", "subusers": "shop"}, "start_date"),
        ({"start_date": "2026-11-02", "end_date": "2026-11-01", "subusers": "shop"}, "end_date"),
        ({"start_date": "2020-01-01", "subusers": "shop"}, "start_date"),
        ({"start_date": "2026-11-01"}, "subusers"),
        ({"start_date": "2026-11-01", "subusers": ",".join(map(str, range(11)))}, "subusers"),
        ({"start_date": "2026-11-01", "subusers": "shop", "aggregated_by": "year"}, "aggregated_by"),
    ],
)
async def test_what_cannot_be_counted_is_named(door: ApiDoor, key: Issued, params: dict[str, str], field: str) -> None:
    answer = await door.ask("GET", "/v3/subusers/stats", key, params=params)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


async def test_only_the_vendors_metrics_sort(door: ApiDoor, key: Issued) -> None:
    params = {"date": "2026-11-01", "sort_by_metric": "deferred"}
    answer = await door.ask("GET", "/v3/subusers/stats/monthly", key, params=params)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "sort_by_metric")


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v3/subusers/stats", {"start_date": "9999-12-31", "end_date": "9999-12-31", "subusers": "shop"}),
        ("/v3/subusers/stats/sums", {"start_date": "9999-12-31", "end_date": "9999-12-31"}),
        ("/v3/subusers/stats/monthly", {"date": "9999-12-01"}),
        ("/v3/subusers/shop/stats/monthly", {"date": "9999-12-01"}),
    ],
)
async def test_the_end_of_the_calendar_is_no_fault_of_ours(
    door: ApiDoor, key: Issued, path: str, params: dict[str, str]
) -> None:
    assert (await door.ask("GET", path, key, params=params)).status_code == 400
