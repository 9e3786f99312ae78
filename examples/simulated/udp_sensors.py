"""Three sensors that send numbered readings by UDP, made up; one is behind a bad radio link."""

from __future__ import annotations

import random
import struct

import trio

import horus_trio as horus
from horus_trio.drivers import Udp

READING = struct.Struct(">Hf")
"""The number of the reading, and the reading."""

READINGS = 100


class UdpSensors(horus.AsyncNode):
    """Each sends a hundred readings a second, to the receiver of its own.

    It is a node of the robot's, so that it begins when the receivers are open: it comes after them
    by its `order`.
    """

    on = "nothing"
    order = 1

    def __init__(self, receivers: list[Udp]) -> None:
        super().__init__("simulated sensors", subs="nothing")
        self.receivers = receivers

    async def init(self) -> None:
        self.start_soon(self.send_all_of_them)

    async def tick_async(self) -> None:
        """It never ticks."""

    async def send_all_of_them(self) -> None:
        async with trio.open_nursery() as nursery:
            for number, receiver in enumerate(self.receivers):
                nursery.start_soon(self.be_a_sensor, receiver, 0.2 if number == 1 else 0.0)
        await trio.sleep(0.2)
        self.request_stop("the sensors are through")

    async def be_a_sensor(self, receiver: Udp, loss: float) -> None:
        """Some readings are lost; the first and the last arrive."""
        dice = random.Random(loss)
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as radio:
            for number in range(READINGS):
                if not 0 < number < READINGS - 1 or dice.random() >= loss:
                    reading = READING.pack(number, 20 + dice.gauss(0.0, 0.1))
                    await radio.sendto(reading, receiver.address)
                await trio.sleep(0.01)
