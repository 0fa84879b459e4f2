from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from sekisho import notices
from sekisho.accounts import Account
from sekisho.apikeys.actions import Issued, revoke
from sekisho.apikeys.model import new_text
from sekisho.apikeys.tables import find_key
from sekisho.db import Database, DatabaseUnavailable
from sekisho.identity import Identity
from sekisho.leaks import scan
from sekisho.leaks import screening as screening_module
from sekisho.leaks.screening import TOLD_MAX, Screening
from tests.fakes.control import BY, NO_LIMITS, NOW_MS, a_key, a_subuser, an_account
from tests.fakes.databases import out_of_reach

HEADER = b"From: a@example.com\r\nSubject: settings\r\n"


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def screening(control: Database, threads: ThreadPoolExecutor) -> Screening:
    return Screening(control, threads)


def identity_of(key: Issued) -> Identity:
    return Identity(key.key.account_id, key.key.subuser_id, key.key.id, frozenset(), NO_LIMITS)


def told(control: Database, owner: Account) -> list[tuple[str, str]]:
    with control.connect() as tx:
        return [(one.kind, one.subject) for one in notices.listing(tx, owner.id, limit=9)]


def is_held(control: Database, key: Issued) -> bool:
    with control.connect() as tx:
        found = find_key(tx, key.key.id)
    assert found is not None
    return found.hold is not None


@pytest.mark.parametrize("place", ["header", "body", "base64", "file", "said"])
async def test_a_key_in_force_is_found_wherever_it_stands(
    control: Database, screening: Screening, tmp_path: Path, place: str
) -> None:
    with control.begin() as tx:
        key = a_key(tx, an_account(tx))
    text = key.text.reveal()
    header, body, said = HEADER, b"Hello.\r\n", ["a", "b"]
    path = tmp_path / "body"
    match place:
        case "header":
            header += b"X-Key: " + text + b"\r\n"
        case "body":
            body += text
        case "base64":
            body += base64.encodebytes(b"12" + text).replace(b"\n", b"\r\n")
        case "said":
            said.append(text.decode())
    path.write_bytes(b"a" * 300_000 + text)
    found = await screening.keys_in([HEADER, header], path if place == "file" else body, said)
    assert [one.id for one in found] == [key.key.id]


@pytest.mark.parametrize("place", ["header", "said"])
async def test_much_is_looked_through_beside_the_loop(
    control: Database, screening: Screening, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    on: list[str] = []

    def looked(content: bytes) -> tuple[bytes, ...]:
        on.append(threading.current_thread().name)
        return scan.candidates_in_header(content)

    monkeypatch.setattr(screening_module, "candidates_in_header", looked)
    with control.begin() as tx:
        key = a_key(tx, an_account(tx))
    text = key.text.reveal()
    blocks = [HEADER + b"X-Much: " + b"a" * 8000 + b"\r\n"] * 20
    if place == "header":
        blocks.append(b"X-Key: " + text + b"\r\n")
    found = await screening.keys_in(blocks, b"", [text.decode()] if place == "said" else [])
    assert [one.id for one in found] == [key.key.id]
    # Once for all: a request of a thousand messages must not cost a thousand times what one does.
    assert len(on) == 1
    assert on[0] != threading.current_thread().name


async def test_texts_that_open_nothing_are_of_no_interest(control: Database, screening: Screening) -> None:
    with control.begin() as tx:
        key = a_key(tx, an_account(tx))
        revoke(tx, key.key.id, compromised=False, by=BY)
    assert await screening.keys_in([HEADER], b" ".join([new_text().reveal(), key.text.reveal()]), []) == ()


async def test_nothing_is_read_for_mail_without_such_a_text(control: Database, screening: Screening) -> None:
    with out_of_reach(control):
        assert await screening.keys_in([HEADER], b"Hello.\r\n", []) == ()
        with pytest.raises(DatabaseUnavailable):
            await screening.keys_in([HEADER], new_text().reveal(), [])


async def test_a_key_of_the_senders_own_account_works_on_and_its_owner_is_told(
    control: Database, screening: Screening
) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        shop, other = a_subuser(tx, acme), a_subuser(tx, acme, "other")
        mine, theirs = a_key(tx, shop), a_key(tx, other)
    await screening.tell(identity_of(mine), "m1", [mine.key, theirs.key], at_ms=NOW_MS)
    assert told(control, shop) == [("message.held", "m1")]
    assert told(control, other) == [("message.held", theirs.key.id)]
    assert not is_held(control, mine)
    assert not is_held(control, theirs)
    with control.connect() as tx:
        texts = tx.execute(sa.select(notices.notice.c.text)).scalars().all()
        [of_other] = notices.listing(tx, other.id, limit=9)
    assert all(theirs.key.id in text for text in texts)
    assert not [text for text in texts if theirs.text.reveal().decode() in text]
    # Subusers learn nothing of each other.
    assert mine.key.id not in of_other.text
    assert "m1" not in of_other.text


async def test_a_program_in_a_loop_is_told_of_in_part_and_a_strangers_key_is_held_all_the_same(
    control: Database, screening: Screening
) -> None:
    with control.begin() as tx:
        acme, stranger = an_account(tx), an_account(tx, "stranger")
        mine, theirs = a_key(tx, acme), a_key(tx, stranger)
    for number in range(TOLD_MAX + 5):
        await screening.tell(identity_of(mine), f"m{number}", [mine.key], at_ms=NOW_MS)
    with control.connect() as tx:
        assert len(notices.listing(tx, acme.id, limit=99)) == TOLD_MAX
    await screening.tell(identity_of(mine), "another", [theirs.key], at_ms=NOW_MS)
    assert is_held(control, theirs)
    await screening.tell(identity_of(mine), "later", [mine.key], at_ms=NOW_MS + 60_000)
    with control.connect() as tx:
        assert [one.subject for one in notices.listing(tx, acme.id, limit=2)] == ["later", "another"]


async def test_a_strangers_key_is_held_and_the_two_learn_nothing_of_each_other(
    control: Database, screening: Screening
) -> None:
    with control.begin() as tx:
        acme, stranger = an_account(tx), an_account(tx, "stranger")
        mine, theirs = a_key(tx, acme), a_key(tx, stranger)
    await screening.tell(identity_of(mine), "m1", [theirs.key], at_ms=NOW_MS)
    assert told(control, acme) == [("message.held", "m1")]
    assert told(control, stranger) == [("key.held", theirs.key.id)]
    assert is_held(control, theirs)
    assert not is_held(control, mine)
    with control.connect() as tx:
        [notice] = notices.listing(tx, stranger.id, limit=9)
        [mine_too] = notices.listing(tx, acme.id, limit=9)
    assert "acme" not in notice.text
    assert mine.key.id not in notice.text
    assert "stranger" not in mine_too.text


async def test_who_cannot_be_told_now_is_told_to_the_operator(control: Database, screening: Screening) -> None:
    with control.begin() as tx:
        key = a_key(tx, an_account(tx))
    with out_of_reach(control), capture_logs() as logs:
        await screening.tell(identity_of(key), "m1", [key.key], at_ms=NOW_MS)
    assert [(line["event"], line["message"]) for line in logs] == [("leak.not_told", "m1")]
