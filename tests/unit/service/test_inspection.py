from __future__ import annotations

import contextlib
import datetime as dt
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from sekisho import db
from sekisho.ports.dns import Absent, Addresses, NoSuchName, TryLater
from sekisho.service import certificates, datadir, inspection
from sekisho.service.config import Config, Source, parse
from sekisho.service.datadir import DataDir
from sekisho.service.inspection import Finding, Grade
from tests.fakes.databases import url
from tests.fakes.postgresql import Postgresql


def configured(text: str = "") -> Config:
    return parse(Source(text, "", Path("/"), {}, None))


def grades(findings: Iterable[Finding]) -> list[Grade]:
    return [finding.grade for finding in findings]


def test_a_directory_that_is_not_there_yet_is_no_failure(tmp_path: Path) -> None:
    assert grades(inspection.data_directory(tmp_path / "data")) == [Grade.WARNING]


def test_a_directory_open_to_others_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert grades(inspection.data_directory(tmp_path))[0] is Grade.WARNING
    tmp_path.chmod(0o700)
    assert grades(inspection.data_directory(tmp_path))[0] is Grade.OK


def test_a_file_in_its_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert grades(inspection.data_directory(tmp_path / "data"))[0] is Grade.FAILED


def test_sync_is_timed_where_the_data_will_be(tmp_path: Path) -> None:
    found = inspection.disk_sync(tmp_path / "not" / "there" / "yet")
    assert found.grade is not Grade.FAILED
    assert "ms (median of 20) on " in found.detail
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "grade"), [("tmpfs", Grade.WARNING), ("nfs4", Grade.WARNING), ("ext4", Grade.OK)])
def test_a_disk_that_cannot_keep_its_word_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, grade: Grade
) -> None:
    monkeypatch.setattr(inspection, "_file_system", lambda _place: kind)
    monkeypatch.setattr(inspection, "_SYNC_SLOW_S", 1000)
    found = inspection.disk_sync(tmp_path)
    assert (found.grade, kind in found.detail) == (grade, True)


