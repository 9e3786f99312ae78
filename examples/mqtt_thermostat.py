"""A thermostat that knows nothing but an MQTT broker: it hears a sensor, and switches a heater.

Run it with `python examples/mqtt_thermostat.py HOST PORT`, the broker's (1883 is usual), and end it
with Ctrl-C. Without them it starts mosquitto on this machine, and one sensor after the other, each
a process of mqtt_home_sensor.py. They are killed, and the broker says their last will; at the end
the broker is asked what it has kept. It needs `pip install 'horus-trio[mqtt]'`.
"""

from __future__ import annotations

import contextlib
import sys

import trio
import trio_util

import horus_trio as horus
from horus_trio.drivers import DriverNode, MqttClient, MqttMessage
from mqtt_home_sensor import SENSOR, TEMPERATURE
from simulated.home import come_late, killed_sensors
from simulated.mqtt_broker import mqtt_broker

HEATER = "home/kitchen/heater"


class Home(DriverNode):
    """Publishes what is said at home, and sends what the thermostat wants."""

    def decode(self, message: MqttMessage) -> tuple[str, str]:
        return message.topic, message.payload.decode()

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
            if what == SENSOR:
                self.sensor.value = value
                print(f"the sensor is {value}")
                wanted = "off" if value == "gone" else self.heater
            elif 19 <= float(value) <= 21:
                continue
            else:
                wanted = "on" if float(value) < 19 else "off"
            if wanted != self.heater:
                print(f"heater {wanted}")
                self.heater = wanted
                self.send("heater", wanted)


async def main(*address: str) -> Thermostat:
    """Until Ctrl-C, or until two sensors have come and gone."""
    thermostat = Thermostat()
    broker = contextlib.nullcontext(address) if address else mqtt_broker()
    async with broker as (host, port), trio.open_nursery() as nursery:
        home = MqttClient(host, int(port), subscribe=(TEMPERATURE, SENSOR))
        scheduler = horus.Scheduler(name="thermostat").add(thermostat)
        scheduler.add(Home("home", home, publish="heard", listen="heater"))
        if not address:
            nursery.start_soon(killed_sensors, host, port, thermostat.sensor, scheduler)
        print(await scheduler.run())
        if not address and thermostat.sensor.value == "gone":
            await come_late(host, port, 3)
        nursery.cancel_scope.cancel()
    return thermostat


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:3])
