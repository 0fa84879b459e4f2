"""Mail that carries a key in force: found on the way in, so that it is held, and its owners are told.

The key whose text was found keeps working when message and key are of one account: a program that mails its own
settings is a mistake, to which stopping all mail of that account would be one more. A key of somebody else is another
matter: whoever hands it in has it and should not, so that key is held.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

import structlog

from sekisho import notices
from sekisho.apikeys.model import ApiKey
from sekisho.audit import By
from sekisho.db import Database, DatabaseUnavailable
from sekisho.identity import Identity
from sekisho.ids import AccountId
from sekisho.leaks.freezing import freeze, keys_in_force
from sekisho.leaks.scan import candidates, candidates_in_file, candidates_in_header
from sekisho.notices import Kind

_log = structlog.get_logger(__name__)

AT_ONCE_BYTES: Final = 64 * 1024
"""So much of header fields is looked at on the loop; a request may have a thousand blocks of 8 KiB."""


TOLD_MAX: Final = 10
"""Messages per sender and minute that owners are told of one by one. The rest is held as well and stands in the queue:
a program in a loop must not take the turn of everybody who writes control data."""

_SENDERS_MAX: Final = 1000
_MINUTE_MS: Final = 60_000

WHAT_TO_DO: Final = "Make a new key, and revoke this one."


class Screening:
    """Looks at submissions on their way in; one per process."""

    def __init__(self, database: Database, threads: Executor) -> None:
        """``threads`` read large bodies and control data: of their own, so that logging in never waits for them."""
        self._database: Final = database
        self._threads: Final = threads
        self._told: Final[OrderedDict[AccountId, tuple[int, int]]] = OrderedDict()
        """Sender → minute, and how many messages of it were told of in it."""

    async def keys_in(
        self, header_blocks: Sequence[bytes], body: bytes | Path, said: Sequence[str]
    ) -> tuple[ApiKey, ...]:
        """Find the keys in force whose texts a request carries; ``said`` is what it says beside its messages.

        Raises DatabaseUnavailable and OSError: what may carry a key and cannot be judged is not taken.
        """
        texts = dict.fromkeys(candidates(body) if isinstance(body, bytes) else await self._in_file(body))
        # Together, so that what is looked at is bounded for the request and not for each of its messages.
        header, words = b"".join(header_blocks), "\n".join(said).encode()
        if len(header) + len(words) <= AT_ONCE_BYTES:
            texts |= _around(header, words)
        else:
            texts |= await asyncio.get_running_loop().run_in_executor(self._threads, _around, header, words)
        return await self._in_force(list(texts)) if texts else ()

    async def tell(self, identity: Identity, message: str, keys: Sequence[ApiKey], *, at_ms: int) -> None:
        """Tell owners of a message that is held; ``message`` is its id."""
        # Others' keys are held first of all.
        is_done = all(key.account_id == identity.account_id or key.hold is not None for key in keys)
        if is_done and not self._may_tell(identity.sender_id, at_ms // _MINUTE_MS):
            _log.info("leak.held_too", message=message, account=identity.sender_id)
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, self._tell, identity, message, keys, at_ms)
        except Exception as error:  # noqa: BLE001
            # It is held all the same, and its promise was given: nothing may make the client send it again.
            is_ours = not isinstance(error, DatabaseUnavailable)
            _log.error("leak.not_told", message=message, error=str(error), exc_info=is_ours)

    def _may_tell(self, sender_id: AccountId, minute: int) -> bool:
        of_minute, count = self._told.get(sender_id, (minute, 0))
        count = count + 1 if of_minute == minute else 1
        self._told[sender_id] = (minute, count)
        self._told.move_to_end(sender_id)
        if len(self._told) > _SENDERS_MAX:
            self._told.popitem(last=False)
        return count <= TOLD_MAX

    async def _in_file(self, body: Path) -> tuple[bytes, ...]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, candidates_in_file, body)

    async def _in_force(self, texts: Sequence[bytes]) -> tuple[ApiKey, ...]:
        def read() -> tuple[ApiKey, ...]:
            with self._database.connect() as tx:
                return keys_in_force(tx, texts)

        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    def _tell(self, identity: Identity, message: str, keys: Sequence[ApiKey], at_ms: int) -> None:
        named = " and ".join(key.id for key in keys)
        text = (
            f"Message {message}, handed in with API key {identity.key_id}, is held: it carries the text of API key"
            f" {named}, which is in force. Nothing of it was sent. If it must go out, replace that key and revoke it,"
            f" then ask the operator to release the message (`sekisho queue release {message}`); else to drop it."
        )
        with self._database.begin() as tx:
            notices.tell(tx, identity.sender_id, Kind.MESSAGE_HELD, message, text, at_ms=at_ms)
            for key in keys:
                if key.account_id != identity.account_id:
                    # Not in whose name: that is the other's affair.
                    stranger = By("system:screening", at_ms)
                    freeze(tx, key, "in a message that another account handed in", by=stranger)
                elif (owner_id := key.subuser_id or key.account_id) != identity.sender_id:
                    # Whose message it is, and with which key it came, is not this one's to know.
                    mine = (
                        f"A message of another sender of the account is held: it carries the text of API key {key.id}"
                        f' ("{key.name}"), which is in force, so somebody else has it. {WHAT_TO_DO}'
                    )
                    notices.tell(tx, owner_id, Kind.MESSAGE_HELD, key.id, mine, at_ms=at_ms)


def _around(header: bytes, words: bytes) -> dict[bytes, None]:
    """Look through what comes with a body."""
    return dict.fromkeys((*candidates_in_header(header), *candidates(words)))
