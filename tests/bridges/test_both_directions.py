"""asyncio inside nodes, of an engine inside an asyncio program: one process, one thread."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import horus_trio

pytestmark = [
    pytest.mark.skipif(  # to import it here would change every `asyncio.run` of this process
        importlib.util.find_spec("trio_asyncio") is None
        or importlib.util.find_spec("horus_trio.bridges.asyncio.node") is None,
        reason="there are no nodes of asyncio code",
    ),
]

PROGRAM = """
import asyncio, time
import horus_trio as horus
from horus_trio.bridges import AsyncioNode, run_in_asyncio
from horus_trio.bridges.asyncio import receive

class Asks(AsyncioNode):
    rate = 50

    async def init(self):
        self.alive = 0
        self.keeping = asyncio.create_task(self.keep_alive())

    async def keep_alive(self):
        while True:
            await asyncio.sleep(0.01)
            self.alive += 1

    async def tick(self):
        future = asyncio.Future()
        asyncio.get_running_loop().call_later(0.001, future.set_result, 1)
        async with asyncio.timeout(5):
            await future
            await asyncio.gather(asyncio.sleep(0.001), asyncio.to_thread(time.sleep, 0.001))
        self.send("alive", self.alive)

async def other(node):
    pass

def robot(*nodes):
    scheduler = horus.Scheduler(100).add(horus.Node("other", tick=other))
    for node in nodes:
        scheduler.add(node)
    return scheduler

async def main():
    host = asyncio.get_running_loop()
    scheduler = robot(Asks("asks"))
    alive = scheduler.topic("alive").subscribe()
    running = asyncio.create_task(run_in_asyncio(scheduler.run))
    async with asyncio.timeout(20):
        for _ in range(15):
            count = await receive(alive)
            assert asyncio.get_running_loop() is host
    running.cancel()
    await asyncio.wait([running])
    print(count > 5, scheduler.report.reason, scheduler.report.failed)

asyncio.run(main())
print(asyncio.run(run_in_asyncio(robot().run, 0.1)).reason)  # trio-asyncio is imported by now
"""


def test_nodes_with_asyncio_loops_run_inside_an_asyncio_program() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(horus_trio.__file__).parents[1])},
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "True it was cancelled ()",
        "its duration of 0.1 s was over",
    ]
