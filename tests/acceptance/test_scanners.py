"""What people point at a mail server to find its weak spots: they find none."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.acceptance.judges import program
from tests.acceptance.relay import Relay
from tests.acceptance.site import Site
from tests.fakes.sink import Sink

TLS = pytest.mark.parametrize("tls", ["starttls", "implicit"])
SCAN_S = 110
"""Only ends a scan that hangs; scanners are slow, and slower on a busy machine."""


@pytest.fixture
def relay(site: Site) -> Iterator[Relay]:
    with site.relay() as relay:
        yield relay
        assert relay.stop() == 0


def scan(*command: str, timeout_s: float = SCAN_S) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    return done.stdout


def nmap(port: int, *scripts: str) -> dict[str, str]:
    """What each script says."""
    # The plus sign: these ports are not those that the scripts look at by themselves.
    forced = ",".join(f"+{script}" for script in scripts)
    printed = scan(program("nmap"), "-Pn", "-n", "-p", str(port), "--script", forced, "-oX", "-", "127.0.0.1")
    return {node.attrib["id"]: node.attrib["output"] for node in ET.fromstring(printed).iter("script")}  # noqa: S314  # nmap's own


def open_relay(port: int) -> str:
    return nmap(port, "smtp-open-relay")["smtp-open-relay"]


def test_nmap_finds_no_open_relay_and_nothing_to_guess_by(relay: Relay, sink: Sink) -> None:
    found = nmap(relay.port(), "smtp-open-relay", "smtp-commands", "smtp-enum-users")
    assert found["smtp-open-relay"] == "Server doesn't seem to be an open relay, all tests failed"
    assert "AUTH PLAIN" not in found["smtp-commands"].partition("\n")[0]
    assert "STARTTLS" in found["smtp-commands"]
    assert found["smtp-enum-users"].strip() == "Couldn't find any accounts"
    assert sink.connections == 0


@pytest.mark.slow  # nmap waits long for a clear greeting before it tries TLS
def test_nmap_finds_no_open_relay_behind_tls_either(relay: Relay, sink: Sink) -> None:
    assert open_relay(relay.port("implicit")) == "Server doesn't seem to be an open relay, all tests failed"
    assert sink.connections == 0


def test_nmap_would_find_an_open_relay() -> None:
    with Sink() as everybodys:
        assert open_relay(everybodys.port).startswith("Server is an open relay")


@TLS
def test_sslscan_finds_nothing(relay: Relay, tls: str) -> None:
    options = ["--starttls-smtp"] if tls == "starttls" else []
    printed = scan(program("sslscan"), *options, "--xml=-", f"127.0.0.1:{relay.port(tls)}")
    (found,) = ET.fromstring(printed).iter("ssltest")  # noqa: S314  # sslscan's own
    offered = {
        (node.attrib["type"], node.attrib["version"]) for node in found.iter("protocol") if node.get("enabled") == "1"
    }
    assert offered == {("tls", "1.2"), ("tls", "1.3")}
    assert {node.attrib["vulnerable"] for node in found.iter("heartbleed")} == {"0"}
    assert {node.attrib["supported"] for node in found.iter("renegotiation")} == {"0"}
    ciphers = {node.attrib["cipher"] for node in found.iter("cipher")}
    strong = re.compile(r"TLS_(AES_\d+_GCM|CHACHA20_POLY1305)_SHA\d+|ECDHE-ECDSA-(AES\d+-GCM-SHA\d+|CHACHA20-POLY1305)")
    assert ciphers
    assert sorted(name for name in ciphers if not strong.fullmatch(name)) == []
    assert all(int(node.attrib["bits"]) >= 128 for node in found.iter("cipher"))
    (certificate,) = found.iter("certificate")
    assert certificate.findtext("expired") == "false"
    assert "127.0.0.1" in (certificate.findtext("altnames") or "")


OUR_CERTIFICATE = {"cert_chain_of_trust", "cert_expirationStatus", "cert_notAfter", "cert_revocation"}
"""The tests' own certificate signs itself and lives a month: what is said of that is not about the server."""


def scan_tls(port: int, folder: Path, *options: str, timeout_s: float = SCAN_S) -> dict[str, str]:
    """The severity of each finding."""
    report = folder / "testssl.json"
    fixed = ["--color", "0", "--warnings", "off", "--quiet", "-n", "none", "--jsonfile", str(report)]
    printed = scan(program("testssl"), *fixed, *options, f"127.0.0.1:{port}", timeout_s=timeout_s)
    assert report.exists(), printed
    return {finding["id"]: finding["severity"] for finding in json.loads(report.read_text())}


def faults(findings: dict[str, str]) -> dict[str, str]:
    bad = {"LOW", "MEDIUM", "HIGH", "CRITICAL"}
    return {name: severity for name, severity in findings.items() if severity in bad and name not in OUR_CERTIFICATE}


def test_testssl_finds_none_of_the_famous_holes(relay: Relay, tmp_path: Path) -> None:
    found = scan_tls(relay.port(), tmp_path, "-t", "smtp", "-H", "-R", "-C")
    assert {found[name] for name in ("heartbleed", "secure_renego", "secure_client_renego", "CRIME_TLS")} == {"OK"}
    assert faults(found) == {}


@pytest.mark.slow
@pytest.mark.timeout(400)
@TLS
def test_testssl_finds_nothing_at_all(relay: Relay, tmp_path: Path, tls: str) -> None:
    options = ["-t", "smtp"] if tls == "starttls" else []
    found = scan_tls(relay.port(tls), tmp_path, *options, "-p", "-S", "-P", "-U", "-f", timeout_s=350)
    assert {found[name] for name in ("SSLv2", "SSLv3", "TLS1_2", "TLS1_3", "ROBOT", "LUCKY13", "PFS")} == {"OK"}
    assert faults(found) == {}
