from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.chain import ERASURE, GENESIS, Finding, Flaw, Head, Link, Personal, commit, hash_of, verify


def chained(count: int, chain: int = 7) -> list[Link]:
    links: list[Link] = []
    previous = GENESIS
    for seq in range(1, count + 1):
        salt, personal = bytes([seq]) * 16, Personal(f"key:{seq}", "192.0.2.1", None)
        link = Link(chain, seq, 1000 + seq, "key.create", "id", "{}", commit(salt, personal), b"", salt, personal)
        previous = hash_of(previous, link)
        links.append(replace(link, hash=previous))
    return links


def flaws(links: list[Link], known: list[Head] | None = None) -> list[tuple[Flaw, int]]:
    return [(one.flaw, one.seq) for one in verify(7, links, known or [])]


def head(link: Link) -> Head:
    return Head(link.chain, link.seq, link.hash)


def test_a_chain_as_it_was_written_has_no_flaw() -> None:
    links = chained(5)
    assert flaws(links, [head(links[1]), head(links[4]), Head(8, 99, b"of another chain")]) == []


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_a_removed_entry_is_a_gap(missing: int) -> None:
    links = chained(5)
    del links[missing]
    assert flaws(links) == [(Flaw.GAP, missing + 1)]


@pytest.mark.parametrize(
    "change",
    [
        {"action": "key.revoke"},
        {"subject": "another"},
        {"details": '{"a":1}'},
        {"at_ms": 0},
        {"commitment": bytes(32), "salt": None, "personal": None},
        {"hash": bytes(32)},
    ],
)
def test_a_changed_entry_is_told(change: dict[str, object]) -> None:
    links = chained(4)
    links[1] = replace(links[1], **change)  # type: ignore[arg-type]
    found = flaws(links)
    assert (Flaw.CHANGED, 2) in found
    assert all(seq in {2, 3} for _, seq in found)


@pytest.mark.parametrize("personal", [Personal("key:other", "192.0.2.1", None), Personal("key:2", None, None)])
def test_a_changed_personal_part_is_told(personal: Personal) -> None:
    links = chained(3)
    links[1] = replace(links[1], personal=personal)
    assert flaws(links) == [(Flaw.PERSONAL_CHANGED, 2)]


def test_an_erased_personal_part_leaves_the_chain_valid() -> None:
    links = chained(3)
    links[2] = replace(links[2], action=ERASURE)
    links[2] = replace(links[2], hash=hash_of(links[1].hash, links[2]))
    links[:2] = [replace(link, salt=None, personal=None) for link in links[:2]]
    assert flaws(links, [head(links[2])]) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_personal_part_that_is_gone_without_a_word_is_told(place: int) -> None:
    links = chained(3)
    links[1] = replace(links[1], action=ERASURE)
    links[1] = replace(links[1], hash=hash_of(links[0].hash, links[1]))
    links[2] = replace(links[2], hash=hash_of(links[1].hash, links[2]))
    links[place] = replace(links[place], salt=None, personal=None)
    # What tells of an erasure has its own, and so has what came behind it.
    assert flaws(links) == ([] if place == 0 else [(Flaw.PERSONAL_REMOVED, place + 1)])


def test_a_cut_tail_is_known_by_a_head() -> None:
    links = chained(5)
    assert flaws(links[:3]) == []
    assert list(verify(7, links[:3], [head(links[4])])) == [
        Finding(Flaw.CUT, 7, 4, "entries 4 to 5 are missing: cut off the end")
    ]


def test_a_chain_that_was_emptied_is_known_by_a_head() -> None:
    assert flaws([], [head(chained(2)[1])]) == [(Flaw.CUT, 1)]


def test_a_chain_written_anew_is_known_by_a_head() -> None:
    before, after = chained(3), chained(3)
    after[0] = replace(after[0], action="nothing.happened")
    previous = GENESIS
    for place, link in enumerate(after):
        previous = hash_of(previous, link)
        after[place] = replace(link, hash=previous)
    assert flaws(after) == []
    assert flaws(after, [head(before[2])]) == [(Flaw.REWRITTEN, 3)]
    # Also when the log's own note of its end, which was written anew too, stands beside.
    assert flaws(after, [head(before[2]), head(after[2])]) == [(Flaw.REWRITTEN, 3)]


@given(count=st.integers(2, 8), data=st.data())
def test_two_entries_cannot_change_places(count: int, data: st.DataObject) -> None:
    links = chained(count)
    first = data.draw(st.integers(0, count - 2))
    links[first], links[first + 1] = (
        replace(links[first + 1], seq=links[first].seq),
        replace(links[first], seq=links[first + 1].seq),
    )
    assert flaws(links)


def test_the_same_personal_part_is_committed_to_differently_each_time() -> None:
    same = Personal("user:me@example.com", "192.0.2.1", None)
    assert commit(b"a" * 16, same) != commit(b"b" * 16, same)
