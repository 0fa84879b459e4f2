from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.service import datadir
from sekisho.service.datadir import DataDir, DataDirProblem

ROLES = ("relay", "web")

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes directories for others")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sekisho-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_it_is_made_with_its_parents_and_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = datadir.prepare(tmp_path / "a" / "b", "")
    finally:
        os.umask(before)
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert datadir.prepare(tmp_path / "a" / "b", "") == made


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirProblem, match="cannot be used as data directory"):
        datadir.prepare(tmp_path / "file", "")
    with pytest.raises(DataDirProblem, match="cannot be used as data directory"):
        datadir.prepare(tmp_path / "file" / "below", "")


def test_a_user_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDirProblem, match=r"server.user: there is no user 'nobody-at-all'"):
        datadir.prepare(tmp_path / "data", "nobody-at-all")


@only_root
def test_root_makes_it_for_the_user(open_folder: Path) -> None:
    made = datadir.prepare(open_folder / "data", "nobody")
    assert made.owner().name == "nobody"
    # An empty one that root made by hand is handed over, too.
    (open_folder / "other").mkdir()
    assert datadir.prepare(open_folder / "other", "nobody").owner().name == "nobody"


@only_root
def test_one_in_use_by_another_user_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "control.db").touch()
    with pytest.raises(DataDirProblem, match=r"belongs to 'root', but server.user is 'nobody'"):
        datadir.prepare(tmp_path, "nobody")


def run(code: str, *arguments: str) -> str:
    script = f"import os, sys\nfrom pathlib import Path\nfrom sekisho.service import datadir\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    return done.stdout.strip()


@only_root
def test_commands_of_root_go_on_as_the_owner(open_folder: Path) -> None:
    data = datadir.prepare(open_folder / "data", "nobody")
    nobody = pwd.getpwnam("nobody")
    code = """
datadir.become_owner(datadir.DataDir(Path(sys.argv[1])), server=False)
print(os.getresuid(), os.getresgid(), os.getgroups())
"""
    assert run(code, str(data.path)) == f"{(nobody.pw_uid,) * 3} {(nobody.pw_gid,) * 3} [{nobody.pw_gid}]"


@only_root
def test_somebody_else_s_is_refused(open_folder: Path) -> None:
    datadir.prepare(open_folder / "data", "daemon")
    code = """
os.setresuid(65534, 65534, 65534)
try:
    datadir.prepare(Path(sys.argv[1]), "")
except datadir.DataDirProblem as problem:
    print(problem)
"""
    said = run(code, str(open_folder / "data"))
    assert "belongs to 'daemon'" in said or "Permission denied" in said


def test_one_server_of_a_kind_at_a_time(tmp_path: Path) -> None:
    here = DataDir(tmp_path)
    first = datadir.lock(here, ROLES)
    assert [datadir.is_locked(here, role) for role in ROLES] == [True, True]
    for roles in (ROLES, ("web",)):
        with pytest.raises(DataDirProblem, match="another server"):
            datadir.lock(here, roles)
    first.release()
    assert not datadir.is_locked(here, "relay")
    datadir.lock(here, ROLES).release()


def test_roles_can_be_apart(tmp_path: Path) -> None:
    relay, web = (datadir.lock(DataDir(tmp_path), (role,)) for role in ROLES)
    relay.release()
    web.release()


def test_workers_that_outlive_their_supervisor_are_waited_for(tmp_path: Path) -> None:
    here = DataDir(tmp_path)
    first = datadir.lock(here, ("relay",))
    # The supervisor's own lock is gone; a worker still has the other.
    first.keep_as_worker()
    with pytest.raises(DataDirProblem, match="another server"):
        datadir.lock(here, ("relay",), wait_s=0)
    for descriptor in first._workers:
        os.close(descriptor)
    datadir.lock(here, ("relay",), wait_s=0).release()


def test_a_lock_is_no_way_to_other_files(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "relay.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataDirProblem, match="cannot be opened"):
        datadir.lock(DataDir(tmp_path), ("relay",))
    (tmp_path / "relay.lock").unlink()
    (tmp_path / "relay.lock").hardlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataDirProblem, match="not a plain file"):
        datadir.lock(DataDir(tmp_path), ("relay",))


def test_refusals_leave_nothing_open(tmp_path: Path) -> None:
    here = DataDir(tmp_path)
    first = datadir.lock(here, ROLES)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DataDirProblem):
        datadir.lock(here, ROLES)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    first.release()
