"""What crosses between Trio and asyncio keeps its type."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

import horus_trio as horus
from horus_trio.bridges import run_in_asyncio
from horus_trio.bridges.asyncio import messages, receive, send


async def measure(count: int, *, unit: str = "m") -> list[float]:
    return [0.0] * count


# Right


async def functions(scheduler: horus.Scheduler) -> None:
    assert_type(await run_in_asyncio(measure, 3, unit="mm"), list[float])
    assert_type(await run_in_asyncio(scheduler.run), horus.RunReport)
    assert_type(await run_in_asyncio(scheduler.run, 2.0), horus.RunReport)


async def topics(hub: horus.Hub[int], link: horus.Link[str]) -> None:
    assert_type(await send(hub, 1), int)
    await send(link, "a")
    assert_type(await receive(hub.subscribe()), int)
    assert_type(await receive(link), str)
    async for number in messages(hub.subscribe()):
        assert_type(number, int)
    async for text in messages(link):
        assert_type(text, str)


# Wrong


async def wrong(scheduler: horus.Scheduler, hub: horus.Hub[int], link: horus.Link[str]) -> None:
    await run_in_asyncio(measure)  # type: ignore[call-arg]
    await run_in_asyncio(measure, "3")  # type: ignore[arg-type]
    await run_in_asyncio(measure, 3, colour="red")  # type: ignore[call-arg]
    await run_in_asyncio(measure(3))  # type: ignore[arg-type]
    await run_in_asyncio(len, [])  # type: ignore[arg-type]
    await send(link, 3)  # type: ignore[misc]
    await receive(hub)  # type: ignore[arg-type]
