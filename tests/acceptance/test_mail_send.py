"""mail/send through a real server, driven by the vendor's own client; and killed in the middle of it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sendgrid import SendGridAPIClient  # type: ignore[import-untyped]
from sendgrid.helpers.mail import (  # type: ignore[import-untyped]
    Attachment,
    Bcc,
    Category,
    Cc,
    CustomArg,
    Disposition,
    FileContent,
    FileName,
    FileType,
    Header,
    Mail,
    Personalization,
    To,
)

from tests.acceptance.relay import Document, Relay, eventually
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


def web(relay: Relay) -> int:
    """The web worker."""
    for pid in relay.workers:
        if "web" in Path(f"/proc/{pid}/comm").read_text():
            return pid
    message = "no web worker"
    raise AssertionError(message)


def a_mail() -> Mail:
    mail = Mail(
        from_email="ann@example.test", subject="Grüße", plain_text_content="Hallo.", html_content="<b>Hallo.</b>"
    )
    for name in ("bob", "eve"):
        personalization = Personalization()
        personalization.add_to(To(f"{name}@sink.test", name.title()))
        personalization.add_custom_arg(CustomArg("order", name))
        if name == "bob":
            personalization.add_cc(Cc("carl@sink.test"))
            personalization.add_bcc(Bcc("secret@sink.test"))
        mail.add_personalization(personalization)
    mail.add_header(Header("X-Shop", "kiosk"))
    mail.add_category(Category("orders"))
    mail.add_attachment(
        Attachment(
            FileContent(base64.b64encode(b"%PDF").decode()),
            FileName("Rechnung März.pdf"),
            FileType("application/pdf"),
            Disposition("attachment"),
        )
    )
    return mail


@pytest.mark.timeout(300)
def test_the_vendors_client_sends_mail(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        client = SendGridAPIClient(site.key, host=relay.ready["http"])
        answer = client.send(a_mail())
        assert (answer.status_code, answer.body) == (202, b"")
        request_id = answer.headers["X-Message-Id"]
        eventually(lambda: len(sink.letters) == 4, "four letters at the next hop")
        events = eventually(lambda: finished(site, 4), "four delivered events")

    assert {one["email"] for one in events} == {f"{name}@sink.test" for name in ("bob", "eve", "carl", "secret")}
    for one in events:
        assert one["sg_message_id"].startswith(f"{request_id}.")
        assert one["category"] == ["orders"]
        assert one["order"] == ("eve" if one["email"].startswith("eve") else "bob")
    for letter in sink.letters:
        assert b"DKIM-Signature:" in letter.data
        assert b"X-Shop: kiosk\r\n" in letter.data
        assert b"secret@" not in letter.data


def finished(site: Site, count: int) -> list[Document]:
    found = [one for one in site.events() if one["event"] == "delivered"]
    return found if len(found) == count else []


@dataclass
class Poster:
    """Clients that post numbered mail all the time and remember what got a 202."""

    port: int
    key: str
    promised: set[int] = field(default_factory=set)
    others: list[int] = field(default_factory=list)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                while not self._stop.is_set():
                    self._post(connection)
            self._stop.wait(0.02)

    def _post(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._next += 1
            number = self._next
        mail = {
            "personalizations": [{"to": [{"email": f"{name}+{number}@sink.test"}]} for name in ("one", "two")],
            "from": {"email": "ann@example.test"},
            "subject": f"Number {number}",
            "headers": {"X-Test-Seq": str(number)},
            # Now and then one for a body file.
            "content": [{"type": "text/plain", "value": "x\n" * (200_000 if number % 7 == 0 else 1000)}],
        }
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request("POST", "/v3/mail/send", json.dumps(mail), headers)
        answer = connection.getresponse()
        answer.read()
        with self._lock:
            if answer.status == 202:
                self.promised.add(number)
            else:
                self.others.append(answer.status)

    def stop(self) -> None:
        self._stop.set()


@pytest.mark.timeout(300)
def test_kill_9_of_the_web_worker_loses_nothing_that_got_a_202(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        poster = Poster(urlsplit(relay.ready["http"]).port or 0, site.key)
        threads = [threading.Thread(target=poster.run) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                before, victim = len(poster.promised), web(relay)
                eventually(lambda before=before: len(poster.promised) >= before + 15, "more mail", timeout_s=60)  # type: ignore[misc]
                os.kill(victim, signal.SIGKILL)
                eventually(lambda victim=victim: victim not in relay.workers, "its end")  # type: ignore[misc]
                eventually(lambda: is_open(poster.port) and len(relay.workers) == 2, "another web worker")
        finally:
            poster.stop()
            for thread in threads:
                thread.join(60)
        eventually(lambda: not site.queue(), "an empty queue", timeout_s=60)

    arrived = {(letter.sequence, to) for letter in sink.letters for to in letter.recipients}
    missing = [
        number
        for number in poster.promised
        for name in ("one", "two")
        if (number, f"{name}+{number}@sink.test") not in arrived
    ]
    assert len(poster.promised) >= 30
    assert not missing
    assert set(poster.others) <= {503}
    # All or none: what came of a request came whole, whatever its client was told.
    for number in {number for number, _ in arrived}:
        assert len({to for seen, to in arrived if seen == number}) == 2


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        return one.recv(100).startswith(b"HTTP/1.1 200")
    return False
