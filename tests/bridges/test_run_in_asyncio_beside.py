"""`run_in_asyncio` beside servers, other loops and trio-asyncio, in processes of their own."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import horus_trio
from horus_trio.bridges.asyncio.host import Host

ROOT = Path(horus_trio.__file__).parents[1]

PRELUDE = """
import asyncio, functools, gc, signal, sys, threading, time
import trio
import horus_trio as horus
from horus_trio import AsyncNode, Node, Scheduler
from horus_trio.bridges import run_in_asyncio

async def well(node):
    pass

def robot(rate=100.0):
    return Scheduler(rate).add(Node("async", tick=well)).add(Node("def", tick=lambda node: None))

def ok(scheduler):
    return min(node.ok for node in scheduler.statistics().nodes.values())
"""


def run(program: str, *arguments: str, first: str = "") -> tuple[list[str], str]:
    """A program's lines, and what it has written to standard error."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            *arguments,
            "-c",
            first + PRELUDE + textwrap.dedent(program),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("arguments", [(), ("-X", "dev")])
def test_nothing_is_on_stderr(arguments: tuple[str, ...]) -> None:
    program = """
    async def main():
        scheduler = robot()
        task = asyncio.create_task(run_in_asyncio(scheduler.run))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        print((await run_in_asyncio(scheduler.run, 0.1)).reason)

    asyncio.run(main())
    gc.collect()
    """
    lines, errors = run(program, *arguments)
    assert lines == ["its duration of 0.1 s was over"]
    assert errors == ""


