from __future__ import annotations

from sekisho.db import Database
from sekisho.notices.log import FOLD_MS, Kind, tell
from sekisho.notices.outgoing import claim, give_back, is_any
from tests.fakes.control import NOW_MS, an_account


def test_an_owner_gets_one_mail_of_a_kind_in_the_hour(control: Database) -> None:
    with control.begin() as tx:
        acme, other = an_account(tx), an_account(tx, "other")
        for number in range(5):
            tell(tx, acme.id, Kind.MESSAGE_HELD, f"message {number}", f"text {number}", at_ms=NOW_MS)
        tell(tx, acme.id, Kind.KEY_HELD, "key", "of another kind", at_ms=NOW_MS)
        tell(tx, other.id, Kind.MESSAGE_HELD, "message", "of another account", at_ms=NOW_MS)
        found = claim(tx, NOW_MS)
    assert [(one.text, one.more) for one in found] == [
        ("text 0", 4),
        ("of another kind", 0),
        ("of another account", 0),
    ]
    later_ms = NOW_MS + FOLD_MS // 2
    with control.begin() as tx:
        tell(tx, acme.id, Kind.MESSAGE_HELD, "message 9", "text 9", at_ms=later_ms)
        assert not is_any(tx, later_ms)
        assert claim(tx, later_ms) == ()
        assert is_any(tx, NOW_MS + FOLD_MS)
        (one,) = claim(tx, NOW_MS + FOLD_MS)
    assert (one.text, one.more) == ("text 9", 0)


def test_what_was_not_mailed_is_taken_again(control: Database) -> None:
    with control.begin() as tx:
        tell(tx, an_account(tx).id, Kind.KEY_HELD, "key", "text", at_ms=NOW_MS)
        (one,) = claim(tx, NOW_MS)
        assert claim(tx, NOW_MS) == ()
        give_back(tx, one.id)
        assert is_any(tx, NOW_MS)
        assert claim(tx, NOW_MS) == (one,)
