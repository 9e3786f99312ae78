"""A power supply that speaks SCPI over TCP, made up: 5 ohms of load, and a limit of 2 A."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import AsyncIterator

import trio

OHMS, LIMIT = 5.0, 2.0


@contextlib.asynccontextmanager
async def scpi_supply() -> AsyncIterator[tuple[str, str]]:
    """Its host and port."""
    async with trio.open_nursery() as nursery:
        serve = functools.partial(trio.serve_tcp, Supply().serve, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        yield "127.0.0.1", str(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


class Supply:
    """Answers after a few milliseconds. Errors wait in a queue until they are asked for."""

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
        """The answer, if it is a question."""
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
                return f"{output / OHMS:.4f}"
            case "VOLT":
                self.volts = float(argument)
            case "OUTP":
                self.is_on = argument == "ON"
            case "*CLS" | "OUTP:PROT:CLE":
                self.errors.clear()
            case _:
                self.errors.append('-113,"Undefined header"')
        if self.is_on and self.volts / OHMS > LIMIT:
            self.is_on = False
            self.errors.append('601,"Over-current protection has switched off"')
        return None