def test_a_port_in_use_fails_unless_it_is_our_own_server_s(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = configured(
            f'[[smtp.listeners]]\naddress = "{address}"\n[[smtp.listeners]]\naddress = "127.0.0.1:0"\n'
            '[http]\naddress = "127.0.0.1:0"'
        )
        directory = DataDir(tmp_path)
        assert grades(inspection.ports(config, directory)) == [Grade.FAILED, Grade.OK, Grade.OK]
        lock = datadir.lock(directory, ("relay",))
        assert grades(inspection.ports(config, directory)) == [Grade.OK, Grade.OK, Grade.OK]
        lock.release()


def write_certificate(folder: Path, name: str, now_ms: int) -> Config:
    chain, key = certificates.make_self_signed((name,), now_ms)
    (folder / "c").write_bytes(chain)
    (folder / "k").write_bytes(key.reveal())
    return configured(
        f'[server]\nhostname = "relay.test"\n[tls]\ncertificate_file = "{folder}/c"\nprivate_key_file = "{folder}/k"'
    )


def test_certificates_fail_when_clients_must_refuse_them_and_else_warn(tmp_path: Path) -> None:
    now_ms, directory = time.time_ns() // 1_000_000, DataDir(tmp_path)
    assert grades(inspection.certificate(configured(), directory)) == [Grade.WARNING]
    config = write_certificate(tmp_path, "relay.test", now_ms)
    assert grades(inspection.certificate(config, directory)) == [Grade.WARNING]
    config = write_certificate(tmp_path, "other.test", now_ms)
    assert grades(inspection.certificate(config, directory)) == [Grade.WARNING, Grade.WARNING]
    config = write_certificate(tmp_path, "relay.test", now_ms - 4000 * 86_400_000)
    assert grades(inspection.certificate(config, directory)) == [Grade.FAILED, Grade.WARNING]
    (tmp_path / "k").unlink()
    assert grades(inspection.certificate(config, directory)) == [Grade.FAILED]


def test_a_master_key_that_was_named_must_be_there(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    assert inspection.master_key(configured(), directory).grade is Grade.OK
    named = configured(f'[storage]\nmaster_key_file = "{tmp_path}/key"')
    assert inspection.master_key(named, directory).grade is Grade.FAILED


def test_databases_are_opened_only_when_they_are_there(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    assert grades(inspection.databases(configured(), directory)) == [Grade.OK, Grade.OK]
    assert list(tmp_path.iterdir()) == []
    directory.control.write_bytes(b"not a database, " * 100)
    assert grades(inspection.databases(configured(), directory)) == [Grade.FAILED, Grade.OK]


def test_a_database_server_must_have_this_release_s_schema(tmp_path: Path, postgresql: Postgresql) -> None:
    directory = DataDir(tmp_path)
    with postgresql.database() as place:
        config = configured(f'[storage]\nurl = "{url(place)}"')
        found = list(inspection.databases(config, directory))
        assert grades(found) == [Grade.FAILED, Grade.FAILED]
        assert "sekisho db upgrade" in found[0].detail
        for history in db.History:
            with contextlib.closing(db.Database(place.of(history))) as database:
                db.upgrade(database, history)
        assert grades(inspection.databases(config, directory)) == [Grade.OK, Grade.OK]
    assert grades(inspection.databases(config, directory)) == [Grade.FAILED, Grade.FAILED]
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_verified_is_a_warning(tmp_path: Path) -> None:
    config = configured('[storage]\nurl = "postgresql://me:s3cret@[::ffff:127.0.0.2]:1/relay"')
    *failed, warned = inspection.databases(config, DataDir(tmp_path))
    assert grades(failed) == [Grade.FAILED, Grade.FAILED]
    assert warned.grade is Grade.WARNING
    assert "verify-full" in warned.detail
    assert not any("s3cret" in finding.detail for finding in (*failed, warned))


def test_the_clock_is_plausible_here() -> None:
    assert inspection.clock().grade is not Grade.FAILED


@pytest.mark.parametrize(
    ("year", "synchronised", "grade"),
    [
        (1970, True, Grade.FAILED),
        (2106, True, Grade.FAILED),
        (2030, True, Grade.OK),
        (2030, False, Grade.WARNING),
        (2030, None, Grade.WARNING),
    ],
)
def test_a_clock_is_judged_by_its_year_and_its_keeper(
    monkeypatch: pytest.MonkeyPatch, year: int, synchronised: bool | None, grade: Grade
) -> None:
    class Frozen(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Frozen:
            return cls(year, 1, 1, tzinfo=tz)

    monkeypatch.setattr(dt, "datetime", Frozen)
    monkeypatch.setattr(inspection, "_is_synchronised", lambda: synchronised)
    assert inspection.clock().grade is grade


class FakeResolver:
    def __init__(self, forward: Addresses | Absent, backward: tuple[str, ...] | Absent) -> None:
        self.forward, self.backward = forward, backward

    async def addresses(self, _name: str) -> Addresses | Absent:
        return self.forward

    async def pointers(self, _address: str) -> tuple[str, ...] | Absent:
        return self.backward


@pytest.mark.parametrize(
    ("forward", "backward", "grade", "words"),
    [
        (Addresses(("192.0.2.1",)), ("relay.test",), Grade.OK, "is relay.test"),
        (Addresses(("192.0.2.1",)), ("other.test",), Grade.WARNING, "points to other.test"),
        (Addresses(("192.0.2.1",)), NoSuchName(), Grade.WARNING, "has no name"),
        (Addresses(("192.0.2.1",)), TryLater("SERVFAIL"), Grade.WARNING, "SERVFAIL"),
        (NoSuchName(), (), Grade.WARNING, "has no address"),
        (TryLater("no answer in time"), (), Grade.WARNING, "no answer in time"),
    ],
)
async def test_the_name_is_looked_at_forward_and_back(
    monkeypatch: pytest.MonkeyPatch,
    forward: Addresses | Absent,
    backward: tuple[str, ...] | Absent,
    grade: Grade,
    words: str,
) -> None:
    monkeypatch.setattr(inspection, "Resolver", lambda *_: FakeResolver(forward, backward))
    found = await inspection.names(configured('[server]\nhostname = "relay.test"'))
    assert found[-1].grade is grade
    assert words in found[-1].detail


async def test_localhost_is_nobody_s_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "Resolver", lambda *_: FakeResolver(NoSuchName(), ()))
    assert grades(await inspection.names(configured('[server]\nhostname = "localhost"'))) == [Grade.OK]


def test_few_descriptors_are_told() -> None:
    few = configured("[smtp]\nmax_connections = 1000000")
    assert inspection.descriptors(few).grade in {Grade.OK, Grade.WARNING}
    assert inspection.descriptors(configured("[smtp]\nmax_connections = 1")).grade is Grade.OK
