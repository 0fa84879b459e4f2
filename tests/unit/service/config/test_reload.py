from __future__ import annotations

from pathlib import Path

from sekisho.service.config import Config, LogLevel, Source, in_force, parse


def read(text: str) -> Config:
    return parse(Source(text, "", Path("/"), {}, None))


def test_nothing_changed_is_nothing_to_say() -> None:
    assert in_force(read(""), read("")) == (read(""), ())


def test_limits_routes_certificates_and_log_level_change_now() -> None:
    fresh = read(
        """
        [server]
        log_level = "debug"
        drain_s = 1
        [smtp]
        max_recipients = 7
        [tls]
        certificate_file = "/c"
        private_key_file = "/k"
        [[delivery.routes]]
        domain = "*"
        host = "next.example"
        """
    )
    config, waiting = in_force(read(""), fresh)
    assert waiting == ()
    assert config == fresh
    assert config.server.log_level is LogLevel.DEBUG


def test_listeners_workers_and_storage_wait_for_a_restart_and_are_named() -> None:
    running = read("")
    fresh = read(
        """
        [server]
        workers = 9
        data_dir = "/elsewhere"
        [smtp]
        max_recipients = 7
        [[smtp.listeners]]
        address = "127.0.0.1:2525"
        [http]
        address = "127.0.0.1:9090"
        """
    )
    config, waiting = in_force(running, fresh)
    assert set(waiting) == {"server.workers", "server.data_dir", "smtp.listeners", "http.address"}
    assert config.smtp.max_recipients == 7
    assert config.smtp.listeners == running.smtp.listeners
    assert config.server.data_dir == running.server.data_dir
