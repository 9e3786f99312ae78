"""Nodes that wait, in a process that counts its threads and descriptors; run by ``waiting.py``.

``_waiting.py HAND NODES`` prints one JSON object as its last line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time

import trio
from _child import held_descriptors, held_threads

import horus_trio as horus

SETTLED = 1.5
"""Seconds after which they all wait."""

LONG = 2.0
"""Seconds for which a node waits."""


class Waiting(horus.AsyncNode):
    rate = 1

    async def tick_async(self) -> None:
        await trio.sleep(LONG)


def by_horus_trio(nodes: int) -> None:
    scheduler = horus.Scheduler()
    for number in range(nodes):
        scheduler.add(Waiting(f"waiting {number}"))
    scheduler.run(LONG)


def by_trio(nodes: int) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(nodes):
                nursery.start_soon(trio.sleep, LONG)

    trio.run(main)


def by_asyncio(nodes: int) -> None:
    async def main() -> None:
        await asyncio.gather(*(asyncio.sleep(LONG) for _ in range(nodes)))

    asyncio.run(main())


def by_threads(nodes: int) -> None:
    threads = [threading.Thread(target=time.sleep, args=[LONG]) for _ in range(nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


HANDS = {
    "horus_trio": by_horus_trio,
    "trio": by_trio,
    "asyncio": by_asyncio,
    "threads": by_threads,
}


def main(hand: str, nodes: int) -> None:
    seen: dict[str, int] = {}

    def look() -> None:
        seen["threads"] = held_threads() - 1  # this one is not theirs
        seen["descriptors"] = held_descriptors()

    timer = threading.Timer(SETTLED, look)
    timer.start()
    HANDS[hand](nodes)
    timer.join()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
