"""The firmware of an inertial sensor: a process that sends frames over a pseudo-terminal.

It behaves as a USB serial adapter does: a link of fixed name leads to the line while it is
plugged in, and what nobody reads is lost. A hundred times a second it sends a frame; one in a
hundred arrives with a byte changed. When told to, it hangs up, and later comes back on another
line.

Run by `world`: ``python -m horus_trio.cli.demo.firmware LINK``. It says ``ready`` on stdout, takes
orders on stdin, and ends when that is closed, so it never outlives the program that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import random
import select
import sys
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .codec import FRAME_SIZE, Sample, encode

__all__ = ["RATE", "Firmware", "SerialLine", "frames", "main"]

RATE = 100.0
"""Frames a second."""

SEED = 12

CORRUPTED = 0.01
"""Share of the frames that have a byte changed on the way."""


class SerialLine:
    """The device's end of a serial line, under a fixed name while it is plugged in.

    Arguments:
        link: Where to put the symbolic link to the line that the robot opens.
    """

    def __init__(self, link: Path) -> None:
        self._link = link
        self._ends: tuple[int, int] | None = None

    def plug(self) -> None:
        """Appear."""
        device, line = os.openpty()
        self._ends = device, line
        tty.setraw(line)
        os.set_blocking(device, False)
        self._link.symlink_to(os.ttyname(line))

    def unplug(self) -> None:
        """Disappear: whoever reads the line sees it hung up. Idempotent."""
        self._link.unlink(missing_ok=True)
        ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)

    def write(self, data: bytes) -> None:
        """Send; what finds no room, or no line, is lost."""
        if self._ends is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._ends[0], data)


def frames(seed: int, corrupted: float = CORRUPTED) -> Iterator[bytes]:
    """All frames as they arrive, for ever; the same ones for the same seed.

    Arguments:
        seed: Of the noise and of the corruption.
        corrupted: Share of the frames that have a byte changed, 0 to 1.
    """
    rng = random.Random(seed)
    for number in itertools.count():
        turn = 0.4 * math.sin(number / RATE)
        noise = [rng.gauss(0.0, 0.01) for _ in range(6)]
        sample = Sample(
            sequence=number,
            time=number / RATE,
            gyro=(noise[0], noise[1], turn + noise[2]),
            accel=(noise[3], noise[4], 9.81 + noise[5]),
        )
        frame = bytearray(encode(sample))
        if rng.random() < corrupted:
            frame[rng.randrange(FRAME_SIZE)] ^= rng.randrange(1, 256)
        yield bytes(frame)


class Firmware:
    """The device: a frame a hundredth of a second, and orders from stdin.

    An order is a line of two numbers: hang up after so many seconds, for so many.
    """

    def __init__(self, line: SerialLine, seed: int) -> None:
        self._line = line
        self._seed = seed
        self._changes: list[tuple[float, Callable[[], None]]] = []

    def run(self) -> None:
        """Send until stdin is closed."""
        start = time.monotonic()
        for number, frame in enumerate(frames(self._seed)):
            due = start + number / RATE
            while select.select([0], [], [], max(0.0, due - time.monotonic()))[0]:
                orders = os.read(0, 4096)
                if not orders:
                    return
                for order in orders.decode().splitlines():
                    self._obey(*map(float, order.split()))
            while self._changes and self._changes[0][0] <= due:
                self._changes.pop(0)[1]()
            self._line.write(frame)

    def _obey(self, after: float, seconds: float) -> None:
        now = time.monotonic()
        self._changes.append((now + after, self._line.unplug))
        self._changes.append((now + after + seconds, self._line.plug))


def main(argv: Sequence[str] | None = None) -> int:
    """Be the firmware until stdin is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("link", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(argv)

    line = SerialLine(options.link)
    line.plug()
    try:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        Firmware(line, options.seed).run()
    finally:
        line.unplug()
    return 0


if __name__ == "__main__":
    sys.exit(main())
