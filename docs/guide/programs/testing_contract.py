"""A node that keeps its contract, and one that forgets to close what it opened."""

import socket

import trio

import horus_trio as horus
from horus_trio.testing import ContractBroken, check_node


class Good(horus.AsyncNode):
    async def init(self) -> None:
        self.line, self.far = socket.socketpair()

    async def tick_async(self) -> None:
        self.line.send(self.recv("commands", b"stop"))
        await trio.lowlevel.checkpoint()

    async def shutdown(self) -> None:
        self.line.close()
        self.far.close()


class Leaky(Good):
    async def shutdown(self) -> None:
        self.line.close()


async def main() -> None:
    for kind in (Good, Leaky):
        try:
            await check_node(kind, inputs={"commands": [b"go", b"stop"]})
            print(kind.__name__, "keeps the contract")
        except ContractBroken as broken:
            print(kind.__name__, "breaks the rule", repr(broken.rule))


trio.run(main)
