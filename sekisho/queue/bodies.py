"""Large bodies as files: complete and synced under their final name before a row speaks of them."""

from __future__ import annotations

from pathlib import Path

from sekisho.queue.layout import Layout, sync_directory, sync_file


def keep(temporary: Path, final: Path) -> None:
    """Make a finished file durable and move it to its final name, durably. Blocks for the sync: not for the loop.

    Raises:
        OSError: nothing was promised; the file is wherever it got to, and the sweep finds it.
    """
    sync_file(temporary)
    # Content before name: a name in bodies/ never stands for half a body.
    temporary.rename(final)
    sync_directory(final.parent)


def sweep(layout: Layout, is_known: frozenset[str], *, aside: Path | None) -> tuple[int, int]:
    """Remove what no row speaks of; (files of incoming/, files of bodies/). Only while nobody uses the spool.

    ``aside``: the rows themselves may have been lost, so bodies without one are moved there instead.
    """
    orphans = 0
    for path in [path for path in layout.incoming.rglob("*") if not path.is_dir()]:
        path.unlink()
        orphans += 1
    unnamed = 0
    for path in layout.bodies.iterdir():
        if path.name not in is_known:
            if aside is None:
                path.unlink()
            else:
                aside.mkdir(mode=0o700, exist_ok=True)
                path.rename(aside / path.name)
            unnamed += 1
    return orphans, unnamed
