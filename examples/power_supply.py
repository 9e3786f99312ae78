"""A programmable power supply whose voltage is ramped up, until there is too much current.

Run it with `python examples/power_supply.py HOST PORT` (5025 is usual). Without a device it makes
one up, with a load of 5 ohms; at 2 A its protection switches the output off. The ramp then goes
back to the last voltage that was good. How the supply is spoken to is in scpi_instrument.py.
"""

from __future__ import annotations

import contextlib
import sys
from typing import NamedTuple

import trio

import horus_trio as horus
from horus_trio.drivers import Lines, TcpClient, WrongReply
from scpi_instrument import PowerSupply
from simulated.supply import scpi_supply


class Reading(NamedTuple):
    asked: float  # V
    volts: float
    amperes: float


class Ramp(horus.AsyncNode):
    """A volt more with each tick, until there is too much current; then it stays where it was."""

    rate = 10
    failure_policy: horus.FailurePolicy = horus.Restart(within=None, max_backoff=2.0)

    def __init__(self, supply: PowerSupply) -> None:
        super().__init__("ramp")
        self.supply = supply
        self.readings: list[Reading] = []

    async def init(self) -> None:
        self.volts: float = 0.0
        self.step: float = 1.0
        await self.supply.line.open()
        for command in ("*CLS", "VOLT 0", "OUTP ON"):
            await self.supply.tell(command)

    async def tick_async(self) -> None:
        volts = self.volts + self.step
        try:
            await self.supply.tell(f"VOLT {volts:.2f}")
            measured = await self.supply.measure()
        except WrongReply as error:
            print("the supply refuses:", error)
            self.step = 0.0
            for command in ("OUTP:PROT:CLE", f"VOLT {self.volts:.2f}", "OUTP ON"):
                await self.supply.tell(command)
            return
        self.volts = volts
        self.readings.append(Reading(volts, *measured))
        print("{:5.1f} V asked {:6.2f} V {:6.3f} A".format(*self.readings[-1]))

    async def shutdown(self) -> None:
        try:
            await self.supply.tell("OUTP OFF")
        finally:
            await self.supply.line.aclose()


async def main(*address: str) -> Ramp:
    """Ramp for two seconds."""
    async with contextlib.nullcontext(address) if address else scpi_supply() as (host, port):
        ramp = Ramp(PowerSupply(TcpClient(host, int(port), framing=Lines())))
        print(await horus.Scheduler(name="power supply").add(ramp).run(2))
    return ramp


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:3])
