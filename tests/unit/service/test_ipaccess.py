from __future__ import annotations

from sekisho import ipaccess
from sekisho.db import Database
from sekisho.ipaccess.actions import TRIAL_MS
from sekisho.service.ipaccess import roll_back
from tests.fakes.control import BY, NOW_MS, an_account


def test_a_trial_that_ended_while_nothing_ran_is_rolled_back_at_the_start(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        ipaccess.replace_provisionally(tx, acme.id, ["198.51.100.1"], until_ms=NOW_MS + TRIAL_MS, by=BY)
    assert roll_back(control, NOW_MS + TRIAL_MS - 1) == 0
    assert roll_back(control, NOW_MS + 100 * TRIAL_MS) == 1
    assert roll_back(control, NOW_MS + 100 * TRIAL_MS) == 0
    with control.connect() as tx:
        assert ipaccess.rules_of(tx, acme.id) == ()
