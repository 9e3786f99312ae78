"""A home with a broker: sensors that come and are killed, and somebody who comes late and asks."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import trio
import trio_util

import horus_trio as horus
from horus_trio.drivers import MqttClient

SENSOR = Path(__file__).parent.parent / "mqtt_home_sensor.py"


async def killed_sensors(
    host: str, port: str, sensor: trio_util.AsyncValue[str], scheduler: horus.Scheduler
) -> None:
    """One sensor after the other; each is killed after a while, and cannot say that it is gone.

    Arguments:
        host: Of the broker.
        port: Of the broker.
        sensor: What was heard of the sensor.
        scheduler: The robot's, which is stopped when both are gone.
    """
    command = [sys.executable, str(SENSOR), host, port]
    quiet = functools.partial(trio.run_process, stdout=subprocess.DEVNULL, process_group=0)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            process = await nursery.start(functools.partial(quiet, command, check=False))
            await sensor.wait_value("here")
            await trio.sleep(1.5)
            process.kill()
            await sensor.wait_value("gone")
    scheduler.stop("both sensors are gone")


async def come_late(host: str, port: str, count: int) -> None:
    """Ask a broker what it has kept, and print so many messages, if there are."""
    with trio.move_on_after(5):
        async with MqttClient(host, int(port), subscribe="home/kitchen/#") as late:
            for _ in range(count):
                kept = await late.receive()
                print(f"kept: {kept.topic} = {kept.payload.decode()}")
