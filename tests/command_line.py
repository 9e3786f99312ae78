"""The command line as users meet it: processes, and the robots they run."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

COMMAND = (sys.executable, "-W", "error", "-m", "horus_trio.cli")

ROBOT = """
    import horus_trio as horus

    class Imu(horus.AsyncNode):
        rate = 100
        async def tick_async(self):
            self.send("imu", {"seq": self.current_tick.seq})

    class Camera(horus.Node):
        rate = 20
        def tick(self):
            self.send("frames", b"pixels")
"""


def write_program(folder: Path, text: str, name: str = "robot.py") -> Path:
    """A program in a file."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


@contextlib.contextmanager
def started(
    *words: str | Path, cwd: Path | None = None, stdout: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """The command as a process; killed if a test fails before it has ended."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def finished(*words: str | Path, cwd: Path | None = None) -> tuple[int, str, str]:
    """The exit code, the output and the errors of a command that ends by itself."""
    with started(*words, cwd=cwd) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_for_socket(folder: Path, number: int = 1) -> list[Path]:
    """The sockets of robots that listen in a folder, as soon as there are so many."""
    deadline = time.monotonic() + 30
    while len(found := sorted(folder.glob("[!.]*.sock"))) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} of {number} robots listen")
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """An empty folder of this user with a short path, as paths to sockets have to be."""
    with tempfile.TemporaryDirectory(prefix="ht-", dir="/tmp") as folder:
        yield Path(folder)


class Screen:
    """A terminal of 100 columns on which a command runs, and what it has shown so far."""

    def __init__(self, *words: str | Path, lines: int = 30) -> None:
        self._screen, end = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": str(lines)}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words)], stdin=end, stdout=end, stderr=end, env=environment
        )
        os.close(end)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def read(self, until: str | None = None) -> str:
        """Read until a text was shown, or the command has ended; returns all that was shown."""
        deadline = time.monotonic() + 30
        while until is None or until not in self.shown:
            if not select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(self.shown)
            try:
                data = os.read(self._screen, 4096)
            except OSError:  # nobody has the other end any more
                if until is None:
                    break
                raise
            self.shown += data.decode(errors="replace")
        return self.shown

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
