from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from sekisho.audit import audit, record
from sekisho.audit.chain import Flaw
from sekisho.audit.keeper import HeadKeeper
from sekisho.audit.signed import BadHead, Signer
from sekisho.audit.verifying import FINDINGS_MAX, Verdict, verify_log
from sekisho.db import Database
from tests.fakes.control import BY, SEALER

SIGNER = Signer(SEALER)


def written(control: Database, chain: int, count: int) -> None:
    with control.begin() as tx:
        for number in range(count):
            record(tx, by=BY, action="key.create", account_id=chain, subject=f"k{number}")


def verified(control: Database, chain: int, heads: Path) -> Verdict:
    with control.connect() as tx:
        return verify_log(tx, chain, heads, SIGNER.public_key)


def test_a_log_as_it_was_written_is_counted_and_has_no_flaw(control: Database, tmp_path: Path) -> None:
    written(control, 7, 3)
    assert verified(control, 7, tmp_path / "heads") == Verdict(3, 0, 0, [], SIGNER.public_key)
    HeadKeeper(control, SIGNER, tmp_path / "heads").keep()
    written(control, 7, 2)
    written(control, 8, 1)
    assert verified(control, 7, tmp_path / "heads") == Verdict(5, 1, 3, [], SIGNER.public_key)
    assert verified(control, 9, tmp_path / "heads") == Verdict(0, 0, 0, [], SIGNER.public_key)


def test_what_was_cut_off_is_missed_because_a_head_was_signed(control: Database, tmp_path: Path) -> None:
    written(control, 7, 3)
    HeadKeeper(control, SIGNER, tmp_path / "heads").keep()
    with control.begin() as tx:
        tx.execute(sa.delete(audit))
        tx.execute(sa.text("DELETE FROM audit_chain"))
    assert [(one.flaw, one.seq) for one in verified(control, 7, tmp_path / "heads").findings] == [(Flaw.CUT, 1)]


def test_the_findings_of_a_log_written_over_are_bounded(control: Database, tmp_path: Path) -> None:
    written(control, 7, FINDINGS_MAX + 20)
    with control.begin() as tx:
        tx.execute(sa.update(audit).values(action="nothing.happened"))
    assert len(verified(control, 7, tmp_path / "heads").findings) == FINDINGS_MAX


def test_a_file_that_holds_no_heads_vouches_for_nothing(control: Database, tmp_path: Path) -> None:
    (tmp_path / "heads").write_bytes(b"nothing\n")
    with pytest.raises(BadHead):
        verified(control, 7, tmp_path / "heads")
