"""Started as root, only the supervisor stays root; what is done as root leaves nothing that the workers cannot use."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.relay import letter
from tests.acceptance.site import Seed, Site
from tests.fakes.sink import Sink

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to drop")

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def shared_site(seed: Seed, sink: Sink) -> Iterator[Site]:
    """A site that another user can reach, which pytest's own temporary directories do not allow."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-test-"))
    folder.chmod(0o755)
    site = Site(folder, seed, sink.port, server='user = "nobody"')
    for path in (site.data, *site.data.rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    yield site
    shutil.rmtree(folder)


def ids(pid: int) -> dict[str, set[int]]:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status)
    return {name: set(map(int, fields[name].split())) for name in ("Uid", "Gid", "Groups")}


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_workers_drop_root_and_deliver_all_the_same(shared_site: Site, sink: Sink) -> None:
    site = shared_site
    with site.relay() as relay:
        assert ids(relay.pid)["Uid"] == {0}
        assert relay.workers
        assert relay.signers
        for pid in relay.workers + relay.signers:
            held = ids(pid)
            assert held["Uid"] == {NOBODY.pw_uid}
            assert held["Gid"] == {NOBODY.pw_gid}
            assert 0 not in held["Groups"]
        relay.send(site.key, letter(1, filler=300_000))
        sink.wait_for(1)
        key = site.run("key", "create", "--account", "acme", "--name", "made by root")["api_key"]
        relay.send(key, letter(2))
        sink.wait_for(2)
        assert relay.stop() == 0
    assert owners(site.data) == {NOBODY.pw_uid}


def test_commands_as_root_before_the_first_start_leave_files_of_the_owner(seed: Seed) -> None:
    folder = Path(tempfile.mkdtemp(prefix="sekisho-test-"))
    try:
        folder.chmod(0o755)
        shutil.copytree(seed.data, folder / "seed")
        site = Site(
            folder, Seed(folder / "seed", seed.api_key, seed.key_id, seed.certificate), 1, server='user = "nobody"'
        )
        shutil.rmtree(site.data)
        site.run("account", "create", "first", "--owner", "owner@example.test")
        site.run("domain", "add", "first.test", "--account", "first")
        assert owners(site.data) == {NOBODY.pw_uid}
        assert site.data.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(folder)
