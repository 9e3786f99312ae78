"""A robot that follows the log of its motor controller, and tells of the warnings in it.

Run it with `python examples/log_watcher.py /var/log/motors.log`. Without a log it makes up a
controller that writes one, and rotates it on the way.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, FileTail
from simulated.motor_log import motor_log


class Log(DriverNode):
    """Publishes the warnings of a log, whose lines are ``LEVEL text``."""

    lines: int = 0

    def decode(self, message: bytes) -> str | None:
        self.lines += 1
        level, _, text = message.decode().partition(" ")
        return text if level == "WARNING" else None


class Supervisor(horus.AsyncNode):
    """Tells what the controller warns of."""

    on = "warning"

    def __init__(self) -> None:
        super().__init__("supervisor")
        self.warnings: list[str] = []

    async def tick_async(self) -> None:
        for text in self.recv_all("warning"):
            print(f"the motor controller warns: {text}")
            self.warnings.append(text)


async def main(path: str = "") -> Supervisor:
    """Watch a log until Ctrl-C, or one that is made up for two seconds."""
    async with contextlib.nullcontext(Path(path)) if path else motor_log() as log:
        tail = FileTail(log)
        reader, supervisor = Log("log", tail, publish="warning"), Supervisor()
        scheduler = horus.Scheduler(name="log watcher").add(reader).add(supervisor)
        print(await scheduler.run(None if path else 2))
        # A robot that keeps the position goes on there the next time: FileTail(log, start=…).
        print(f"{reader.lines} lines of {tail.rotations + 1} files; go on at {tail.position}")
    return supervisor


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else "")
