"""What a `CanBus` on an slcan adapter costs beside python-can's own slcan in a loop that blocks.

The adapter is a pty whose other end is a process of its own: `cat`, which sends every frame back,
or a program that floods. So a round trip is two switches of processes besides what is compared.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import pty
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator

import can
import trio
from _compare import Target, compare, print_machine
from _quick import either

from horus_trio.drivers import CanBus, CanFrame, SlcanOptions

FRAME = CanFrame(id=0x123, data=b"8 bytes!")
LINE = f"t1238{FRAME.data.hex()}\r"

ROUNDS = either(2_000, 50)
FRAMES = either(8_000, 500)
REPETITIONS = either(15, 1)

FLOOD = f"import os\nwhile True: os.write(1, {LINE.encode()!r} * 100)"

OPTIONS = SlcanOptions(replies=False, status_every=math.inf)
"""Neither end has answers to commands."""


@contextlib.contextmanager
def adapter(*command: str) -> Iterator[str]:
    """The path of a port, at whose other end is a process."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    process = subprocess.Popen(command, stdin=master, stdout=master, bufsize=0)
    try:
        yield os.ttyname(slave)
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)


@contextlib.contextmanager
def library(path: str) -> Iterator[can.BusABC]:
    """python-can's bus."""
    with can.Bus(
        channel=path, interface="slcan", ignore_config=True, bitrate=500_000, sleep_after_open=0
    ) as bus:
        yield bus


def check(is_right: bool) -> None:
    if not is_right:
        raise SystemExit("another frame came")


# A frame and its echo


def timed(trip: Callable[[], None]) -> float:
    """Microseconds of a round trip, with a few before that do not count."""
    for _ in range(max(1, ROUNDS // 10)):
        trip()
    gc.collect()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        trip()
    return (time.perf_counter() - began) / ROUNDS * 1e6


def library_echo() -> float:
    message = can.Message(arbitration_id=FRAME.id, data=FRAME.data, is_extended_id=False)
    with adapter("cat") as path, library(path) as bus:

        def trip() -> None:
            bus.send(message)
            while (came := bus.recv(1)) is None:
                pass
            check(came.data == FRAME.data)

        return timed(trip)


def our_echo() -> float:
    async def main(path: str) -> float:
        async with CanBus(path, options=OPTIONS) as bus:

            async def trip() -> None:
                await bus.send(FRAME)
                check(await bus.receive() == FRAME)

            for _ in range(max(1, ROUNDS // 10)):
                await trip()
            gc.collect()
            began = time.perf_counter()
            for _ in range(ROUNDS):
                await trip()
            return (time.perf_counter() - began) / ROUNDS * 1e6

    with adapter("cat") as path:
        return trio.run(main, path)


# Frames of a flood


def library_flood() -> float:
    with adapter(sys.executable, "-c", FLOOD) as path, library(path) as bus:
        while bus.recv(1) is None:
            pass
        began = time.perf_counter()
        for _ in range(FRAMES):
            while (came := bus.recv(1)) is None:
                pass
            check(came.data == FRAME.data)
        return FRAMES / (time.perf_counter() - began) / 1e3


def our_flood() -> float:
    async def main(path: str) -> float:
        async with CanBus(path, options=OPTIONS) as bus:
            await bus.receive()
            began = time.perf_counter()
            for _ in range(FRAMES):
                check(await bus.receive() == FRAME)
            return FRAMES / (time.perf_counter() - began) / 1e3

    with adapter(sys.executable, "-c", FLOOD) as path:
        return trio.run(main, path)


def main() -> None:
    print_machine()
    compare(
        "a frame and its echo over slcan on a pty",
        "us",
        {"python-can, blocking": library_echo, "CanBus": our_echo},
        base="python-can, blocking",
        repetitions=REPETITIONS,
        targets={"CanBus": Target(at_most=1.5)},
    )
    compare(
        "frames of a flood over slcan on a pty",
        "thousand frames a second",
        {"python-can, blocking": library_flood, "CanBus": our_flood},
        base="python-can, blocking",
        repetitions=REPETITIONS,
        targets={"CanBus": Target(at_least=1.0)},
    )


if __name__ == "__main__":
    main()
