"""A motor on a wire, for the tests of the safety chain: real processes, a pty, and a listener.

The motor's driver is a robot's process. The listener is another one, and writes down what comes
over the wire with the instant of each line; the clock is the machine's monotonic one, which all
processes share. So what is measured is what a real motor would have seen.
"""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import textwrap
import time
import tty
from collections.abc import Iterator
from pathlib import Path

LISTENER = """
import os, sys, time
wire = int(sys.argv[1])
while True:
    try:
        data = os.read(wire, 4096)
    except OSError:
        break
    if not data:
        break
    now = time.monotonic()
    for line in data.decode().split():
        print(f"{now:.6f} {line}", flush=True)
"""

ROBOT = """
import ctypes, os, sys, threading, time
import trio
import horus_trio as horus

class Motor(horus.Node):
    '''Drives: a speed on the wire at each tick, and STOP when told to be safe.'''

    def init(self):
        self.wire = os.open(sys.argv[1], os.O_WRONLY | os.O_NOCTTY)

    def tick(self):
        os.write(self.wire, b"SPEED\\n")

    def enter_safe_state(self):
        os.write(self.wire, b"STOP\\n")

    def shutdown(self):
        os.close(self.wire)


class AsyncMotor(horus.AsyncNode):
    init, shutdown = Motor.init, Motor.shutdown

    async def tick_async(self):
        os.write(self.wire, b"SPEED\\n")

    async def enter_safe_state(self):
        os.write(self.wire, b"STOP\\n")


def hang(node):
    time.sleep(3600)


def say(text):
    print(text, flush=True)


def eight_hung(scheduler, **options):
    for number in range(8):
        scheduler.add(horus.Node(f"hung {number}", tick=hang, **options))
    return scheduler

"""


class Wire:
    """A pty, the robot at one end, and the listener at the other."""

    def __init__(self, script: str, folder: Path) -> None:
        # This end of the robot's stays open: a pty without one is at its end for the listener.
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        self._heard, self._said = folder / "heard", folder / "said"
        with self._heard.open("w") as heard:
            self._listener = subprocess.Popen(
                [sys.executable, "-c", LISTENER, str(self._master)],
                stdout=heard,
                pass_fds=[self._master],
            )
        path = folder / "robot.py"
        path.write_text(ROBOT + textwrap.dedent(script))
        with self._said.open("w") as said:
            self.robot = subprocess.Popen(
                [sys.executable, str(path), os.ttyname(self._slave)],
                stdout=said,
                stderr=subprocess.STDOUT,
                preexec_fn=_default_signals,
            )

    def heard(self) -> list[tuple[float, str]]:
        """What came over the wire so far, with the instants, in seconds."""
        text = self._heard.read_text()
        lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(float(instant), text) for instant, text in lines]

    def words(self) -> list[str]:
        return [text for _, text in self.heard()]

    def said(self) -> str:
        """What the robot has printed so far."""
        return self._said.read_text()

    def wait_for(self, text: str, seconds: float = 20.0) -> None:
        """Wait until the robot has printed something."""
        self._wait(lambda: text in self.said(), seconds, f"the robot to say {text!r}")

    def wait_for_wire(self, text: str, count: int = 1, seconds: float = 20.0) -> None:
        """Wait until something has come over the wire so often."""
        enough = lambda: self.words().count(text) >= count  # noqa: E731
        self._wait(enough, seconds, f"{text!r} on the wire")

    def _wait(self, enough: object, seconds: float, what: str) -> None:
        assert callable(enough)
        deadline = time.monotonic() + seconds
        while not enough():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}; robot: {self.said()}")
            time.sleep(0.01)

    def signal(self, signum: signal.Signals) -> float:
        """Send a signal; returns when, in seconds."""
        instant = time.monotonic()
        self.robot.send_signal(signum)
        return instant

    def close(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.robot.wait(0.0)
        self.robot.kill()
        self.robot.wait()
        self._listener.terminate()
        self._listener.wait()
        os.close(self._master)
        os.close(self._slave)


def _default_signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def wired(script: str) -> Iterator[Wire]:
    """Run a robot with a motor on a wire."""
    with tempfile.TemporaryDirectory() as folder:
        wire = Wire(script, Path(folder))
        try:
            yield wire
        finally:
            wire.close()
