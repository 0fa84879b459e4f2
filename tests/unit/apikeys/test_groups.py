from __future__ import annotations

from collections import Counter

from sekisho.apikeys.groups import GROUPS
from sekisho.apikeys.scopes import FULL_ACCESS


def test_every_scope_is_in_exactly_one_group() -> None:
    counted = Counter(scope for scopes in GROUPS.values() for scope in scopes)
    assert counted == Counter(FULL_ACCESS)
    assert all(GROUPS.values())
