"""Import before root is given up what would otherwise be imported when it is first needed.

Whoever a process becomes need not be able to read the interpreter's own library (a pyenv under /root, a container built
by root): an import that comes too late would fail in the middle of the work. Imported before the fork, the modules are
also one copy of memory for all workers. What is the web worker's alone is in ``parts``.
"""

from __future__ import annotations

import importlib
from typing import Final

import dns.rdata

_LATE: Final = (
    "concurrent.futures.thread",
    "dns.asyncresolver",
    "dns.asyncquery",
    "dns._asyncio_backend",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8",
    "sqlalchemy.dialects.sqlite",
    "stringprep",
)

_MIGRATIONS: Final = ("sekisho.migrations.run",)
_SERVER: Final = ("sekisho.db.postgresql", "sqlalchemy.dialects.postgresql.psycopg")


def preload(*, migrations: bool = False, server: bool = False) -> None:
    """Import them now.

    ``migrations`` only where a process is going to migrate and end, ``server`` where control data are on a database
    server.
    """
    for name in (*_LATE, *(_MIGRATIONS if migrations else ()), *(_SERVER if server else ())):
        importlib.import_module(name)
    # Answers bring records of whatever type; met for the first time too late, an A record would not be read as one.
    dns.rdata.load_all_types()  # type: ignore[no-untyped-call]
