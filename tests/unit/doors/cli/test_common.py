from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from sekisho.db import DatabaseUnavailable
from sekisho.doors.cli.common import DEV_CONFIG, CommandError, emit, load_config, open_site, operator, table
from sekisho.service.config import ConfigError


def test_a_site_is_made_when_it_is_not_there(tmp_path: Path) -> None:
    with open_site(None, tmp_path / "data") as site, site.control.connect() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM account").scalar() == 0
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert [history.value for history in site.upgraded] == ["control", "events"]
    assert site.master_key_file == tmp_path / "data" / "master.key"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a directory that cannot be read")
def test_what_the_world_does_to_a_database_is_the_command_s_error(tmp_path: Path) -> None:
    def fail() -> None:
        message = "locked"
        raise DatabaseUnavailable(message)

    with pytest.raises(CommandError, match="locked"), open_site(None, tmp_path / "data"):
        fail()


def test_a_directory_of_dev_brings_its_configuration(tmp_path: Path) -> None:
    (tmp_path / DEV_CONFIG).write_text('[server]\nhostname = "localhost"\n')
    assert load_config(None, tmp_path).server.hostname == "localhost"
    assert load_config(None, tmp_path).server.data_dir == tmp_path
    file = tmp_path / "other.toml"
    file.write_text('[server]\nhostname = "relay.test"\n')
    assert load_config(file, tmp_path).server.hostname == "relay.test"


def test_commands_need_no_password_of_a_smart_host(tmp_path: Path) -> None:
    file = tmp_path / "sekisho.toml"
    file.write_text('[[delivery.routes]]\ndomain = "*"\nhost = "a.test"\nusername = "u"\npassword_file = "gone"\n')
    assert load_config(file, tmp_path).delivery.routes[0].password is None
    with pytest.raises(ConfigError):
        load_config(file, tmp_path, read_secrets=True)


def test_an_answer_is_text_or_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": "ü"}, as_json=True, text="never")
    emit({"a": 1}, as_json=False, text=lambda: "words")
    first, second = capsys.readouterr().out.splitlines()
    assert (json.loads(first), second) == ({"a": "ü"}, "words")


def test_a_table_keeps_its_columns_and_the_terminal_s_peace() -> None:
    text = table(("NAME", "ON"), [("long name", True), ("x\x1b[2J\n", None)])
    assert text.splitlines() == ["NAME       ON", "long name  yes", "x�[2J�     -"]


def test_whoever_called_sudo_did_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setenv("USER", "root")
    assert operator() == "ann"
    monkeypatch.delenv("SUDO_USER")
    assert operator() == "root"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
def test_files_made_by_root_are_the_owner_s() -> None:
    with tempfile.TemporaryDirectory(prefix="sekisho-test-") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "sekisho.toml"
        file.write_text('[server]\nuser = "nobody"\ndata_dir = "data"\n')
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with open_site(file, None):
                    status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        data = Path(folder) / "data"
        assert 0 not in {path.stat().st_uid for path in (data, *data.rglob("*"))}
