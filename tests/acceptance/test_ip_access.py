"""Lists of addresses in a real server: sessions open meanwhile, both doors, the way back in, trials that end."""

from __future__ import annotations

import base64
import contextlib
import json
import smtplib
import urllib.error
import urllib.request
from typing import Any

from sekisho import accounts, ipaccess
from sekisho.audit import By
from sekisho.db import Database
from tests.acceptance.relay import Relay, eventually, letter, submit
from tests.acceptance.site import Site

OF_ACME = ("--account", "acme")


def ask(relay: Relay, method: str, path: str, key: str, body: object = None) -> tuple[int, Any]:
    """Make one request of the Web API; its status and document."""
    request = urllib.request.Request(  # noqa: S310  # our own server
        relay.ready["http"].replace("localhost", "127.0.0.1") + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30, context=relay.trust()) as answer:  # noqa: S310
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def login(relay: Relay, key: str) -> tuple[int, bytes, bool]:
    """Log in once; the answer, and whether the server hung up behind it."""
    with contextlib.closing(relay.client()) as smtp:
        smtp.ehlo()
        credentials = base64.b64encode(b"\0apikey\0" + key.encode()).decode()
        code, text = smtp.docmd("AUTH", f"PLAIN {credentials}")
        try:
            smtp.noop()
        except smtplib.SMTPServerDisconnected:
            return code, text, True
        return code, text, False


def test_a_list_shuts_open_sessions_and_both_doors_and_the_operator_opens_them(site: Site) -> None:
    with site.relay() as relay, contextlib.closing(relay.client(site.key)) as open_session:
        submit(open_session, letter(1), "reader@sink.test")
        assert ask(relay, "GET", "/v3/scopes", site.key)[0] == 200

        # The caller is asked before it locks itself out, and is not kept from it.
        status, answer = ask(relay, "POST", "/v3/access_settings/whitelist", site.key, {"ips": [{"ip": "192.0.2.7"}]})
        assert (status, "127.0.0.1" in answer["errors"][0]["message"]) == (400, True)
        body = {"ips": [{"ip": "192.0.2.7"}], "confirm": True}
        assert ask(relay, "POST", "/v3/access_settings/whitelist", site.key, body)[0] == 201
        replies = eventually(lambda: [reply for reply in (open_session.noop(),) if reply[0] != 250], "421")
        assert replies[0][0] == 421
        assert eventually(lambda: ask(relay, "GET", "/v3/scopes", site.key)[0] == 403)
        _, answer = ask(relay, "GET", "/v3/scopes", site.key)
        assert answer["errors"] == [{"message": "access forbidden", "field": None, "help": None}]
        assert login(relay, site.key) == (451, b"4.7.1 Authentication failed: Could not authenticate", True)
        assert login(relay, site.key[:-1] + ("A" if site.key[-1] != "A" else "B"))[0] == 535

        assert site.run("ip-access", "clear", *OF_ACME) == {"removed": ["192.0.2.7/32"]}
        eventually(lambda: ask(relay, "GET", "/v3/scopes", site.key)[0] == 200)
        relay.send(site.key, letter(2))

        def kinds() -> set[tuple[str, bool]]:
            _, document = ask(relay, "GET", "/v3/access_settings/activity", site.key)
            assert {row["ip"] for row in document["result"]} <= {"127.0.0.1"}
            return {(row["auth_method"], row["allowed"]) for row in document["result"]}

        wanted = {("SMTP", True), ("SMTP", False), ("API", True), ("API", False)}
        eventually(lambda: kinds() == wanted, "every kind of attempt")
        entries = site.run("audit", "show", *OF_ACME)["entries"]
        assert {one["action"] for one in entries} >= {"access.add", "access.refused", "access.clear"}


def test_a_trial_that_ended_while_the_server_was_down_is_rolled_back_at_its_start(site: Site) -> None:
    with contextlib.closing(Database(site.data / "control.db")) as control:
        with control.begin() as tx:
            acme = accounts.find_account(tx, "acme")
            assert acme is not None
            ipaccess.replace_provisionally(tx, acme.id, ["192.0.2.7"], until_ms=1, by=By("person:test", 1))
        assert site.run("ip-access", "list", *OF_ACME)["addresses"]
        with site.relay() as relay:
            eventually(lambda: not site.run("ip-access", "list", *OF_ACME)["addresses"], "the list before")
            eventually(lambda: ask(relay, "GET", "/v3/scopes", site.key)[0] == 200)
            relay.send(site.key, letter(1))
