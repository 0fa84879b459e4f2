"""``POST /leaked-key``: whoever has found a key's text has it held. No key is needed: the text is the proof.

Nobody learns whether a text was a key: the answer is the same, and comes at the same times. (Whoever has the text could
simply try it; this door is for people who would rather not.)
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from sekisho.audit import By
from sekisho.doors.api.problems import invalid
from sekisho.doors.http.store import Stored
from sekisho.leaks.freezing import freeze_reported, keys_in_force
from sekisho.leaks.scan import candidates
from sekisho.ports.clock import Clock

_log = structlog.get_logger()

BODY_MAX_BYTES: Final = 64 * 1024

STEP_S: Final = 0.25
"""Answers come this long after the request or a multiple of it, so that their time tells nothing."""


class Report(msgspec.Struct, frozen=True):
    """What is done with a report: the same for every text of the form of a key."""

    message: str


_TAKEN: Final = Report(
    "Thank you. Any of these texts that is a key of ours is held from now on, and its owner is told."
)


@post(
    "/leaked-key",
    status_code=202,
    request_max_body_size=BODY_MAX_BYTES,
    summary="Report the texts of API keys that leaked, and have them held",
)
async def report(
    request: Request[Any, Any, State], store: Stored, clock: NamedDependency[SkipValidation[Clock]]
) -> Report:
    began_s = clock.monotonic()
    texts = candidates(await request.body())
    if not texts:
        raise invalid("no text in the body has the form of an API key (SG., 22 characters, a full stop, 43)", "api_key")
    address = str(request.scope["state"]["address"])
    by = By("system:leaked-key", clock.now_ms(), address)
    # Strangers must not take the turn of those who write for texts that are no keys.
    is_any = await store.read(lambda tx: bool(keys_in_force(tx, texts)))
    found = await store.write(lambda tx: freeze_reported(tx, texts, by=by)) if is_any else 0
    _log.warning("leaked_key.reported", address=address, texts=len(texts), keys=found)
    await asyncio.sleep(rest_s(clock.monotonic() - began_s))
    return _TAKEN


def rest_s(passed_s: float) -> float:
    """Say how long to wait until the next step."""
    return STEP_S - passed_s % STEP_S


HANDLERS = (report,)
