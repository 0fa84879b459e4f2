from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho import audit
from sekisho.audit import By
from sekisho.audit.keeper import HeadKeeper, trusted
from sekisho.audit.signed import Signer
from sekisho.db import Database, DatabaseUnavailable
from tests.fakes.control import SEALER
from tests.fakes.databases import out_of_reach

SIGNER = Signer(SEALER)


def write(control: Database, *accounts: int) -> None:
    with control.begin() as tx:
        for account_id in accounts:
            audit.record(tx, by=By("me", 1), action="a.b", account_id=account_id, subject="")


def kept(path: Path) -> list[tuple[int, int]]:
    return [(head.chain, head.seq) for head in trusted(path, SIGNER.public_key)]


def test_only_what_has_grown_is_signed_again_also_after_a_restart(control: Database, tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    keeper = HeadKeeper(control, SIGNER, path, now_ms=lambda: 9)
    write(control, 3, 4, 3)
    assert (keeper.keep(), keeper.keep()) == (2, 0)
    write(control, 4)
    assert HeadKeeper(control, SIGNER, path, now_ms=lambda: 9).keep() == 1
    assert kept(path) == [(3, 2), (4, 1), (4, 2)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_short_spoils_only_itself(control: Database, tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    write(control, 3)
    HeadKeeper(control, SIGNER, path).keep()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    write(control, 3)
    assert HeadKeeper(control, SIGNER, path).keep() == 1
    lines = path.read_bytes().splitlines()
    assert (len(lines), lines[0] + b"\n") == (3, whole)
    assert kept(path) == [(3, 1), (3, 2)]


def test_a_disk_that_takes_less_than_it_is_given_is_given_the_rest(
    control: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "heads.jsonl"
    write(control, 3, 4)
    whole = os.write
    monkeypatch.setattr("sekisho.audit.keeper.os.write", lambda descriptor, view: whole(descriptor, view[:100]))
    assert HeadKeeper(control, SIGNER, path).keep() == 2
    assert kept(path) == [(3, 1), (4, 1)]


def test_nothing_is_taken_for_kept_while_the_database_is_away(control: Database, tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    keeper = HeadKeeper(control, SIGNER, path)
    write(control, 3)
    with out_of_reach(control), pytest.raises(DatabaseUnavailable):
        keeper.keep()
    assert keeper.keep() == 1


def test_the_thread_keeps_at_its_start_and_ends(control: Database, tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    write(control, 3)
    keeper = HeadKeeper(control, SIGNER, path)
    keeper.start()
    while not path.exists() or not path.stat().st_size:
        pass
    keeper.stop()
    assert kept(path) == [(3, 1)]
