from __future__ import annotations

import sqlalchemy as sa

from sekisho.accounts import find_account
from sekisho.factors.tables import passkey, recovery_code
from sekisho.sessions.tables import session
from sekisho.users import User
from tests.fakes.control import NOW_MS, audited
from tests.fakes.people import a_teammate, an_owner
from tests.unit.doors.cli.command import CommandLine


def two_people(sekisho: CommandLine) -> tuple[User, User]:
    """Make an owner and a teammate who has a passkey."""
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    with sekisho.control.begin() as tx:
        acme = find_account(tx, "acme")
        assert acme is not None
        owner, mate = an_owner(tx, acme), a_teammate(tx, acme)
        tx.execute(
            sa.insert(passkey).values(
                user_id=mate.id,
                credential_id=b"c",
                public_key=b"k",
                sign_count=0,
                name="phone",
                backed_up=False,
                transports="",
                created_ms=NOW_MS,
            )
        )
        tx.execute(
            sa.insert(session).values(
                digest=b"s",
                user_id=mate.id,
                stage="full",
                method="passkey",
                created_ms=NOW_MS,
                seen_ms=NOW_MS,
                expires_ms=NOW_MS + 1,
                address="192.0.2.1",
                user_agent="",
            )
        )
        tx.execute(sa.insert(recovery_code).values(user_id=mate.id, digest=b"d"))
    return owner, mate


def sessions_of(sekisho: CommandLine, person: User) -> int:
    with sekisho.control.connect() as tx:
        return len(tx.execute(sa.select(session.c.id).where(session.c.user_id == person.id)).all())


def test_everybody_is_listed(sekisho: CommandLine) -> None:
    assert sekisho.json("user", "list") == {"users": []}
    two_people(sekisho)
    olga, tim = sekisho.json("user", "list")["users"]
    assert olga == {
        "account": "acme",
        "username": "olga",
        "email": "olga@example.org",
        "email_proved": True,
        "role": "owner",
        "second_factor": False,
        "created_at": olga["created_at"],
    }
    assert olga["created_at"].endswith("Z")
    assert (tim["username"], tim["role"], tim["second_factor"]) == ("tim", "teammate", True)
    assert "tim@example.org" in sekisho.text("user", "list")


def test_one_is_shown_by_address_or_user_name(sekisho: CommandLine) -> None:
    two_people(sekisho)
    shown = sekisho.json("user", "show", "Tim@example.org")
    assert shown == sekisho.json("user", "show", "tim")
    assert shown["scopes"] == ["mail.send", "stats.read"]
    assert (shown["authenticator_app"], shown["passkeys"], shown["recovery_codes_left"]) == (False, 1, 1)
    assert "mail.send, stats.read" in sekisho.text("user", "show", "tim")
    assert sekisho.json("user", "show", "olga")["scopes"] is None
    assert "nobody logs in as 'nobody'" in sekisho.error("user", "show", "nobody")


def test_second_factors_are_taken_away_and_sessions_end(sekisho: CommandLine) -> None:
    _, mate = two_people(sekisho)
    assert sessions_of(sekisho, mate) == 1
    answer = sekisho.json("user", "reset-2fa", "tim@example.org")
    assert answer == {"username": "tim", "email": "tim@example.org", "second_factor": False}
    shown = sekisho.json("user", "show", "tim")
    assert (shown["second_factor"], shown["passkeys"], shown["recovery_codes_left"]) == (False, 0, 0)
    assert sessions_of(sekisho, mate) == 0
    assert ("factor.reset", "tim") in audited(sekisho.control)
    assert "nobody logs in as" in sekisho.error("user", "reset-2fa", "x@example.org")
    assert "no second factor" in sekisho.text("user", "reset-2fa", "tim")
