"""What a server is made of: the mains of the roles, and the memory that relay workers share.

A relay worker has no use for what pages and the Web API are made of, and each process pays for what was imported before
it was forked. So the web worker imports its own: in its process, and before it becomes its user, who may not be able to
read the files.
"""

from __future__ import annotations

import gc
import importlib

from sekisho.doors.smtp.admission import SharedCounts
from sekisho.service.launch import Parts
from sekisho.service.relay import run_relay
from sekisho.service.worker import Role, WorkerContext

_WEB_LATE = ("uvicorn.lifespan.off", "uvicorn.protocols.http.h11_impl")


def parts() -> Parts:
    return Parts(
        mains={Role.RELAY: run_relay, Role.WEB: _run_web}, loads={Role.WEB: _load_web}, make_shared=SharedCounts
    )


def _load_web() -> None:
    """Import what the web worker is made of, templates included."""
    from sekisho.doors.dashboard import pages  # noqa: PLC0415 - see above
    from sekisho.service import web  # noqa: F401, PLC0415 - see above

    for name in _WEB_LATE:
        importlib.import_module(name)
    pages.prepare()
    gc.collect()
    gc.freeze()


def _run_web(context: WorkerContext) -> int:
    from sekisho.service.web import run_web  # noqa: PLC0415 - see above

    return run_web(context)
