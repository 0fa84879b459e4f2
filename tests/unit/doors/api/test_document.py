from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from sekisho.doors.api import page
from sekisho.doors.api.app import HANDLERS
from sekisho.doors.api.document import describe
from sekisho.doors.api.routes import ROUTES, Behalf
from tests.fakes.api import ApiDoor

Node = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Node:
    return describe(HANDLERS)


def test_every_route_is_told_with_what_it_takes_to_call_it(document: Node) -> None:
    told = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert told.keys() == ROUTES.keys()
    for place, route in ROUTES.items():
        operation = told[place]
        assert operation.get("x-scope") == route.scope
        assert operation["summary"] != place[1], "a handler says what it is for"
        assert (operation.get("security") == []) is route.public
        header = [one["name"] for one in operation["parameters"] if one["in"] == "header"]
        assert header == (["on-behalf-of"] if route.behalf is Behalf.HONOURED else [])
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", place[1]))
        assert {"429", "500", "503"} <= operation["responses"].keys()
        assert route.public or {"401", "403"} <= operation["responses"].keys()
    assert len({one["operationId"] for one in told.values()}) == len(told)


def test_every_reference_leads_somewhere(document: Node) -> None:
    def references(node: object) -> list[str]:
        match node:
            case dict():
                own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
                return own + [found for one in node.values() for found in references(one)]
            case list():
                return [found for one in node for found in references(one)]
        return []

    found = set(references(document))
    assert found
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_bodies_are_told_also_where_a_handler_reads_them_itself(document: Node) -> None:
    body = document["paths"]["/v3/mail/send"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    mail = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert {"from", "personalizations", "content"} == set(mail["required"])
    assert document["paths"]["/v3/api_keys"]["post"]["requestBody"]["required"]


async def test_the_document_is_for_everybody(door: ApiDoor, document: Node) -> None:
    answer = await door.ask("GET", "/v3/openapi.json")
    assert (answer.status_code, answer.json()) == (200, document)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


class Reader(HTMLParser):
    """What a page would load or run, and where its links go."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.loads += [tag for name in named if name in {"src", "srcset", "action", "data", "style"}]
        self.loads += [tag] * (tag in {"script", "link", "iframe", "object", "img", "base", "form"})
        self.loads += [name for name in named if name.startswith("on")]
        if tag == "a":
            self.links.append(named["href"] or "")
        if named.get("id"):
            self.ids.add(named["id"] or "")


async def test_the_page_needs_no_program_and_loads_nothing(door: ApiDoor) -> None:
    answer = await door.ask("GET", "/v3/reference", headers={"accept": "text/html,*/*;q=0.1"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policies = answer.headers.get_list("content-security-policy")
    assert policies == [page.POLICY]
    assert "unsafe" not in page.POLICY
    assert "http" not in page.POLICY
    reader = Reader()
    reader.feed(answer.text)
    assert reader.loads == []
    for link in reader.links:
        assert link == "/v3/openapi.json" or link.removeprefix("#") in reader.ids
    for method, path in ROUTES:
        assert f"{method} {path}" in answer.text


def test_what_is_not_ours_is_escaped(document: Node) -> None:
    hostile = {**document, "info": {"title": "<script>", "version": "1", "description": '"&'}}
    assert "<script>" not in page.render(hostile)
