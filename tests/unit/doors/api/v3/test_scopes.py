from __future__ import annotations

from tests.fakes.api import ApiDoor
from tests.fakes.control import a_key, a_subuser, an_account


async def test_a_key_reads_its_own_scopes(door: ApiDoor) -> None:
    with door.control.begin() as tx:
        key = a_key(tx, a_subuser(tx, an_account(tx)), scopes=frozenset({"mail.send", "api_keys.read"}))
    answer = await door.ask("GET", "/v3/scopes", key)
    assert (answer.status_code, answer.json()) == (200, {"scopes": ["2fa_required", "api_keys.read", "mail.send"]})
