"""A serial device is unplugged for twenty seconds: default policies, real ptys, real time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, Lines, SerialPort

AWAY = 20.0
"""Seconds for which it is unplugged."""


class Cable:
    """Two pseudo-terminals that socat connects: the robot's end, and the device's.

    Arguments:
        folder: Where the two ends are while it is plugged in.
    """

    def __init__(self, folder: Path) -> None:
        self.robot = folder / "robot"
        self.device = folder / "device"
        self._socat: subprocess.Popen[bytes] | None = None

    def plug_in(self) -> None:
        """Have both ends appear, soon."""
        ends = [f"pty,raw,echo=0,link={end}" for end in (self.robot, self.device)]
        self._socat = subprocess.Popen(["socat", "-d", *ends])

    def unplug(self) -> None:
        """Both ends hang up and are gone."""
        if self._socat is not None:
            self._socat.kill()
            self._socat.wait()
            self._socat = None
        for end in (self.robot, self.device):
            end.unlink(missing_ok=True)


class Counter:
    """The device: sends numbers, each in a line with a checksum, as long as it is plugged in."""

    def __init__(self, port: Path) -> None:
        self.port = port
        self.number = 0

    async def send_for_ever(self) -> None:
        """A hundred lines a second."""
        while True:
            with contextlib.suppress(OSError), self._open() as line:
                while True:
                    self.number += 1
                    text = b"%08d" % self.number
                    with contextlib.suppress(BlockingIOError):  # nobody reads: it is lost
                        os.write(line, b"%s %08x\n" % (text, zlib.crc32(text)))
                    await trio.sleep(0.01)
            await trio.sleep(0.05)

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        line = os.open(self.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            yield line
        finally:
            os.close(line)


@dataclass
class Seen:
    """What a run has seen: instants on Trio's clock."""

    numbers: list[tuple[float, int]] = field(default_factory=list)
    came: trio.Event = field(default_factory=trio.Event)
    unplugged: float = 0.0
    plugged_in: float = 0.0
    stale: list[float] = field(default_factory=list)
    beats: int = 0
    seconds: float = 0.0
    rejected: int = 0
    restarts: int = 0


class Numbers(DriverNode):
    """Publishes the numbers of the counter."""

    def __init__(self, port: Path, seen: Seen) -> None:
        driver = SerialPort(str(port), framing=Lines(), baudrate=115200)
        super().__init__("counter", driver, publish="numbers")
        self.seen = seen

    def decode(self, message: bytes) -> int:
        text, checksum = message.split(b" ")
        if len(text) != 8 or int(checksum, 16) != zlib.crc32(text):
            raise ValueError(f"half a line: {message!r}")
        number = int(text)
        self.seen.numbers.append((self.now, number))
        self.seen.came.set()
        return number

    def on_stale(self, silence: float) -> None:
        self.seen.stale.append(self.now)


async def unplug_for_a_while(folder: Path) -> Seen:
    """Two good seconds, twenty without the device, and at least one good second again."""
    seen = Seen()
    cable = Cable(folder)
    node = Numbers(cable.robot, seen)
    scheduler = horus.Scheduler()
    scheduler.add(node)

    async def beat(sibling: horus.Node) -> None:
        seen.beats += 1

    scheduler.add(horus.Node("sibling", tick=beat, rate=100))
    try:
        cable.plug_in()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Counter(cable.device).send_for_ever)
            async with trio.open_nursery() as robot:
                await robot.start(scheduler.run)
                began = trio.current_time()
                with trio.fail_after(20):
                    await seen.came.wait()
                await trio.sleep(2)
                seen.stale.clear()  # the cable may have come later than the robot
                earlier = scheduler.statistics().nodes["counter"].restarts
                seen.unplugged = trio.current_time()
                cable.unplug()
                await trio.sleep(AWAY)
                seen.plugged_in = trio.current_time()
                cable.plug_in()
                seen.came = trio.Event()
                with trio.fail_after(20):
                    await seen.came.wait()
                await trio.sleep(1)
                seen.seconds = trio.current_time() - began
                seen.rejected = node.rejected
                seen.restarts = scheduler.statistics().nodes["counter"].restarts - earlier
                scheduler.stop()
            nursery.cancel_scope.cancel()
    finally:
        cable.unplug()
    return seen


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
async def test_unplugged_for_twenty_seconds(
    tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    require("socat", shutil.which("socat") is not None, "apt install socat")
    policy = DriverNode.failure_policy
    assert isinstance(policy, horus.Restart)
    before = descriptors()
    kept: list[tuple[float, float]] = []
    while len(kept) < 3:  # the machine's other work can only make it worse
        seen = await unplug_for_a_while(tmp_path)
        again = next(instant for instant, _ in seen.numbers if instant > seen.plugged_in)
        numbers = [number for _, number in seen.numbers]
        assert 0 <= seen.stale[0] - seen.unplugged <= 2
        assert len(seen.stale) == 1
        assert numbers == sorted(set(numbers))  # none twice, none late
        assert seen.rejected <= 2  # the ends of the two connections, which were not published
        assert sum(instant < seen.unplugged for instant, _ in seen.numbers) > 100
        assert sum(instant > again for instant, _ in seen.numbers) > 50
        assert AWAY / (policy.max_backoff * (1 + policy.jitter)) <= seen.restarts <= 20
        assert descriptors() == before
        kept.append((seen.beats / (100 * seen.seconds), again - seen.plugged_in))
        if kept[-1][0] >= 0.99 and kept[-1][1] <= policy.max_backoff + 1:
            return
    pytest.fail(f"share of ticks kept, and seconds until data came again: {kept}")
