"""``sekisho dev``: everything on one machine with nothing configured, as a newcomer meets it."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import signal
import smtplib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.acceptance.judges import dkimpy_verifies, opendkim_verifies, signatures, zone
from tests.acceptance.relay import COMMAND, Document, Relay, environment, eventually, letter, run, submit

DEV = ("dev", "--smtp-port", "0", "--smtps-port", "0", "--http-port", "0", "--json", "--data")


@dataclass
class Dev:
    relay: Relay
    data: Path
    key: str
    folder: Path

    def run(self, *arguments: str) -> Document:
        return json.loads(run(*arguments, "--data", self.data, "--json").stdout)

    def captured(self, message_id: str) -> bytes:
        """The captured copy of that message, once it is there."""

        def find() -> Document:
            return next(
                (row for row in self.run("captured", "list")["captured"] if row["message_id"] == message_id), None
            )

        row = eventually(find, f"{message_id} in the capture box")
        shown = subprocess.run(
            [COMMAND, "captured", "show", str(row["number"]), "--raw", "--data", self.data],
            capture_output=True,
            check=True,
            timeout=60,
        )
        return shown.stdout


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("dev")
    with Relay(*DEV, folder / "data", logs=folder / "logs") as relay:
        yield Dev(relay, folder / "data", relay.ready["api_key"], folder)


def test_the_ready_line_says_where_everything_is(dev: Dev) -> None:
    ready = dev.relay.ready
    assert {"ready", "smtp", "http", "data_dir", "api_key", "setup_url", "ca_file"} <= set(ready)
    assert [door["tls"] for door in ready["smtp"]] == ["starttls", "implicit"]
    assert all(door["address"].startswith("127.0.0.1:") for door in ready["smtp"])
    assert ready["http"].startswith("http://localhost:")
    assert ready["setup_url"].startswith(ready["http"] + "/setup/")
    assert Path(ready["data_dir"]).samefile(dev.data)
    assert ready["api_key"].startswith("SG.")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_over_http(dev: Dev, path: str) -> None:
    with contextlib.closing(HTTPConnection(dev.relay.ready["http"].removeprefix("http://"), timeout=30)) as http:
        http.request("GET", path)
        assert http.getresponse().status == 200


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_stock_client_hands_in_a_message_and_it_is_captured_signed(dev: Dev, tls: str) -> None:
    with dev.relay.client(dev.key, tls=tls) as smtp:
        message_id = submit(smtp, letter(7), "reader@anywhere.test")
    raw = dev.captured(message_id)
    assert b"\r\nX-Test-Seq: 7\r\n" in raw
    assert raw.partition(b"\r\n\r\n")[2] == letter(7).partition(b"\r\n\r\n")[2]

    records = zone(dev.run("domain", "show", "example.test"))
    tags = signatures(raw)
    assert {tag["a"] for tag in tags} == {"rsa-sha256", "ed25519-sha256"}
    assert all(tag["d"] == "example.test" and tag["c"] == "relaxed/relaxed" and "l" not in tag for tag in tags)
    assert dkimpy_verifies(raw, records) == [True, True]
    assert dkimpy_verifies(raw.replace(b"number 7", b"number 8"), records) == [False, False]


@pytest.mark.skipif(shutil.which("opendkim") is None, reason="opendkim is not installed")
def test_opendkim_believes_the_signature_too(dev: Dev, tmp_path: Path) -> None:
    with dev.relay.client(dev.key) as smtp:
        message_id = submit(smtp, letter(8), "reader@anywhere.test")
    raw = dev.captured(message_id)
    records = {
        record["host"]: record["data"]
        for name, record in dev.run("domain", "show", "example.test")["dns"].items()
        if name.startswith("dkim") and "ed25519" not in name
    }
    done = opendkim_verifies(raw, records, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    damaged = opendkim_verifies(raw.replace(b"number 8", b"number 9"), records, tmp_path / "damaged")
    assert b"dkim=fail" in damaged.stdout + damaged.stderr or damaged.returncode != 0


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_gets_through(dev: Dev, mechanism: str) -> None:
    done = subprocess.run(
        [
            "swaks", "--server", "127.0.0.1", "--port", str(dev.relay.port()), "--tls",
            "--auth", mechanism, "--auth-user", "apikey", "--auth-password", dev.key,
            "--from", "ann@example.test", "--to", "reader@anywhere.test", "--header", "Subject: by swaks",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    accepted = next(line for line in done.stdout.splitlines() if "queued as" in line)
    assert b"Subject: by swaks" in dev.captured(accepted.rpartition(" ")[2])


def example(start: str) -> str:
    """The README's indented block that starts so."""
    lines = (Path(__file__).parents[2] / "README.md").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("    " + start))
    block = itertools.takewhile(lambda line: line.startswith("    ") or not line, lines[first:])
    return textwrap.dedent("\n".join(block))


@pytest.mark.parametrize("start", ["import os, smtplib", "swaks"])
def test_the_readme_s_examples_work_as_printed(dev: Dev, start: str) -> None:
    code = example(start).replace("2525", str(dev.relay.port()))
    command = [sys.executable, "-c", code] if start != "swaks" else ["sh", "-c", code]
    if start == "swaks" and shutil.which("swaks") is None:
        pytest.skip("swaks is not installed")
    before = len(dev.run("captured", "list")["captured"])
    env = environment() | {"KEY": dev.key, "CA": dev.relay.ready["ca_file"]}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    eventually(lambda: len(dev.run("captured", "list")["captured"]) == before + 1, "the example's mail")


def test_without_a_key_nothing_is_relayed(dev: Dev) -> None:
    with dev.relay.client() as smtp:
        code, text = smtp.mail("ann@example.test")
    assert (code, b"Unauthenticated senders not allowed" in text) == (550, True)


def test_a_wrong_key_is_refused_and_not_logged(dev: Dev) -> None:
    wrong = dev.key[:-6] + ("AAAAAA" if dev.key[-6:] != "AAAAAA" else "BBBBBB")
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        dev.relay.client(wrong)
    assert refused.value.smtp_code == 535
    log = dev.relay.log.read_text()
    assert wrong.split(".")[2] not in log
    assert dev.key.split(".")[2] not in log


def test_a_key_is_shown_once_and_everything_is_kept(tmp_path: Path) -> None:
    relay = Relay(*DEV, tmp_path / "data", logs=tmp_path / "logs")
    with relay:
        key = relay.ready["api_key"]
        relay.send(key, letter(1))
        assert relay.stop(signal.SIGINT) == 0
        relay.start()
        assert relay.ready["api_key"] is None
        relay.send(key, letter(2))
        box = Dev(relay, tmp_path / "data", key, tmp_path)
        eventually(lambda: len(box.run("captured", "list")["captured"]) == 2, "both letters in the capture box")
        assert relay.stop() == 0


def test_people_are_told_what_to_type(tmp_path: Path) -> None:
    """Without --json the same is printed for reading: where, the key, and a line to try, which works as printed."""
    out = tmp_path / "out"
    with (
        out.open("wb") as stdout,
        subprocess.Popen(
            [COMMAND, *(word for word in DEV if word != "--json"), tmp_path / "data"],
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment(),
        ) as process,
    ):
        try:
            eventually(lambda: "swaks" in out.read_text() or process.poll() is not None, "the welcome", timeout_s=60)
            welcome = out.read_text()
            assert "SG." in welcome
            if shutil.which("swaks") is not None:
                start = welcome.index("swaks")
                line = welcome[start : welcome.index("\n\n", start)]
                done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
