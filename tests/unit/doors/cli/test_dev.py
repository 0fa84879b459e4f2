from __future__ import annotations

import contextlib
import ipaddress
import json
from pathlib import Path

import pytest

from sekisho import sealing, signup
from sekisho.audit import By
from sekisho.db import Database, History, upgrade
from sekisho.doors.cli import dev
from sekisho.doors.cli.common import DEV_CONFIG, load_config, now_ms
from sekisho.doors.cli.dev import Seeded
from sekisho.service.config import Config, ConfigError, DeliveryMode, Endpoint, parse
from sekisho.service.datadir import DataDir
from sekisho.service.launch import Announcement
from sekisho.users import User


def configured(data: Path, smtp_port: int, smtps_port: int, http_port: int) -> Config:
    return parse(dev._gather(dev._configuration(smtp_port, smtps_port, http_port), data))


def test_it_binds_loopback_and_captures(tmp_path: Path) -> None:
    config = configured(tmp_path, 2525, 2465, 8080)
    assert config.delivery.mode is DeliveryMode.CAPTURE
    assert config.server.hostname == "localhost"
    assert config.server.data_dir == tmp_path
    assert all(listener.address.address.is_loopback for listener in config.smtp.listeners)
    assert {listener.address.port for listener in config.smtp.listeners} == {2525, 2465}
    assert str(config.http.address) == "127.0.0.1:8080"


def test_ephemeral_ports_are_not_bound_twice(tmp_path: Path) -> None:
    assert [str(one.address) for one in configured(tmp_path, 0, 0, 0).smtp.listeners] == ["127.0.0.1:0"] * 2


def test_the_environment_may_set_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_SMTP__MAX_RECIPIENTS", "7")
    assert configured(tmp_path, 0, 0, 0).smtp.max_recipients == 7


@pytest.mark.parametrize(
    ("variable", "text", "key"),
    [
        ("SEKISHO_DELIVERY__MODE", "mx", "delivery.mode"),
        ("SEKISHO_HTTP__ADDRESS", "192.0.2.1:80", "http.address"),
        ("SEKISHO_HTTP__NOPE", "1", "SEKISHO_HTTP__NOPE"),
    ],
)
def test_the_environment_may_not_make_it_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, key: str
) -> None:
    monkeypatch.setenv(variable, text)
    monkeypatch.setenv("SEKISHO_HTTP__TRUSTED_PROXIES", "10.0.0.0/8")
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, 0, 0, 0)
    assert refused.value.key == key


def announced(data: Path) -> Announcement:
    loopback = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")
    return Announcement(
        config=configured(data, 2525, 2465, 8080),
        directory=DataDir(data),
        owner=None,
        smtp=tuple(
            (Endpoint(address, port), tls)
            for address in loopback
            for port, tls in ((2525, "starttls"), (2465, "implicit"))
        ),
        http="http://localhost:8080",
        ca_file=data / "tls.crt",
    )


@pytest.fixture
def found(tmp_path: Path) -> Announcement:
    database = Database(tmp_path / "control.db")
    upgrade(database, History.CONTROL)
    database.close()
    sealing.load(tmp_path / "master.key", make=True)
    return announced(tmp_path)


def test_the_first_run_makes_account_domain_and_key_and_no_other_does(found: Announcement) -> None:
    key = dev._first_run(found).api_key
    assert key is not None
    assert key.startswith("SG.")
    assert dev._first_run(found).api_key is None
    database = Database(found.directory.control)
    with database.connect() as tx:
        counts = [
            tx.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar()  # noqa: S608 - names of this test
            for name in ("account", "domain", "api_key")
        ]
        assert counts == [1, 1, 1]
        assert tx.exec_driver_sql("SELECT valid, overridden FROM domain").one() == (1, 1)
        assert key not in repr(tx.exec_driver_sql("SELECT * FROM api_key").all())
    database.close()


def test_each_run_gives_a_new_set_up_link_until_the_owner_has_set_up(found: Announcement) -> None:
    first, second = dev._first_run(found).setup_url, dev._first_run(found).setup_url
    assert first is not None
    assert second is not None
    assert second.startswith("http://localhost:8080/setup/")
    by = By("visitor", now_ms())
    database = Database(found.directory.control)
    with contextlib.closing(database):
        for url, is_good in ((first, False), (second, True)):
            with contextlib.suppress(_Undo), database.begin() as tx:
                owner = signup.set_up(tx, url.rpartition("/")[2], password="x", language="en", by=by)
                assert isinstance(owner, User) == is_good
                if not is_good:
                    raise _Undo
    assert dev._first_run(found).setup_url is None


class _Undo(Exception):
    """Ends a transaction."""


def test_the_port_that_was_bound_stands_in_what_commands_find(tmp_path: Path) -> None:
    text = dev._configuration(0, 0, 0, public_url="http://localhost:4711")
    dev._keep_configuration(announced(tmp_path), text)
    config = load_config(None, tmp_path)
    assert config.server.public_url == "http://localhost:4711"
    assert config.server.notices_from == "sekisho@example.test"


def test_the_ready_document_has_the_contract_s_shape(tmp_path: Path) -> None:
    assert json.loads(json.dumps(dev._document(announced(tmp_path), Seeded("SG.x.y", "http://s")))) == {
        "ready": True,
        "smtp": [
            {"address": "127.0.0.1:2525", "tls": "starttls"},
            {"address": "127.0.0.1:2465", "tls": "implicit"},
        ],
        "http": "http://localhost:8080",
        "data_dir": str(tmp_path),
        "api_key": "SG.x.y",
        "setup_url": "http://s",
        "ca_file": str(tmp_path / "tls.crt"),
    }


@pytest.mark.parametrize(("key", "url"), [("SG.x.y", "http://localhost:8080/setup/x"), (None, None)])
def test_people_are_told_what_to_type(tmp_path: Path, key: str | None, url: str | None) -> None:
    found, seeded = announced(tmp_path), Seeded(key, url)
    text = dev._welcome(found, dev._document(found, seeded), seeded)
    assert (url or "http://localhost:8080/login") in text
    assert f"--tls-ca-path {tmp_path}/tls.crt" in text
    assert f'--auth-password "{key or "$API_KEY"}" ' in text
    assert "None" not in text


def test_commands_on_the_same_data_find_the_configuration(tmp_path: Path) -> None:
    dev._keep_configuration(announced(tmp_path), dev._configuration(2525, 2465, 8080))
    assert (tmp_path / DEV_CONFIG).stat().st_mode & 0o077 == 0
    assert load_config(None, tmp_path) == configured(tmp_path, 2525, 2465, 8080)
