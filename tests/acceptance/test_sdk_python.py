"""The vendor's Python client through a real server, with only the host changed: every call there is."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from python_http_client.exceptions import HTTPError, UnauthorizedError  # type: ignore[import-untyped]
from sendgrid import SendGridAPIClient  # type: ignore[import-untyped]

from tests.acceptance.relay import Document
from tests.acceptance.sdk import Answer, a_day, seat
from tests.acceptance.site import Site


class PythonClient:
    """Implements sdk.Client."""

    def __init__(self, key: str, host: str) -> None:
        self._key = key
        self._host = host

    def ask(
        self,
        method: str,
        path: str,
        body: Document = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        subuser = None if headers is None else headers["on-behalf-of"]
        call = SendGridAPIClient(self._key, host=self._host, impersonate_subuser=subuser).client
        for part in path.removeprefix("/v3/").split("/"):
            call = call._(part)
        try:
            answer = getattr(call, method.lower())(request_body=body, query_params=query)
        except HTTPError as error:
            return Answer(error.status_code, json.loads(error.body), lower(error.headers))
        return Answer(answer.status_code, read(answer.body), lower(answer.headers))


def read(body: bytes) -> Document:
    try:
        return json.loads(body)
    except ValueError:
        return body


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_every_call_works(site: Site) -> None:
    seat(site.data)
    with site.relay() as relay:
        a_day(PythonClient(site.key, relay.ready["http"]))


def test_a_wrong_key_is_the_clients_own_error(site: Site) -> None:
    with site.relay() as relay:
        wrong = site.key[:-3] + ("AAA" if not site.key.endswith("AAA") else "BBB")
        with pytest.raises(UnauthorizedError) as refused:
            SendGridAPIClient(wrong, host=relay.ready["http"]).client.scopes.get()
        assert refused.value.to_dict == {"errors": [{"message": "authorization required", "field": None, "help": None}]}