def test_importing_the_package_imports_neither_bridges_nor_trio_asyncio() -> None:
    lines, _ = run("print(*sorted(sys.modules))")
    assert "trio_asyncio" not in lines[0].split()
    only = subprocess.run(
        [sys.executable, "-c", "import sys, horus_trio; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert not [name for name in only.stdout.split() if name.startswith("horus_trio.bridges")]


def test_a_loop_that_trio_asyncio_has_made_is_refused_with_the_ways_out() -> None:
    program = """
    async def main():
        try:
            await run_in_asyncio(trio.sleep, 0)
        except horus.NotRunning as error:
            print(error)
        with horus.background(robot()) as scheduler:  # one way out
            while ok(scheduler) < 5:
                await asyncio.sleep(0.01)
        print(scheduler.report.reason)

    asyncio.run(main())

    async def again():
        print((await run_in_asyncio(robot().run, 0.1)).reason)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # the other
        runner.run(again())
    """
    lines, errors = run(program, "-W", "ignore::DeprecationWarning", first="import trio_asyncio")
    assert "loop_factory=asyncio.SelectorEventLoop" in lines[0]
    assert "horus_trio.background(" in lines[0]
    assert lines[1:] == ["its background block was left", "its duration of 0.1 s was over"]
    assert errors == ""


def test_asyncio_loops_of_nodes_run_inside_it() -> None:
    """Both directions in one process and one thread."""
    program = """
    async def library():
        future = asyncio.Future()
        # The engine may stop, and cancel it, just before that.
        later = lambda: future.done() or future.set_result(1)
        asyncio.get_running_loop().call_later(0.001, later)
        async with asyncio.timeout(5):
            await future
            await asyncio.gather(*[asyncio.sleep(0.001) for _ in range(3)])
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.sleep(0.001))

    class Asks(AsyncNode):
        def init(self):
            self.start_soon(self.live)

        async def live(self):
            import trio_asyncio
            async with trio_asyncio.open_loop():
                while True:
                    await trio_asyncio.aio_as_trio(library)()
                    self.send("asked", True)
                    await trio.sleep(0.001)

        async def tick_async(self):
            pass

    async def main():
        scheduler = robot().add(Asks("asks"))
        asked = scheduler.topic("asked").subscribe()
        host = asyncio.get_running_loop()
        task = asyncio.create_task(run_in_asyncio(scheduler.run))
        await asyncio.sleep(0.01)
        while asked.depth < 5 and not task.done():
            await asyncio.wait_for(asyncio.sleep(0.01), 1)
            assert asyncio.get_running_loop() is host
        scheduler.stop("enough")
        print((await task).reason)

    asyncio.run(main())
    """
    lines, errors = run(program, "-W", "ignore::DeprecationWarning")
    assert lines == ["enough"]
    assert errors == ""


def test_a_loop_that_is_closed_under_it_says_so() -> None:
    program = """
    import logging, os
    logging.basicConfig(format="LOG %(message)s", stream=sys.stdout)
    loop = asyncio.new_event_loop()
    scheduler = robot()
    scheduler.add(
        Node("arm", tick=well, enter_safe_state=lambda node: print("safe")), critical=True
    )
    task = loop.create_task(run_in_asyncio(scheduler.run))
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    time.sleep(0.2)
    sys.stdout.flush()
    os._exit(0)
    """
    lines, _ = run(program)  # Trio warns of it as well
    assert "safe" in lines  # what is critical is not left in motion
    (said,) = [line for line in lines if "was closed while" in line]
    assert said.startswith("LOG the asyncio loop was closed while Trio ran in it")
    assert "await run_in_asyncio(…) to its end" in said


def test_calls_of_trio_that_a_closed_loop_drops_are_noticed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost: list[str] = []
    loop = asyncio.new_event_loop()
    host = Host(loop, lambda: lost.append("lost"))
    host.call_soon(lambda: lost.append("called"))
    loop.run_until_complete(asyncio.sleep(0))
    assert lost == ["called"]
    host.call_soon(lambda: lost.append("called again"))
    loop.close()
    host.call_soon_threadsafe(lambda: lost.append("called at last"))
    assert lost == ["called", "lost"]
    assert "the asyncio loop was closed while Trio ran in it" in caplog.text


def test_uvloop_can_be_the_host(require: Callable[[str, bool, str], None]) -> None:
    require("uvloop", importlib.util.find_spec("uvloop") is not None, "pip install uvloop")
    program = """
    import uvloop

    async def main():
        scheduler = robot()
        task = asyncio.create_task(run_in_asyncio(scheduler.run))
        async with asyncio.timeout(30):
            while ok(scheduler) < 5:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        print((await run_in_asyncio(scheduler.run, 0.1)).reason)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    """
    lines, errors = run(program)
    assert lines == ["its duration of 0.1 s was over"]
    assert errors == ""


@pytest.mark.slow
def test_beside_an_aiohttp_server_the_rate_is_kept() -> None:
    pytest.importorskip("aiohttp")
    program = """
    from aiohttp import ClientSession, web
    from horus_trio.bridges.asyncio import receive, send

    async def main():
        scheduler = robot()
        scheduler.add(Node("reader", tick=well, subs=[horus.Sub("orders")]))
        clock = scheduler.topic("clock")

        async def tick(node):
            node.send("clock", node.current_tick.seq)

        scheduler.add(Node("clock", tick=tick))
        newest = clock.subscribe(overflow=horus.Overflow.LATEST)

        async def statistics(request):
            return web.json_response({"ok": ok(scheduler)})

        async def order(request):
            taken = await send(scheduler.topic("orders"), await request.json())
            return web.json_response({"taken": taken, "seq": await receive(newest)})

        app = web.Application()
        app.add_routes([web.get("/statistics", statistics), web.post("/orders", order)])

        async def engine(app):
            task = asyncio.create_task(run_in_asyncio(scheduler.run))
            yield
            task.cancel()
            await asyncio.wait([task])

        app.cleanup_ctx.append(engine)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        before = time.monotonic()
        async with ClientSession(f"http://{host}:{port}") as client:
            while time.monotonic() < before + 1.0:
                async with client.get("/statistics") as answer:
                    assert answer.status == 200
                async with client.post("/orders", json={"speed": 1}) as answer:
                    assert (await answer.json())["taken"] == 1
            await asyncio.sleep(0.2)
        await runner.cleanup()
        print(scheduler.report.reason)
        print(ok(scheduler) >= 80)

    asyncio.run(main())
    """
    lines, errors = run(program, "-W", "ignore::DeprecationWarning")
    assert lines == ["it was cancelled", "True"]
    assert errors == ""
