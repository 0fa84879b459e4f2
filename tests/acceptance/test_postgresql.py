"""Control data and events on a PostgreSQL server: the first start, everyday, and its loss while mail flows."""

from __future__ import annotations

import contextlib
import os
import pwd
import smtplib
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sekisho import accounts, db, sealing
from sekisho.apikeys import actions as apikeys
from sekisho.audit import By
from sekisho.db import Database, History, Postgres
from sekisho.domains import Relay as Names
from sekisho.domains import actions as claims
from sekisho.doors.cli.acting import done
from sekisho.doors.cli.common import now_ms
from sekisho.identity import KeyPolicy
from sekisho.secret import Secret
from tests.acceptance.relay import Relay, eventually, letter, run, submit
from tests.acceptance.site import Seed, Site
from tests.fakes.databases import url
from tests.fakes.postgresql import Postgresql, behind_a_proxy
from tests.fakes.sink import Sink
from tests.fakes.tcpproxy import TcpProxy

PASSWORD = "open-sesame"
"""In the URL; the server of the tests believes everybody."""


@dataclass(frozen=True)
class Behind:
    """An empty database, and how the site under test reaches it."""

    place: Postgres
    proxy: TcpProxy
    url: str


@pytest.fixture
def behind(postgresql: Postgresql) -> Iterator[Behind]:
    with postgresql.database() as place, behind_a_proxy(place) as (proxy, reached):
        yield Behind(place, proxy, url(replace(reached, password=reached.password or Secret(PASSWORD))))


@pytest.fixture
def proxy(behind: Behind) -> TcpProxy:
    return behind.proxy


@pytest.fixture
def site(seed: Seed, sink: Sink, tmp_path: Path, behind: Behind) -> Site:
    """A site whose control data and events are on the server; there is no schema yet."""
    made = Site(
        tmp_path,
        seed,
        sink.port,
        tables=f'[storage]\nurl = "{behind.url}"\n',
        delivery='retry_first = "1s"\nretry_max = "1s"',
    )
    for file in (*made.data.glob("control.db*"), *made.data.glob("events.db*")):
        file.unlink()
    return made


def settle(site: Site, behind: Behind) -> str:
    """Do as the commands do, without the wait for each: schema, account, domain and key. Gives the key."""
    by = By("operator:test", now_ms())
    for history in History:
        with contextlib.closing(Database(behind.place.of(history))) as database:
            db.upgrade(database, history)
    sealer, relay = sealing.load(site.data / "master.key", make=False), Names("relay.test")
    with contextlib.closing(Database(behind.place)) as control, control.begin() as tx:
        owner = done(accounts.create_account(tx, name="acme", owner_email="owner@example.test", by=by))
        keys = claims.make_keys()
        claim = done(claims.add(tx, owner, "example.test", keys, relay=relay, sealer=sealer, by=by))
        done(claims.override(tx, claim, relay=relay, by=by))
        issued = done(apikeys.issue(tx, owner, apikeys.Wish("first", KeyPolicy()), by=by))
    return issued.text.reveal().decode()


def waiting_in_outbox(site: Site) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{site.data}/spool/spool.db?mode=ro", uri=True)) as spool:
        found: int = spool.execute("SELECT count(*) FROM outbox").fetchone()[0]
        return found


def readiness(relay: Relay) -> int:
    try:
        with urllib.request.urlopen(f"{relay.ready['http']}/readyz", timeout=30) as answer:  # noqa: S310  # http
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_server_without_the_schema_is_told_to_be_upgraded_by_hand(site: Site) -> None:
    for command in (("serve",), ("account", "create", "acme", "--owner", "owner@example.test")):
        refused = run(*command, "--config", site.config, status=1)
        assert "sekisho db upgrade" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert "sekisho db upgrade" in run("check", "--config", site.config, status=1).stdout
    assert site.run("db", "upgrade") == {"upgraded": ["control", "events"]}
    site.run("account", "create", "acme", "--owner", "owner@example.test")
    assert [row["account"] for row in site.run("account", "list")["accounts"]] == ["acme"]
    assert not list(site.data.glob("*.db"))


