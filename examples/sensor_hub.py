"""Sensors that send their readings by UDP: who of them is heard, and how much is lost on the way.

Run it with `python examples/sensor_hub.py PORT…`, one port for each sensor, and it listens for ten
seconds. Without ports it makes up three sensors, one of them behind a bad radio link.
"""

from __future__ import annotations

import sys

import trio

import horus_trio as horus
from horus_trio.drivers import DriverNode, Udp
from simulated.udp_sensors import READING, UdpSensors


class Sensor(DriverNode):
    """Publishes the readings of one sensor. The numbers tell how many are missing."""

    def __init__(self, name: str, port: int) -> None:
        self.udp: Udp = Udp(local=("127.0.0.1", port), sequence=number_of, modulus=2**16)
        super().__init__(name, self.udp, publish=name, stale_after=1.0)

    def decode(self, message: bytes) -> float:
        _, value = READING.unpack(message)
        return float(value)

    def on_stale(self, silence: float) -> None:
        self.log.warning("nothing is heard of it")


def number_of(datagram: bytes) -> int:
    """The number of a reading."""
    return int(READING.unpack(datagram)[0])


class Hub(horus.AsyncNode):
    """Has the newest of everything, ten times a second."""

    rate = 10

    def __init__(self, sensors: list[Sensor]) -> None:
        super().__init__("hub")
        self.sensors = sensors

    async def tick_async(self) -> None:
        newest = {sensor.name: self.latest(sensor.name, max_age=0.5) for sensor in self.sensors}
        self.send("situation", newest)


async def main(*ports: str) -> dict[str, tuple[int, int]]:
    """Listen; how many were received and lost, by sensor."""
    names = ports or ("wind", "water level", "temperature")
    sensors = [Sensor(name, int(name) if ports else 0) for name in names]
    scheduler = horus.Scheduler(name="sensor hub")
    for node in (*sensors, Hub(sensors)):
        scheduler.add(node)
    if not ports:
        scheduler.add(UdpSensors([sensor.udp for sensor in sensors]))
    print(await scheduler.run(10))
    heard: dict[str, tuple[int, int]] = {}
    for sensor in sensors:
        counts = sensor.udp.statistics()
        heard[sensor.name] = counts.received, counts.lost
        lost = counts.lost / max(1, counts.received + counts.lost)
        print(f"{sensor.name:12} {counts.received:4} received, {counts.lost:3} lost ({lost:.0%})")
    return heard


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
