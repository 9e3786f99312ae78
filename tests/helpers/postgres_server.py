"""A real PostgreSQL server for tests, which can be killed and comes back with what it had."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["PostgresServer", "binaries", "running_server"]

OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",  # what is killed is a process: what it has written stays in the page cache
    "shared_buffers": "8MB",
    "max_connections": "40",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


def binaries() -> Path | None:
    """Where the server's programs are, the newest ones."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class PostgresServer:
    """A cluster in a folder of its own, reached by a Unix socket there.

    It refuses to be root's, so root has it run as somebody else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.user = pwd.getpwnam("postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())[0])
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def conninfo(self) -> str:
        """What libpq needs to reach it."""
        return f"host={self.folder} user=robot dbname=postgres"

    def initialise(self) -> None:
        """Make the cluster."""
        if os.geteuid() == 0:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self._call("initdb", "-U", "robot", "-A", "trust", "--no-sync", "-D", str(self.data))

    def start(self) -> None:
        """Have it run; it takes connections a little later."""
        options = [f"-c{name}={value}" for name, value in OPTIONS.items()]
        options.append(f"-cunix_socket_directories={self.folder}")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._program("postgres"), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._as_user(),
            )

    def kill(self) -> None:
        """``kill -9`` of all its processes, and wait until they are gone."""
        process = self.process
        if process is None:
            return
        process.send_signal(signal.SIGSTOP)  # so that it gets no more children
        pids = [process.pid, *children_of(process.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(20)
        give_up = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert time.monotonic() < give_up, "they do not die"
            time.sleep(0.002)
        self.process = None

    def stop(self) -> None:
        """Have it end at once, and orderly."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
            self.process = None

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._program(program), *arguments],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._as_user(),
        )

    def _program(self, name: str) -> str:
        folder = binaries()
        assert folder is not None
        return str(folder / name)

    def _as_user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}


def children_of(parent: int) -> list[int]:
    """The processes whose parent this is."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(process.name))
    return found


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server of its own, which is gone afterwards."""
    # Not in pytest's folder: only its own user may look into that.
    with tempfile.TemporaryDirectory(prefix="horus-pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder))
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
            shutil.rmtree(server.data, ignore_errors=True)
