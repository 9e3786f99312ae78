"""A temperature sensor at home, which tells an MQTT broker what it measures, and when it is gone.

Run it with `python examples/mqtt_home_sensor.py HOST PORT`, the broker's (1883 is usual), and end
it with Ctrl-C. Without them it starts mosquitto on this machine, and ends after two seconds. The
broker keeps what was said last for whoever comes later. A sensor that is killed cannot say that it
is gone: that is its last will, which the broker says for it. mqtt_thermostat.py listens. It needs
`pip install 'horus-trio[mqtt]'`.
"""

from __future__ import annotations

import contextlib
import math
import sys

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, MqttClient, MqttMessage
from simulated.mqtt_broker import mqtt_broker

TEMPERATURE, SENSOR = "home/kitchen/temperature", "home/kitchen/sensor"


class Thermometer(horus.AsyncNode):
    """Reads something that goes down and up by two degrees."""

    rate = 20

    async def init(self) -> None:
        self.began: float = self.now

    async def tick_async(self) -> None:
        self.send("temperature", 20 - 2 * math.sin(3 * (self.now - self.began)))


class Sender(DriverNode):
    """Says that the sensor is there, and what it measures; the broker keeps both."""

    sent: int = 0

    async def init(self) -> None:
        await super().init()
        await self.driver.send(MqttMessage(SENSOR, b"here", retain=True))

    def encode(self, data: float) -> MqttMessage:
        self.sent += 1
        return MqttMessage(TEMPERATURE, b"%.1f" % data, retain=True)

    async def shutdown(self) -> None:
        try:
            if self.connected:
                await self.driver.send(MqttMessage(SENSOR, b"gone", retain=True))
        finally:
            await super().shutdown()


async def main(*address: str) -> None:
    """Send to that broker until Ctrl-C, or to one of our own for two seconds."""
    async with contextlib.nullcontext(address) if address else mqtt_broker() as (host, port):
        will = MqttMessage(SENSOR, b"gone", retain=True)
        sender = Sender("sender", MqttClient(host, int(port), will=will), listen="temperature")
        scheduler = horus.Scheduler(name="sensor").add(sender).add(Thermometer("thermometer"))
        print(await scheduler.run(None if address else 2))
    print(f"{sender.sent} temperatures sent")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:3])
