"""Starts the world and the robot, writes down what they tell, and ends both, whatever happens.

The robot is in a process group of its own, so that Ctrl-C in a terminal comes here first: once, it
asks the robot to stop, and what was told so far is judged; twice, it kills it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from .told import Told

__all__ = ["WorldFailed", "watch"]

WORLD, ROBOT = ("-m", "soak.world"), ("-m", "soak.robot")
"""The programs, as Python's interpreter is told them."""

PATIENCE = 30.0
"""Seconds in which the robot says nothing, after which it hangs."""

DUMPING = 1.0
"""Seconds for a robot that hangs to print who waits for what."""


class WorldFailed(Exception):
    """The devices could not be started."""


def watch(
    seconds: float, *, plants: Sequence[str], every: float, on_sample: Callable[[Told], object]
) -> Told:
    """Let the robot live for so long.

    Arguments:
        seconds: Of ticking.
        plants: Faults to be planted.
        every: Seconds from one sample to the next.
        on_sample: Is called after each.

    Raises:
        WorldFailed: The devices could not be started.
    """
    told = Told()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-"))
        environment = os.environ | {"HORUS_TRIO_RUNTIME_DIR": f"{folder}/looking"}
        world = subprocess.Popen(
            [sys.executable, *WORLD, folder],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        stack.callback(_end_world, world, told)
        if world.stdout is None or not (places := world.stdout.readline()):
            raise WorldFailed("the devices could not be started; see above")
        robot = subprocess.Popen(
            [
                *(sys.executable, *ROBOT),
                *(places.decode(), str(seconds), str(every), *plants),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        stack.callback(_end_robot, robot)
        stack.enter_context(_interrupting(robot, told))
        for line in _lines(robot):
            what = json.loads(line)
            if "held" in what:
                told.held = what["held"]
            elif "end" in what:
                told.end = what["end"]
            else:
                told.add(what)
                on_sample(told)
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = robot.wait(PATIENCE)
            if code and not told.end:
                print(f"the robot has ended with exit code {code}", file=sys.stderr)
    return told


def _lines(robot: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What the robot says, a line at a time; it is killed if it says nothing for too long."""
    if robot.stdout is None:
        return
    descriptor, held = robot.stdout.fileno(), b""
    while True:
        if not select.select([descriptor], [], [], PATIENCE)[0]:
            print(f"the robot has said nothing for {PATIENCE:g} s:", file=sys.stderr, flush=True)
            robot.send_signal(signal.SIGUSR1)  # it prints who waits for what
            time.sleep(DUMPING)
            robot.kill()
            return
        data = os.read(descriptor, 65536)
        if not data:
            return
        *lines, held = (held + data).split(b"\n")
        yield from lines


@contextlib.contextmanager
def _interrupting(robot: subprocess.Popen[bytes], told: Told) -> Iterator[None]:
    """Ctrl-C, and SIGTERM, stop the robot; the second one kills it."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if told.interrupted:
            robot.kill()
        else:
            told.interrupted = True
            robot.send_signal(signal.SIGINT)

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_robot(robot: subprocess.Popen[bytes]) -> None:
    if robot.poll() is None:
        robot.kill()
    robot.wait()
    if robot.stdout is not None:
        robot.stdout.close()


def _end_world(world: subprocess.Popen[bytes], told: Told) -> None:
    """Let it say what it has done, and reap it."""
    said = b""
    try:
        said, _ = world.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        world.kill()
        world.communicate()
    with contextlib.suppress(ValueError):
        told.done = json.loads(said)
