"""Trio code that asyncio code of a node awaits keeps its type."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

from horus_trio.bridges import AsyncioNode


async def measure(count: int, unit: str = "m") -> list[float]:
    return [0.0] * count


class Node(AsyncioNode):
    async def tick(self) -> None:
        assert_type(await self.run_trio(measure, 3, "mm"), list[float])
        assert_type(await self.send_async("out", 1), int)
        self.start_soon(measure, 3)
        await self.run_trio(measure, "3", "mm")  # type: ignore[arg-type]
        await self.run_trio(measure(3, "mm"))  # type: ignore[arg-type]


def made_of_functions() -> AsyncioNode:
    return AsyncioNode("n", tick=measure, rate=10.0, colour="red")  # type: ignore[call-arg]
