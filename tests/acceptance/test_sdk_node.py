"""The vendor's Node clients through a real server, with only the host changed: every call there is, and mail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.acceptance.judges import program
from tests.acceptance.relay import Document, environment, eventually
from tests.acceptance.sdk import Answer, a_day, seat
from tests.acceptance.site import Site
from tests.fakes.sink import Sink

SOURCE: Final = Path(__file__).with_name("node")


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the clients in it, as locked, and the program that drives them."""
    npm = program("npm")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "drive.js"):
        shutil.copy(SOURCE / name, folder)
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if done.returncode != 0:
        reason = f"npm could not install the vendor's clients: {done.stderr[-500:]}"
        if os.environ.get("JUDGES") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


class NodeClient:
    """Implements sdk.Client: a Node process that makes the calls."""

    def __init__(self, folder: Path, key: str, host: str) -> None:
        self._process = subprocess.Popen(
            [program("node"), "drive.js"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment() | {"SENDGRID_API_KEY": key, "SENDGRID_BASE_URL": host},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=20)

    def ask(
        self,
        method: str,
        path: str,
        body: Document = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        request = {"method": method, "url": path, "body": body, "qs": query, "headers": headers}
        return self._perform({name: value for name, value in request.items() if value is not None})

    def send(self, message: Document) -> Answer:
        """Send by @sendgrid/mail."""
        return self._perform({"mail": message})

    def _perform(self, request: Document) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        return Answer(found["status"], found["body"], found["headers"])


def test_the_lock_names_no_registry() -> None:
    text = (SOURCE / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert "https://" not in json.dumps(
        [{name: one[name] for name in one if name != "funding"} for one in json.loads(text)["packages"].values()]
    )


@pytest.fixture
def started(site: Site, clients: Path) -> Iterator[NodeClient]:
    seat(site.data)
    with site.relay() as relay, NodeClient(clients, site.key, relay.ready["http"]) as client:
        yield client


def test_every_call_works(started: NodeClient) -> None:
    a_day(started)


def test_the_mail_client_sends(started: NodeClient, sink: Sink) -> None:
    answer = started.send(
        {
            "to": "Reader <reader@sink.test>",
            "from": {"email": "ann@example.test", "name": "Ann"},
            "subject": "Grüße",
            "text": "Hallo.",
            "html": "<b>Hallo.</b>",
            "categories": ["orders"],
            "customArgs": {"order": "7"},
            "attachments": [{"content": "SGk=", "filename": "hi.txt", "type": "text/plain"}],
        }
    )
    assert answer.status == 202
    assert answer.headers["x-message-id"]
    eventually(lambda: sink.letters, "the letter at the next hop")
    refused = started.send({"to": "reader@sink.test", "from": "x@elsewhere.test", "subject": "x", "text": "x"})
    assert (refused.status, refused.message[:25]) == (403, "The from address does not")
