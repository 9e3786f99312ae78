"""The engine in an asyncio program: its topics, its failures and its end are asyncio's, too."""

from __future__ import annotations

import asyncio

import horus_trio as horus
from horus_trio.bridges import run_in_asyncio
from horus_trio.bridges.asyncio import messages

distances = [3.0]


async def sonar(node: horus.Node) -> None:
    distances.append(distances[-1] - 0.5)
    if distances[-1] < 0:
        raise ValueError(f"the distance is {distances[-1]} m")
    node.send("distance", distances[-1])


async def watch(subscription: horus.Subscription[float]) -> None:
    async for distance in messages(subscription):
        print("asyncio sees", distance, "m")


async def main() -> None:
    scheduler = horus.Scheduler()
    scheduler.add(horus.Node("sonar", tick=sonar, rate=20, failure_policy=horus.Fatal()))
    subscription = scheduler.topic("distance").subscribe()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(watch(subscription))
            group.create_task(run_in_asyncio(scheduler.run))
    except* ValueError:  # RunFailed is a group of what nodes have raised
        print("the robot ended:", scheduler.report.reason if scheduler.report else "")


if __name__ == "__main__":
    asyncio.run(main())