def test_a_server_that_is_not_there_is_a_clear_error(site: Site, proxy: TcpProxy) -> None:
    proxy.cut()
    refused = run("serve", "--config", site.config, status=1)
    assert "connection" in refused.stderr
    assert refused.stderr.count("\n") == 1
    checked = run("check", "--config", site.config, "--json", status=1)
    assert '"check": "control database", "status": "failed"' in checked.stdout
    assert PASSWORD not in refused.stderr + checked.stdout + checked.stderr


@pytest.mark.parametrize("loss", ["cut", pytest.param("mute", marks=pytest.mark.slow)])
def test_the_loss_of_the_database_stops_accepting_and_nothing_else(
    site: Site, sink: Sink, behind: Behind, loss: str
) -> None:
    key, proxy = settle(site, behind), behind.proxy
    sink.answer = lambda verb, _: "451 4.7.1 Not yet" if verb == "RCPT" else None
    with site.relay() as relay, contextlib.closing(relay.client(key)) as open_session:
        sent = [submit(open_session, letter(number), "reader@sink.test") for number in range(3)]
        eventually(lambda: all(row["attempts"] for row in site.queue()), "an attempt of each")
        eventually(lambda: waiting_in_outbox(site) == 0, "the mover")
        (proxy.cut if loss == "cut" else proxy.mute)()

        # Accepting ends within the bound, with answers that mean: later.
        answers = eventually(lambda: [said for said in (open_session.noop(),) if said[0] != 250], "421")
        assert answers[0][0] == 421
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            relay.client(key)
        assert refused.value.smtp_code == 454
        assert readiness(relay) == 503

        # What was accepted goes out, and what became of it waits to be told.
        sink.answer = lambda _verb, _argument: None
        sink.wait_for(3)
        eventually(lambda: waiting_in_outbox(site) >= 3, "events in the outbox")

        proxy.restore()
        again = eventually(lambda: logged_in(relay, key), "a login", timeout_s=60)
        assert again is not None
        with contextlib.closing(again):
            sent.append(submit(again, letter(3), "reader@sink.test"))
        sink.wait_for(4)
        eventually(lambda: kinds(site, "delivered") == Counter(sent), "an event of each", timeout_s=60)
        assert kinds(site, "processed") == Counter(sent)
        assert readiness(relay) == 200

        # What another process changes is in force as before.
        with contextlib.closing(relay.client(key)) as last:
            site.run("key", "revoke", key.split(".")[1])
            eventually(lambda: last.noop()[0] == 421, "421")
        assert relay.stop() == 0
        assert not list(site.data.glob("*.db"))
        assert PASSWORD not in relay.log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to drop")
def test_who_gave_up_root_finds_all_that_the_database_s_client_needs(
    seed: Seed, sink: Sink, site: Site, behind: Behind
) -> None:
    """The interpreter and its library may be closed to the other user: nothing can be imported late."""
    key, nobody = settle(site, behind), pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="sekisho-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shared = Site(folder, seed, sink.port, server='user = "nobody"', tables=site.tables)
        for path in (shared.data, *shared.data.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        with shared.relay() as relay:
            relay.send(key, letter(1))
            sink.wait_for(1)
            # A command of root's acts as the data directory's owner.
            shared.run("key", "create", "--account", "acme", "--name", "made by root")
            behind.proxy.cut()
            behind.proxy.restore()
            relay.send(key, letter(2))
            eventually(lambda: len(shared.events()) == 4, "both events of both")
        owners = {path.lstat().st_uid for path in (shared.data, *shared.data.rglob("*"))}
        assert owners == {nobody.pw_uid}


def logged_in(relay: Relay, key: str) -> smtplib.SMTP | None:
    try:
        return relay.client(key)
    except smtplib.SMTPAuthenticationError as refused:
        if refused.smtp_code != 454:
            raise
        return None


def kinds(site: Site, kind: str) -> Counter[str]:
    """How often each message has an event of this kind."""
    return Counter(event["message_id"] for event in site.events() if event["event"] == kind)
