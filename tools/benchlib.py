"""What the bench commands share: the folder of the bench, our server in a temporary directory, a sink, a load, bars."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
BUILD = PROJECT / ".bench"
COMMAND = PROJECT / ".venv" / "bin" / "sekisho"
PATIENCE_S = 120.0

Document = dict[str, Any]


class Unfit(Exception):
    """The bench cannot run here, or something it needs did not happen; one line says why."""


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def number(name: str, default: int) -> int:
    """A number from the environment: makes a run shorter, which then says less."""
    return int(os.environ.get(name, default))


# The verdict.


@dataclass(frozen=True)
class Bar:
    """What the project promises of one case, and on which side of it the figure has to be."""

    name: str
    case: str
    limit: float
    at_least: bool = False

    def judge(self, found: float) -> Document:
        kept = found >= self.limit if self.at_least else found <= self.limit
        return {"bar": self.name, "case": self.case, "limit": self.limit, "found": found, "pass": kept}


def verdict(judged: Sequence[Mapping[str, object]], promised: Sequence[Bar]) -> bool | None:
    """Whether every bar was kept; None when a run answers only some of them (a peer missing, a shorter run)."""
    if not all(bar["pass"] for bar in judged):
        return False
    answered = {(bar["bar"], bar["case"]) for bar in judged}
    return True if {(bar.name, bar.case) for bar in promised} <= answered else None


def report(name: str, found: Mapping[str, object], judged: Sequence[Document], promised: Sequence[Bar]) -> None:
    """Print the document of one bench."""
    document = {
        "bench": name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "arch": platform.machine(), "python": platform.python_version()},
        **found,
        "bars": judged,
        "pass": verdict(judged, promised),
    }
    print(json.dumps(document, indent=1))


def command(run: Callable[[Path], None]) -> int:
    """A bench's exit status: ``run`` with the folder of the bench, or one line on stderr."""
    try:
        run(find_bench())
    except Unfit as unfit:
        tell(str(unfit))
        return 1
    return 0


# The folder of the bench.


