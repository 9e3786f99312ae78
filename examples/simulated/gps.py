"""A GPS receiver on a serial line, made up: it drives round in a circle, and is unplugged once."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from horus_trio.drivers import Nmea
from simulated.serial_line import serial_line


@contextlib.asynccontextmanager
async def gps_receiver() -> AsyncIterator[str]:
    """The path of its port."""
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder) / "gps"
        async with trio.open_nursery() as nursery:
            await nursery.start(drive_round, port)
            yield str(port)
            nursery.cancel_scope.cancel()


async def drive_round(port: Path, *, task_status: trio.TaskStatus[None]) -> None:
    """Ten sentences a second, a damaged one among them; unplugged once, after twelve of them."""
    for first, last in ((0, 12), (12, 1000)):
        async with serial_line(port) as line:
            if first == 0:
                task_status.started()
            for number in range(first, last):
                data = Nmea().encode(sentence(number))
                await line.send_all(data if number % 12 != 5 else b"\xff" + data[:20])
                await trio.sleep(0.1)
        await trio.sleep(0.5)


def sentence(number: int) -> bytes:
    """A position on the circle; every sixth sentence tells something else."""
    if number % 6 == 2:
        return b"GPGSV,1,1,02,07,42,180,40,21,17,044,35"
    angle = number / 10
    north = 4915.0 + 0.05 * math.sin(angle)
    east = 12310.0 + 0.05 * math.cos(angle)
    time = 120000 + number / 10
    return b"GPGGA,%09.2f,%09.4f,N,%010.4f,W,1,09,0.9,%.1f,M,,M,," % (time, north, east, 70.0)
