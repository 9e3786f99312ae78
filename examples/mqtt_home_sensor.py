"""A temperature sensor and a thermostat, each a process, that know only an MQTT broker.

Run it with `python examples/mqtt_home_sensor.py HOST`, the broker's. Without a host it starts
mosquitto on this machine. The sensor is killed in the middle, and the broker sends its last will;
then another one starts, and whoever comes last gets the values that the broker has kept.
"""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import trio
import trio_util

import horus_trio as horus
from horus_trio.drivers import DriverNode, MqttClient, MqttMessage

TEMPERATURE, SENSOR, HEATER = (
    "home/kitchen/temperature",
    "home/kitchen/sensor",
    "home/kitchen/heater",
)


# The sensor


class Thermometer(horus.AsyncNode):
    """Reads something that goes down and up by two degrees."""

    rate = 20

    async def init(self) -> None:
        self.began: float = self.now
        await trio.lowlevel.checkpoint()

    async def tick_async(self) -> None:
        self.send("temperature", 20 - 2 * math.sin(3 * (self.now - self.began)))
        await trio.lowlevel.checkpoint()


class Sender(DriverNode):
    """Says that the sensor is there, and what it measures; the broker keeps both."""

    async def init(self) -> None:
        await super().init()
        await self.driver.send(MqttMessage(SENSOR, b"here", retain=True))

    def encode(self, data: float) -> MqttMessage:
        return MqttMessage(TEMPERATURE, b"%.1f" % data, retain=True)


async def sensor(host: str, port: int) -> None:
    """Send until it is killed."""
    will = MqttMessage(SENSOR, b"gone", retain=True)
    scheduler = horus.Scheduler(name="sensor")
    scheduler.add(Sender("sender", MqttClient(host, port, will=will), listen="temperature"))
    scheduler.add(Thermometer())
    await scheduler.run()


# The thermostat


class Heard(NamedTuple):
    what: str
    value: str


class Home(DriverNode):
    """Publishes what is said at home, and sends what the thermostat wants."""

    def decode(self, message: MqttMessage) -> Heard:
        return Heard(message.topic, message.payload.decode())

    def encode(self, data: str) -> MqttMessage:
        return MqttMessage(HEATER, data.encode(), retain=True)


class Thermostat(horus.AsyncNode):
    """Heats below 19 °C, until it is 21 °C, and not without a sensor."""

    on = "heard"

    def __init__(self) -> None:
        super().__init__("thermostat", subs="heard", pubs="heater")
        self.heater: str = ""
        self.sensor: trio_util.AsyncValue[str] = trio_util.AsyncValue("")

    async def tick_async(self) -> None:
        for what, value in self.recv_all("heard"):
            wanted = self.heater
            if what == SENSOR:
                self.sensor.value = value
                print(f"the sensor is {value}")
                wanted = "off" if value == "gone" else wanted
            elif not 19 <= float(value) <= 21:
                wanted = "on" if float(value) < 19 else "off"
            if wanted != self.heater:
                print(f"heater {wanted}")
                self.heater = wanted
                self.send("heater", wanted)
        await trio.lowlevel.checkpoint()


async def main(host: str, port: int) -> Thermostat:
    """Run the thermostat for a while, beside two sensors, one after the other."""
    thermostat = Thermostat()
    scheduler = horus.Scheduler(name="thermostat")
    home = MqttClient(host, port, subscribe=(TEMPERATURE, SENSOR))
    scheduler.add(Home("home", home, publish="heard", listen="heater"))
    scheduler.add(thermostat)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(two_sensors, host, port, thermostat, scheduler)
        await scheduler.run()
        nursery.cancel_scope.cancel()  # it may have been stopped by Ctrl-C
    if thermostat.sensor.value == "gone":
        async with MqttClient(host, port, subscribe="home/kitchen/#") as late:
            for _ in range(3):
                kept = await late.receive()
                print(f"kept: {kept.topic} = {kept.payload.decode()}")
    print(scheduler.report)
    return thermostat


async def two_sensors(
    host: str, port: int, thermostat: Thermostat, scheduler: horus.Scheduler
) -> None:
    """Processes that are killed, so that the broker says their last will."""
    command = [sys.executable, __file__, "sensor", host, str(port)]
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            start = functools.partial(trio.run_process, command, check=False)
            process = await nursery.start(start)
            await thermostat.sensor.wait_value("here")
            await trio.sleep(1.5)
            process.kill()
            await thermostat.sensor.wait_value("gone")
    scheduler.stop()


async def on_this_machine() -> Thermostat | None:
    """Run it with a broker of its own."""
    command = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if command is None:
        print("there is no broker: apt install mosquitto, or give the host of one")
        return None
    async with broker(command) as (host, port):
        return await main(host, port)


@contextlib.asynccontextmanager
async def broker(command: str) -> AsyncIterator[tuple[str, int]]:
    """Where a mosquitto of our own listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address: tuple[str, int] = probe.getsockname()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "mosquitto.conf"
        configuration.write_text(
            f"listener {address[1]} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        )
        async with trio.open_nursery() as nursery:
            run = functools.partial(trio.run_process, capture_stderr=True, check=False)
            await nursery.start(run, [command, "-c", str(configuration)])
            yield address
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if sys.argv[1:2] == ["sensor"]:
        trio.run(sensor, sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:]:
        trio.run(main, sys.argv[1], 1883)
    else:
        trio.run(on_this_machine)
