"""From the configuration to what each part is bounded by; per-host budgets are shared among the workers."""

from __future__ import annotations

from dataclasses import replace

from sekisho.doors.smtp.bounds import Limits
from sekisho.doors.smtp.listener import within_descriptors
from sekisho.service.config import Config


def door_limits(config: Config, worker_count: int, descriptors: int) -> Limits:
    """The SMTP door's limits of one worker.

    Connections and failed logins are counted per host, so every worker has the whole number; memory cannot be shared,
    so it is divided.
    """
    smtp = config.smtp
    limits = replace(
        Limits(),
        connections=smtp.max_connections,
        connections_per_address=smtp.max_connections_per_ip,
        messages=smtp.max_messages_per_connection,
        message_bytes=smtp.max_message_size_bytes,
        recipients=smtp.max_recipients,
        idle_s=smtp.idle_timeout_s,
        session_memory_bytes=smtp.session_memory_bytes // worker_count,
    )
    return within_descriptors(limits, descriptors)
