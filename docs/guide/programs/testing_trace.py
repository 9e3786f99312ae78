"""The same seed gives the same run, event by event."""

import random

import trio

import horus_trio as horus
from horus_trio.testing import open_harness


class Walks(horus.AsyncNode):
    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, rate=5)
        self.dice = random.Random(f"{seed}/{name}")

    async def tick_async(self) -> None:
        await trio.sleep(self.dice.random() / 10)
        self.send("steps", self.name)


async def trace_of(seed: int) -> str:
    walkers = [Walks(name, seed) for name in ("ann", "bob", "cid")]
    async with open_harness(*walkers, seed=seed, trace=True) as h:
        await h.advance(10)
        return h.trace.digest()


async def main() -> None:
    print("the same seed, the same trace:", await trace_of(1) == await trace_of(1))
    print("another seed, another trace:", await trace_of(1) != await trace_of(2))


trio.run(main)
