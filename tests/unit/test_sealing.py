from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.sealing import MasterKey, MasterKeyUnusable, SealBroken, Sealer, create, load
from sekisho.secret import Secret

OLD = MasterKey(b"old!", Secret(b"o" * 32))
NEW = MasterKey(b"new!", Secret(b"n" * 32))


@given(plain=st.binary(max_size=200), purpose=st.text(max_size=10), row=st.text(max_size=10))
def test_what_is_sealed_opens(plain: bytes, purpose: str, row: str) -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal(Secret(plain), purpose=purpose, row=row)
    assert sealer.open(sealed, purpose=purpose, row=row).reveal() == plain


@given(at=st.integers(min_value=0, max_value=60), bit=st.integers(min_value=0, max_value=7))
def test_no_flipped_bit_goes_unnoticed(at: int, bit: int) -> None:
    sealer = Sealer([OLD])
    sealed = bytearray(sealer.seal(Secret(b"x" * 28), purpose="p", row="1"))
    assert len(sealed) == 61
    sealed[at] ^= 1 << bit
    with pytest.raises(SealBroken):
        sealer.open(bytes(sealed), purpose="p", row="1")


@pytest.mark.parametrize(("purpose", "row"), [("q", "1"), ("p", "2"), ("p\x001", ""), ("", "p\x001")])
def test_a_sealed_value_opens_in_its_own_row_only(purpose: str, row: str) -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal(Secret(b"x"), purpose="p", row="1")
    with pytest.raises(SealBroken):
        sealer.open(sealed, purpose=purpose, row=row)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01old!", b"\x01old!" + b"x" * 27, b"\x02old!" + b"x" * 40])
def test_what_we_did_not_seal_is_refused(sealed: bytes) -> None:
    with pytest.raises(SealBroken):
        Sealer([OLD]).open(sealed, purpose="p", row="1")


def test_after_a_rotation_old_seals_open_and_new_ones_are_made_with_the_new_key() -> None:
    before = Sealer([OLD]).seal(Secret(b"x"), purpose="p", row="1")
    both = Sealer([NEW, OLD])
    assert both.open(before, purpose="p", row="1").reveal() == b"x"
    after = both.seal(Secret(b"x"), purpose="p", row="1")
    assert Sealer([NEW]).open(after, purpose="p", row="1").reveal() == b"x"
    with pytest.raises(SealBroken, match="6f6c6421"):  # names the key that is missing
        Sealer([NEW]).open(before, purpose="p", row="1")


def test_derived_keys_differ_by_purpose_and_by_master_key_and_are_stable() -> None:
    sealer = Sealer([NEW, OLD])
    assert sealer.derive("verp").reveal() == Sealer([NEW]).derive("verp").reveal()
    assert len(sealer.derive("verp").reveal()) == 32
    assert sealer.derive("verp") != sealer.derive("links")


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    first = load(path, make=True)
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    create(path)  # who loses the race keeps the winner's
    assert path.read_bytes() == content
    sealed = first.seal(Secret(b"x"), purpose="p", row="1")
    assert load(path, make=True).open(sealed, purpose="p", row="1").reveal() == b"x"
    assert [entry.name for entry in tmp_path.iterdir()] == ["master.key"]


def test_a_configured_file_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyUnusable, match=r"missing\.key"):
        load(tmp_path / "missing.key", make=False)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_a_clear_fault(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyUnusable, match="cannot be made"):
        load(tmp_path / "nowhere" / "master.key", make=True)


@pytest.mark.parametrize(
    ("mode", "usable"), [(0o600, True), (0o400, True), (0o640, True), (0o644, False), (0o660, False)]
)
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int, usable: bool) -> None:
    path = tmp_path / "master.key"
    create(path)
    path.chmod(mode)
    if usable:
        load(path, make=False)
    else:
        with pytest.raises(MasterKeyUnusable, match="chmod 600"):
            load(path, make=False)


KEY = "d5d0c0ff 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.parametrize(
    ("content", "usable"),
    [
        (KEY, True),
        (f"# note\n\n{KEY}\n", True),
        (f"{KEY}\n{KEY.replace('d5', 'd6', 1)}\n", True),
        (f"{KEY}\n{KEY}", False),
        ("", False),
        ("# only a note", False),
        (KEY[:-2], False),
        (KEY.replace(" ", ""), False),
        (KEY.replace("d5d0", "d5"), False),
        (f"{KEY} more", False),
        ("é", False),
        ("#" * 20_000, False),
    ],
)
def test_key_files_are_read_strictly(tmp_path: Path, content: str, usable: bool) -> None:
    path = tmp_path / "master.key"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    if usable:
        load(path, make=False)
    else:
        with pytest.raises(MasterKeyUnusable, match="not a master key file"):
            load(path, make=False)


def test_nothing_shows_a_key() -> None:
    assert "n" * 8 not in repr(NEW) + repr(Sealer([NEW])) + repr(Sealer([NEW]).derive("verp"))
