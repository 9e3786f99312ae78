"""A helper of one's own: what it does when it is opened and closed."""

from __future__ import annotations

import trio

import horus_trio as horus
from horus_trio.helpers import Helper


class Lamp(Helper):
    async def _opened(self, nursery: trio.Nursery) -> None:
        print("helper opened")

    async def _closing(self) -> None:
        print("helper closed")


class Reader(horus.AsyncNode):
    async def init(self) -> None:
        print("node initialised")

    async def tick_async(self) -> None:
        pass

    async def shutdown(self) -> None:
        print("node shut down")


if __name__ == "__main__":
    horus.run(Reader("reader", helpers=[Lamp("lamp")]), duration=0.1)