def find_bench() -> Path:
    """The folder to run in, built: $BENCH, or a copy of it when it is not built."""
    source = Path(os.environ.get("BENCH", PROJECT.parent / "shared" / "bench")).resolve()
    if not (source / "bench.py").is_file():
        message = f"no bench at {source}: set BENCH to the folder that holds bench.py"
        raise Unfit(message)
    BUILD.mkdir(exist_ok=True)
    if (source / "bin" / "loadgen").is_file() and (source / "state" / "tls.key").is_file():
        return source
    tell(f"{source} is not built: copying it to {BUILD.name}")
    shutil.copytree(source, BUILD, dirs_exist_ok=True, copy_function=_copy_if_newer)
    for folder in (BUILD, *(path for path in BUILD.rglob("*") if path.is_dir())):
        folder.chmod(0o755)  # copied from what may be read-only, and about to be built in
    try:
        subprocess.run(["make", "-C", "src"], cwd=BUILD, check=True, stdout=sys.stderr)
        subprocess.run(["sh", "mkcerts.sh"], cwd=BUILD, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        message = f"the bench could not be built ({error}). Debian: apt-get install gcc make libssl-dev openssl"
        raise Unfit(message) from error
    return BUILD


def _copy_if_newer(source: str, target: str) -> None:
    """Copy a file as writable: the original's folder may be read-only, its copy is built in."""
    there = Path(target)
    if not there.exists() or there.stat().st_mtime < Path(source).stat().st_mtime:
        there.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        there.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory beside the project, not under /tmp, which may be memory: syncs are to be real."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="run-") as folder:
        yield Path(folder)


# Processes.


def tree(root: int) -> list[int]:
    """A process and what it started, and what that started."""
    found, unseen = [], [root]
    while unseen:
        pid = unseen.pop()
        with contextlib.suppress(OSError):
            # Children hang on the thread that forked them.
            for task in Path(f"/proc/{pid}/task").iterdir():
                unseen += map(int, (task / "children").read_text().split())
            found.append(pid)
    return found


def cpu_s(root: int) -> float:
    """CPU seconds that a process tree has used, children that ended included."""
    ticks = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_mib(root: int) -> dict[str, float]:
    """Memory of each process of a tree, a shared page counted in parts; processes of one name are added up."""
    found: dict[str, float] = {}
    for pid in tree(root):
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            found[f"{name} {pid}"] = kib / 1024
    return found


def flushes() -> int:
    """Cache flushes that the block devices of the machine have done."""
    found = 0
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        # Whole devices that no other one stands on: their partitions and mappings would count twice.
        if len(fields) > 18 and Path(f"/sys/block/{fields[2]}/device").exists():
            found += int(fields[18])
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def raise_descriptors() -> None:
    """Take all the descriptors this process may have; those it starts inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def eventually(ask: Callable[[], bool], what: str, within_s: float = PATIENCE_S, pause_s: float = 0.05) -> None:
    deadline = time.monotonic() + within_s
    while not ask():
        if time.monotonic() > deadline:
            message = f"not within {within_s:.0f} s: {what}"
            raise Unfit(message)
        time.sleep(pause_s)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# The sink.


class Sink:
    """The next hop: counts what it is sent, and knows what is missing, doubled or changed."""

    def __init__(self, port: int) -> None:
        self.port = port

    def tell(self, line: str) -> str:
        with (
            socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection,
            connection.makefile("rb") as heard,
        ):
            heard.readline()
            connection.sendall(line.encode() + b"\r\n")
            return heard.readline().decode()[4:]

    def reset(self, run: int) -> None:
        """Forget all, and count messages of this run only."""
        self.tell(f"XRESET {run}")

    def stat(self, messages: int = 0) -> Document:
        found: Document = json.loads(self.tell(f"XSTAT {messages}"))
        return found

    def wait(self, messages: int, within_s: float = 30.0) -> Document:
        """Wait until so many have come; a host that takes no more for as long is given up."""
        seen, since_s = -1, time.monotonic()
        while (stat := self.stat(messages))["unique"] < messages and time.monotonic() < since_s + within_s:
            if stat["unique"] != seen:
                seen, since_s = stat["unique"], time.monotonic()
            time.sleep(0.1)
        return stat


@contextlib.contextmanager
def sink(bench: Path) -> Iterator[Sink]:
    port = free_port()
    line = [str(bench / "bin" / "sink"), "--port", str(port), "--threads", "1", "--max-seconds", "36000"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            eventually(functools.partial(_answers, port), "the sink's port")
            yield Sink(port)
        finally:
            _end(process)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# Our server.

_CONFIGURATION = """
[server]
hostname = "relay.test"
data_dir = "{data}"
[[smtp.listeners]]
address = "127.0.0.1:{port}"
tls = "starttls"
[smtp]
max_connections_per_ip = 100000
[http]
address = "127.0.0.1:0"
[delivery]
mode = "mx"
"""

_ROUTE = """
[[delivery.routes]]
domain = "{domain}"
host = "127.0.0.1"
port = {port}
tls = "off"
"""


class Site:
    """A data directory with an account, a domain that signs, and keys; a server runs on it, now and then."""

    def __init__(self, folder: Path, routes: Mapping[str, int], keys: int = 1) -> None:
        """``routes``: recipient domain to the port of its host; ``*`` is all others."""
        folder.mkdir(parents=True)
        self.folder = folder
        self.ready: Document = {}
        """What the server said when it was."""
        self.data = folder / "data"
        self.port = free_port()
        self.configuration = folder / "sekisho.toml"
        self.configuration.write_text(
            _CONFIGURATION.format(data=self.data, port=self.port)
            + "".join(_ROUTE.format(domain=domain, port=port) for domain, port in routes.items())
        )
        self._administer("account", "create", "bench", "--owner", "bench@example.test")
        self._administer("domain", "add", "example.test", "--account", "bench")
        self._administer("domain", "verify", "example.test", "--override")
        self.keys = [
            str(self._administer("key", "create", "--account", "bench", "--name", f"bench {index}")["api_key"])
            for index in range(keys)
        ]

    def _administer(self, *arguments: str) -> Document:
        line = [str(COMMAND), *arguments, "--config", str(self.configuration), "--json"]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=_environment())
        if done.returncode:
            message = f"sekisho {' '.join(arguments)}: {done.stderr.strip()}"
            raise Unfit(message)
        found: Document = json.loads(done.stdout)
        return found

    @contextlib.contextmanager
    def serve(self) -> Iterator[int]:
        """Run the server; gives the supervisor's pid once every worker is ready."""
        line = [str(COMMAND), "serve", "--config", str(self.configuration)]
        log = (self.folder / "server.log").open("w")
        with log, subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment()) as process:
            try:
                line_of_ready = "" if process.stdout is None else process.stdout.readline()
                if not line_of_ready:
                    tell((self.folder / "server.log").read_text()[-2000:])
                    message = "the server did not start"
                    raise Unfit(message)
                self.ready = json.loads(line_of_ready)
                yield process.pid
            finally:
                _end(process)

    def load(self, bench: Path, *, run: int, messages: int, conns: int, size: int = 10240, to: str = "") -> Document:
        """Send messages and wait for their answers; what loadgen says about it."""
        line = [str(bench / "bin" / "loadgen"), "--port", str(self.port), "--tls", "starttls", "--user", "apikey"]
        line += ["--password", self.keys[0], "--conns", str(conns), "--messages", str(messages), "--size", str(size)]
        line += ["--max-seconds", "600", "--run", str(run), *(["--to-domain", to] if to else [])]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
        found: Document = json.loads(done.stdout)
        if found["accepted"] != messages:
            message = f"{found['accepted']} of {messages} messages were accepted: {found['first_error']}"
            raise Unfit(message)
        return found

    def fill(self, *, messages: int, domains: int, size: int, to: str, running: bool = False) -> None:
        """Put messages straight into the spool; ``running``: the server is, and has to claim them."""
        line = [sys.executable, "-m", "tools.benchfill", str(self.data), "--messages", str(messages), "--to-domain", to]
        line += ["--domains", str(domains), "--size", str(size), *(["--unowned"] if running else [])]
        if subprocess.run(line, cwd=PROJECT, check=False).returncode:
            message = "the spool could not be filled"
            raise Unfit(message)


def _environment() -> dict[str, str]:
    """Ours, without configuration of the tester's own: the program reads names that start so."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEKISHO_")}
