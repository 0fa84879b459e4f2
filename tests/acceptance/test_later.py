"""What this version cannot do yet is refused by name, never accepted and ignored."""

from __future__ import annotations

import pytest

from tests.acceptance.relay import run
from tests.acceptance.site import Site


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ('[webhooks]\nretry_first = "30s"', "webhooks"),
        ('[dns.authoritative]\nzone = "wl.relay.test"', "dns.authoritative"),
        ('[metrics]\naddress = "127.0.0.1:9464"', "metrics"),
        ('[[smtp.listeners]]\naddress = "127.0.0.1:0"\ntls = "starttls"\naccept = ["inbound"]', "accept"),
        ("[nonsense]\nkey = 1", "nonsense"),
    ],
)
def test_what_this_version_cannot_do_is_refused_by_name(site: Site, tables: str, named: str) -> None:
    site.tables = tables
    site.write()
    done = run("serve", "--config", site.config, status=2)
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("backup", "x"), ("restore", "x")])
def test_commands_of_later_versions_are_refused_by_name(site: Site, command: tuple[str, ...]) -> None:
    done = run(*command, "--config", site.config, status=2)
    assert command[0] in done.stderr
