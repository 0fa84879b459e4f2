"""What a server is made of: the mains of the roles, and the memory that relay workers share."""

from __future__ import annotations

from sekisho.doors.dashboard import pages
from sekisho.doors.smtp.admission import SharedCounts
from sekisho.service.launch import Parts
from sekisho.service.relay import run_relay
from sekisho.service.web import run_web
from sekisho.service.worker import Role


def parts() -> Parts:
    """Everything, imported before the first fork so that the workers share its memory, templates included."""
    pages.prepare()
    return Parts(mains={Role.RELAY: run_relay, Role.WEB: run_web}, make_shared=SharedCounts)
