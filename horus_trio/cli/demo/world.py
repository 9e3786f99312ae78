"""The world around the robot: real processes, started together and always reaped.

Each runs in a process group of its own, so that Ctrl-C in a terminal reaches the robot alone, and
ends when its stdin is closed, so that it does not outlive the robot, however that ends.
"""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["World", "WorldError"]

START_TIMEOUT = 20.0
"""Seconds a process may take to say that it is ready."""

END_TIMEOUT = 2.0
"""Seconds a process may take to end by itself."""


class WorldError(Exception):
    """The world does not play along: a process does not start, a device does not let go."""


class World:
    """Firmware, weather service and sonar; a context manager.

    Attributes:
        imu_port: Path of the inertial sensor's serial line; it is there while plugged in.
        weather_url: Where the weather is to be had.
        sonar_address: Host and port of the sonar.

    Raises:
        WorldError: On entering: a process did not get ready.
    """

    imu_port: Path
    weather_url: str
    sonar_address: tuple[str, int]

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as cleanup:
            folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="horus-demo-"))
            cleanup.callback(self._reap)
            self.imu_port = Path(folder) / "imu"
            self._start("firmware", str(self.imu_port))
            self._start("weather")
            self._start("sonar")
            give_up = time.monotonic() + START_TIMEOUT
            self._read_line("firmware", give_up)
            self.weather_url = f"http://127.0.0.1:{self._read_line('weather', give_up)}/"
            self.sonar_address = ("127.0.0.1", int(self._read_line("sonar", give_up)))
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def hang_up(self, *, after: float, seconds: float) -> None:
        """Have the inertial sensor's line hang up in a while; not a word if the sensor is dead.

        Arguments:
            after: Seconds from now.
            seconds: How long it stays away.
        """
        stdin = self._processes["firmware"].stdin
        if stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(f"{after} {seconds}\n")
                stdin.flush()

    def pid(self, name: str) -> int:
        """The process id of ``"firmware"``, ``"weather"`` or ``"sonar"``."""
        return self._processes[name].pid

    def casualties(self) -> list[str]:
        """The processes that have ended by themselves, and how, as sentences."""
        return [
            f"the {name} process {_ending(code)}"
            for name, process in self._processes.items()
            if (code := process.poll()) is not None
        ]

    def _start(self, name: str, *arguments: str) -> None:
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{name}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def _read_line(self, name: str, give_up: float) -> str:
        stdout = self._processes[name].stdout
        patience = max(0.0, give_up - time.monotonic())
        if stdout is not None and select.select([stdout], [], [], patience)[0]:
            line = stdout.readline().strip()
            if line:
                return line
        try:
            ending = _ending(self._processes[name].wait(max(0.0, give_up - time.monotonic())))
        except subprocess.TimeoutExpired:
            ending = f"was not ready after {START_TIMEOUT:g} s"
        raise WorldError(f"the {name} process {ending}")

    def _reap(self) -> None:
        give_up = time.monotonic() + END_TIMEOUT
        for process in self._processes.values():
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            process.terminate()  # it would end by itself, and take its interpreter's time
        for process in self._processes.values():
            try:
                process.wait(max(0.0, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
