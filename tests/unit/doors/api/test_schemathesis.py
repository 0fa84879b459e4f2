"""Requests that nobody would write, made up from our own OpenAPI document: each gets an answer that it tells of.

No 5xx, no status that is not told, no body of another shape. Requests are right and wrong in turn, and some name things
that are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import requests
import schemathesis
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup as CheckFailures
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sekisho import ipaccess
from sekisho.db import Database, events
from sekisho.domains.tables import domain
from tests.fakes.api import CLIENT, ApiDoor
from tests.fakes.clock import FakeClock
from tests.fakes.control import BY, a_domain, a_key, a_subuser, an_account, make_tables
from tests.fakes.people import a_teammate, an_owner
from tests.unit.doors.api.examples import DOCUMENT, UNKNOWN, Place

EXAMPLES: Final = 8
"""Of each route and mode: CI runs this within a minute."""

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

SCHEMA: Final = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS: Final = {
    (one.ok().method.upper(), one.ok().path): one.ok() for one in SCHEMA.get_all_operations() if isinstance(one, Ok)
}


class House:
    """The door, its loop, and for each example a new account in it that nothing was done to yet."""

    def __init__(self, runner: asyncio.Runner, door: ApiDoor) -> None:
        self.runner = runner
        self.door = door
        self._count = 0

    def furnish(self) -> tuple[str, dict[str, str]]:
        """Make an account; the text of its key, and ids of things that it has."""
        self._count += 1
        name = f"house{self._count}"
        with self.door.control.begin() as tx:
            account = an_account(tx, name)
            a_subuser(tx, account, f"{name}shop")
            claim = a_domain(tx, account, f"{name}.example")
            tx.execute(sa.update(domain).where(domain.c.id == claim.id).values(valid=True))
            rules = ipaccess.add(tx, account.id, [f"{CLIENT}/32"], caller=None, confirmed=True, by=BY)
            assert isinstance(rules, tuple)
            an_owner(tx, account, f"{name}owner")
            mate = a_teammate(tx, account, f"{name}mate")
            key = a_key(tx, account)
        ids = UNKNOWN | {
            "api_key_id": key.key.id,
            "rule_id": str(rules[0].id),
            "subuser_name": f"{name}shop",
            "teammate_name": mate.username,
            "username": mate.username,
        }
        return key.text.reveal().decode(), ids

    def ask(self, case: Any, key: str) -> httpx.Response:
        """Send a case as it was made up; only the key is ours."""
        self.door.clock.go(60)
        prepared = requests.Request(**case.as_transport_kwargs(base_url="http://relay.example.net")).prepare()
        headers = [(name, str(value)) for name, value in prepared.headers.items() if name.lower() != "authorization"]
        assert prepared.method is not None
        return self.runner.run(
            self.door.ask(prepared.method, str(prepared.url), key, headers=headers, content=prepared.body or b"")
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("house")
    control, store = make_tables(Database(folder / "control.db")), Database(folder / "events.db")
    with store.begin() as tx:
        events.create_all(tx)
    with asyncio.Runner() as runner, ThreadPoolExecutor(2) as threads:
        yield House(runner, ApiDoor(control, store, spool=folder / "spool", clock=FakeClock(), threads=threads))
    control.close()
    store.close()


def is_asked(place: Place, mode: GenerationMode) -> bool:
    """Whether there is such a request: nothing can be wrong with one that takes nothing."""
    operation = DOCUMENT["paths"][place[1]][place[0].lower()]
    return mode is GenerationMode.POSITIVE or bool(operation["parameters"] or "requestBody" in operation)


@pytest.mark.parametrize(
    ("place", "mode"),
    [(place, mode) for place in sorted(OPERATIONS) for mode in GenerationMode if is_asked(place, mode)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_whatever_is_asked_the_answer_is_one_that_is_told_of(house: House, place: Place, mode: GenerationMode) -> None:
    strategy = OPERATIONS[place].as_strategy(generation_mode=mode)

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, is_known=st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        key, ids = house.furnish()
        if is_known:
            case.path_parameters = {name: ids[name] for name in case.path_parameters or ()}
        answer = house.ask(case, key)
        case.validate_response(answer, checks=CHECKS)

    ask()


def test_all_routes_are_asked() -> None:
    assert len(OPERATIONS) == sum(map(len, DOCUMENT["paths"].values()))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={"errors": [{"message": "x", "field": None, "help": None}]}),
        httpx.Response(418, json={"errors": []}),
        httpx.Response(200, json={"scopes": "mail.send"}),
        httpx.Response(400, json={"detail": "x"}),
        httpx.Response(200, text="<html>", headers={"content-type": "text/html"}),
    ],
)
def test_answers_that_are_not_told_of_would_be_noticed(answer: httpx.Response) -> None:
    answer.request = httpx.Request("GET", "http://relay.example.net/v3/scopes")
    answer.elapsed = timedelta()
    with pytest.raises(CheckFailures):
        OPERATIONS["GET", "/v3/scopes"].Case().validate_response(answer, checks=CHECKS)
