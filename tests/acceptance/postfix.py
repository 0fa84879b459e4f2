"""Postfix as a client: an instance of its own in a temporary directory, which takes mail from its ``sendmail`` only."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.acceptance.relay import PATIENCE_S, eventually

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log/maillog
maillog_file_prefixes = {folder}/log
myhostname = client.test
mydestination =
local_transport = error:nobody lives here
inet_interfaces = loopback-only
inet_protocols = ipv4
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtp_tls_CAfile = {ca_file}
"""

_MASTER = """\
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
"""


class Postfix:
    """One instance; start with ``with``. ``settings`` are further lines of main.cf; needs root."""

    def __init__(self, settings: str, password_map: str, ca_file: Path) -> None:
        self._settings = settings
        self._password_map = password_map
        self._ca_file = ca_file
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Its daemons run as another user, who has to get here.
        self.folder = Path(tempfile.mkdtemp(prefix="sekisho-postfix-"))
        self.folder.chmod(0o755)
        try:
            self._prepare()
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def log(self) -> str:
        """What it has written so far."""
        file = self.folder / "log" / "maillog"
        return file.read_text() if file.exists() else "no log"

    def sendmail(self, message: bytes, *recipients: str, sender: str = "ann@example.test") -> None:
        """Hand a message in as a local program would."""
        command = ["sendmail", "-C", str(self.folder / "etc"), "-i", "-f", sender, "--", *recipients]
        done = subprocess.run(command, input=message, capture_output=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr

    def _prepare(self) -> None:
        for name in ("etc", "spool", "data", "log"):
            (self.folder / name).mkdir(mode=0o755)
        owner = pwd.getpwnam("postfix")
        shutil.chown(self.folder / "data", owner.pw_uid, owner.pw_gid)
        passwords = self.folder / "etc" / "relay_password"
        passwords.touch(mode=0o600)
        passwords.write_text(self._password_map)
        settings = self._settings.replace("/etc/postfix/", f"{self.folder}/etc/")
        main = _MAIN.format(folder=self.folder, ca_file=self._ca_file)
        (self.folder / "etc" / "main.cf").write_text(main + settings)
        (self.folder / "etc" / "master.cf").write_text(_MASTER)

    def _start(self) -> None:
        # -d: stays in the foreground, and so ours to end. The script in front makes what is missing in the queue.
        subprocess.run(
            ["postfix", "-c", self.folder / "etc", "check"], check=True, capture_output=True, timeout=PATIENCE_S
        )
        self._process = subprocess.Popen(
            ["/usr/lib/postfix/sbin/master", "-c", self.folder / "etc", "-d"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually((self.folder / "spool" / "public" / "pickup").exists, lambda: self.log)

    def _end(self) -> None:
        process = self._process
        if process is not None:
            # The master sends its daemons, which are in its group, the same signal.
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            eventually(lambda: not group_alive(process.pid), "the daemons' end")
        shutil.rmtree(self.folder)


def group_alive(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
