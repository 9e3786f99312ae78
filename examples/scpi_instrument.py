"""A power supply that speaks SCPI over a network: questions, commands, and one that it refuses.

Run it with `python examples/scpi_instrument.py HOST PORT` (5025 is usual). Without a device it
makes one up. A driver works without a robot, too; power_supply.py is a robot with this supply.
"""

from __future__ import annotations

import contextlib
import sys

import trio

from horus_trio.drivers import Driver, Lines, QueryDriver, TcpClient, WrongReply
from simulated.supply import scpi_supply


class PowerSupply:
    """Questions and commands are lines of text. A question ends with ``?`` and is answered.

    A command is not answered: whether it was carried out is asked of the error queue. That question
    takes the error out of the queue, so a supply is not asked twice.

    Arguments:
        driver: Carries lines; it is opened and closed here.
    """

    def __init__(self, driver: Driver[bytes]) -> None:
        self.line: QueryDriver[bytes] = QueryDriver(driver, reply_within=1.0)

    async def ask(self, question: str) -> str:
        """The answer to a question."""
        return (await self.line.query(question.encode("ascii"))).decode("ascii")

    async def tell(self, command: str) -> None:
        """Have a command carried out.

        Raises:
            WrongReply: The supply has not done it, and says why.
        """
        await self.line.tell(command.encode("ascii"))
        code, _, text = (await self.ask("SYST:ERR?")).partition(",")
        if int(code) != 0:
            raise WrongReply(f"{command}: {text} ({code})")

    async def measure(self) -> tuple[float, float]:
        """Volts and amperes at the output."""
        volts, amperes = (await self.ask("MEAS:VOLT?")), (await self.ask("MEAS:CURR?"))
        return float(volts), float(amperes)


async def main(*address: str) -> None:
    """Set five volts, measure, and ask for what it does not know."""
    async with contextlib.nullcontext(address) if address else scpi_supply() as (host, port):
        supply = PowerSupply(TcpClient(host, int(port), framing=Lines()))
        async with supply.line:
            print("connected to", await supply.ask("*IDN?"))
            for command in ("*CLS", "VOLT 5", "OUTP ON"):
                await supply.tell(command)
            print("{:.2f} V, {:.3f} A".format(*await supply.measure()))
            try:
                await supply.tell("OUTP:SMOKE ON")
            except WrongReply as error:
                print("the supply refuses", error)
            await supply.tell("OUTP OFF")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:3])
