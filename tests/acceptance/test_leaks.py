"""Keys that leak, in a real server: in mail at both doors, reported, tried by a thief."""

from __future__ import annotations

import base64
import contextlib
import json
import smtplib
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.acceptance.relay import Relay, eventually, letter
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


def ask(relay: Relay, method: str, path: str, key: str | None = None, body: object = None) -> tuple[int, Any]:
    """Make one request of the Web API; its status and document."""
    request = urllib.request.Request(  # noqa: S310  # our own server
        relay.ready["http"].replace("localhost", "127.0.0.1") + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"} | ({} if key is None else {"Authorization": f"Bearer {key}"}),
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def notices(relay: Relay, key: str) -> list[tuple[str, str]]:
    status, answer = ask(relay, "GET", "/v3/notices", key)
    assert status == 200, answer
    return [(one["kind"], one["subject"]) for one in answer["result"]]


def refused(relay: Relay, key: str) -> int:
    """Log in with a key that is refused; the code."""
    with pytest.raises(smtplib.SMTPAuthenticationError) as error, contextlib.closing(relay.client(key)):
        pass
    return error.value.smtp_code


def test_mail_that_carries_a_key_is_held_at_both_doors_until_the_operator_releases_it(site: Site, sink: Sink) -> None:
    attached = base64.encodebytes(b"x=1\nSENDGRID_API_KEY=" + site.key.encode() + b"\n").replace(b"\n", b"\r\n")
    with site.relay() as relay:
        over_smtp = relay.send(site.key, letter(1).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + attached)
        large = b"\r\n" + b"0123456789abcdef\r\n" * 30_000 + site.key.encode() + b"\r\n"
        in_a_file = relay.send(site.key, letter(2).partition(b"\r\n\r\n")[0] + b"\r\n" + large)
        mail = {
            "personalizations": [{"to": [{"email": "a@sink.test"}]}, {"to": [{"email": "b@sink.test"}]}],
            "from": {"email": "ann@example.test"},
            "subject": "settings",
            "content": [{"type": "text/html", "value": f"<p>鍵は {site.key} です</p>"}],
        }
        assert ask(relay, "POST", "/v3/mail/send", site.key, mail)[0] == 202
        relay.send(site.key, letter(3))
        sink.wait_for(1)
        assert b"X-Test-Seq: 3" in sink.letters[0].data
        rows = site.queue()
        assert [row["state"] for row in rows] == ["held"] * 4
        told = notices(relay, site.key)
        assert [kind for kind, _ in told] == ["message.held"] * 3
        assert {over_smtp, in_a_file} < {subject for _, subject in told}
        # The key itself works on, and nothing of its text stands in what people read.
        assert site.key not in relay.log.read_text()
        for subject in {subject for _, subject in told}:
            site.run("queue", "release", subject)
        sink.wait_for(5)


def test_a_key_that_was_reported_opens_nothing_until_it_is_released(site: Site) -> None:
    other = site.run("key", "create", "--account", "acme", "--name", "other")["api_key"]
    with site.relay() as relay:
        nobodys = other[:-3] + "___"
        answers = [ask(relay, "POST", "/leaked-key", body={"api_key": text}) for text in (nobodys, site.key)]
        assert answers[0] == answers[1]
        assert answers[0][0] == 202
        eventually(lambda: ask(relay, "GET", "/v3/scopes", site.key)[0] == 403, "the key is held")
        assert refused(relay, site.key) == 451
        assert notices(relay, other) == [("key.held", site.seed.key_id)]
        shown = ask(relay, "GET", f"/v3/api_keys/{site.seed.key_id}", other)[1]
        assert (shown["state"], shown["last_used_ip"]) == ("held", None)
        site.run("key", "release", site.seed.key_id)
        eventually(lambda: ask(relay, "GET", "/v3/scopes", site.key)[0] == 200, "the key works again")
        shown = eventually(
            lambda: [
                one
                for one in (ask(relay, "GET", f"/v3/api_keys/{site.seed.key_id}", other)[1],)
                if one["last_used_ip"] is not None
            ],
            "its use is known",
        )[0]
        assert (shown["state"], shown["last_used_ip"]) == ("active", "127.0.0.1")


def test_a_thief_who_tries_a_canary_is_answered_as_ever_and_told_of(site: Site) -> None:
    made = site.run("key", "create", "--account", "acme", "--name", "in the wiki", "--canary")
    with site.relay() as relay:
        assert refused(relay, made["api_key"]) == 535
        assert ask(relay, "GET", "/v3/scopes", made["api_key"])[0] == 401
        eventually(lambda: notices(relay, site.key) == [("key.canary_used", made["api_key_id"])], "the owner is told")
        lines = eventually(
            lambda: [line for line in relay.log_lines() if line["event"] == "key.canary_used"][1:], "a line per door"
        )
        assert lines[0]["address"] == "127.0.0.1"


def test_the_owner_gets_it_by_mail_signed(site: Site, sink: Sink) -> None:
    site.server = 'notices_from = "alerts@example.test"'
    site.write()
    canary = site.run("key", "create", "--account", "acme", "--name", "in the wiki", "--canary")["api_key"]
    with site.relay() as relay:
        assert refused(relay, canary) == 535
        sink.wait_for(1)
        (mailed,) = sink.letters
        assert mailed.recipients == ("owner@example.test",)
        assert b"DKIM-Signature:" in mailed.data
        assert b"From: Sekisho <alerts@example.test>\r\n" in mailed.data
        assert b"Subject: A canary key was tried (acme)\r\n" in mailed.data
        assert canary.encode() not in mailed.data
