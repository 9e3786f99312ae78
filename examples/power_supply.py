"""A programmable power supply that speaks SCPI, over a network: its voltage is ramped up.

Run it with `python examples/power_supply.py HOST PORT` (5025 is usual). Without a device it makes
one up, with a load of 5 ohms; at 2 A its protection switches the output off. The ramp then goes
back to the last voltage that was good.
"""

from __future__ import annotations

import contextlib
import functools
import random
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

import trio

import horus_trio as horus
from horus_trio.drivers import Driver, Lines, QueryDriver, TcpClient, WrongReply


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

    async def init(self) -> None:
        self.volts: float = 0.0
        self.step: float = 1.0
        await self.supply.line.open()
        print("connected to", await self.supply.ask("*IDN?"))
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
        self.send("reading", Reading(volts, *measured))

    async def shutdown(self) -> None:
        try:
            await self.supply.tell("OUTP OFF")
        finally:
            await self.supply.line.aclose()


class Display(horus.AsyncNode):
    """Shows the readings."""

    on = "reading"

    def __init__(self) -> None:
        super().__init__("display")
        self.readings: list[Reading] = []

    async def tick_async(self) -> None:
        for reading in self.recv_all("reading"):
            self.readings.append(reading)
            print("{:5.1f} V asked {:6.2f} V {:6.3f} A".format(*reading))


async def main(*address: str) -> Display:
    """Ramp for two seconds."""
    display = Display()
    async with contextlib.AsyncExitStack() as stack:
        host, port = address or await stack.enter_async_context(simulated_supply())
        supply = PowerSupply(TcpClient(host, int(port), framing=Lines()))
        scheduler = horus.Scheduler(name="power supply")
        scheduler.add(Ramp(supply))
        scheduler.add(display)
        print(await scheduler.run(2))
    return display


# A supply, simulated


@contextlib.asynccontextmanager
async def simulated_supply() -> AsyncIterator[tuple[str, str]]:
    """Host and port of one."""
    async with trio.open_nursery() as nursery:
        serve = functools.partial(trio.serve_tcp, Simulated().serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield "127.0.0.1", str(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


class Simulated:
    """Answers after a few milliseconds."""

    ohms: float = 5.0
    limit: float = 2.0

    def __init__(self) -> None:
        self.volts: float = 0.0
        self.is_on: bool = False
        self.errors: list[str] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        pending = b""
        async for data in stream:
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                await trio.sleep(random.uniform(0.0, 0.005))
                answer = self.obey(line.decode("ascii").strip())
                if answer is not None:
                    await stream.send_all(answer.encode("ascii") + b"\n")

    def obey(self, line: str) -> str | None:
        command, _, argument = line.partition(" ")
        output = self.volts if self.is_on else 0.0
        match command:
            case "*IDN?":
                return "HORUS,Simulated supply,0,1.0"
            case "SYST:ERR?":
                return self.errors.pop(0) if self.errors else '0,"No error"'
            case "MEAS:VOLT?":
                return f"{output + random.gauss(0.0, 0.002):.4f}"
            case "MEAS:CURR?":
                return f"{output / self.ohms:.4f}"
            case "VOLT":
                self.volts = float(argument)
            case "OUTP":
                self.is_on = argument == "ON"
            case "*CLS" | "OUTP:PROT:CLE":
                self.errors.clear()
            case _:
                self.errors.append('-113,"Undefined header"')
        if self.is_on and self.volts / self.ohms > self.limit:
            self.is_on = False
            self.errors.append('601,"Over-current protection has switched off"')
        return None


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:3])
