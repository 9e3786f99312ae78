"""An `AsyncioNode` and the rest of the process: what it imports, changes, holds, and disturbs."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from children import line_of
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import AsyncNode, ConfigurationError
from horus_trio.bridges import AsyncioNode
from horus_trio.profiling import Profiler

ROOT = Path(horus.__file__).parents[1]


def python(program: str) -> str:
    """What a program of its own prints, and nothing else: not a word on stderr."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert finished.stderr == ""
    assert finished.returncode == 0
    return finished.stdout.strip()


A_NODE = """
import asyncio
import horus_trio as horus
from horus_trio.bridges import AsyncioNode

class Ticks(AsyncioNode):
    async def tick(self):
        await asyncio.sleep(0.001)
        return asyncio.get_running_loop()
"""


async def idle(node: AsyncioNode) -> None:
    pass


# Imports


@pytest.mark.slow
def test_nothing_is_imported_before_a_loop_is_needed() -> None:
    program = """
        import sys
        import horus_trio
        print([n for n in ("horus_trio.bridges", "trio_asyncio") if n in sys.modules])
        from horus_trio.bridges import AsyncioNode
        async def tick(node): pass
        scheduler = horus_trio.Scheduler().add(AsyncioNode("n", tick=tick))
        print("trio_asyncio" in sys.modules)
        scheduler.run(0.05)
        print("trio_asyncio" in sys.modules)
    """
    assert python(program).split("\n") == ["[]", "False", "True"]


def test_a_missing_package_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio_asyncio", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'horus-trio\[asyncio\]'"):
        horus.run(AsyncioNode("n", tick=idle), duration=0.1)


async def test_a_package_that_cannot_be_imported_is_the_nodes_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(name: str) -> None:
        raise AttributeError("module 'asyncio' has no attribute 'AbstractChildWatcher'")

    monkeypatch.setattr(importlib, "import_module", fail)
    async with horus.open_executor() as executor:
        with pytest.raises(ConfigurationError, match="older than this Python"):
            await executor.spawn_node(AsyncioNode("n", tick=idle))


# The other asyncio of the process


@pytest.mark.slow
def test_later_loops_of_the_process_are_asyncios_own() -> None:
    program = (
        A_NODE
        + """
import threading
horus.run(Ticks(rate=100), duration=0.05)

async def which():
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__module__

def everywhere():
    loop = asyncio.new_event_loop()
    print(type(loop).__module__, asyncio.run(which()), loop.run_until_complete(which()))
    loop.close()
    print(type(asyncio.get_event_loop_policy()).__module__)

everywhere()
thread = threading.Thread(target=everywhere)
thread.start()
thread.join()
"""
    )
    stock = "asyncio.unix_events"
    assert python(program).split("\n") == [f"{stock} {stock} {stock}", stock] * 2


@pytest.mark.slow
def test_whoever_has_imported_trio_asyncio_keeps_what_it_makes_of_asyncio() -> None:
    program = (
        "import trio_asyncio\n"
        + A_NODE
        + """
horus.run(Ticks(rate=100), duration=0.05)
loop = asyncio.new_event_loop()
print(type(loop).__module__)
loop.close()
"""
    )
    assert python(program) == "trio_asyncio._sync"


@pytest.mark.slow
def test_in_an_asyncio_program_it_runs_in_the_background() -> None:
    program = (
        A_NODE
        + """
async def main():
    with horus.background(Ticks("ticks", rate=100)) as scheduler:
        loops = set()
        scheduler.on_result(lambda result: loops.add(result.value))
        beats = 0
        while scheduler.statistics().nodes["ticks"].ok < 20 and beats < 2000:
            await asyncio.sleep(0.01)
            beats += 1
        assert beats < 2000
        assert asyncio.get_running_loop() not in loops and len(loops) == 1
    await asyncio.sleep(0)
    print(type(asyncio.get_running_loop()).__module__)

asyncio.run(main())
"""
    )
    assert python(program) == "asyncio.unix_events"


@pytest.mark.slow
def test_in_a_guest_run_of_somebody_elses_it_is_refused_with_the_way_out() -> None:
    program = (
        A_NODE
        + """
import trio

async def guest(main):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    trio.lowlevel.start_guest_run(
        main, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
    )
    return (await done).unwrap()

async def main():
    scheduler = horus.Scheduler().add(Ticks())
    try:
        await guest(scheduler.run)
    except horus.ConfigurationError as error:
        print(error)

asyncio.run(main())
"""
    )
    said = python(program)
    assert "node 'Ticks-1' is an AsyncioNode, and this Trio run is in the thread of an" in said
    assert "run_in_asyncio() of horus_trio.bridges" in said
    assert "with horus_trio.background(nodes) as scheduler" in said


# Isolation


def keep_alives() -> tuple[int, horus.RunReport]:
    """Three seconds with the siblings that the guarantee names; how many of 300 keep-alives."""

    class Keeping(AsyncioNode):
        def __init__(self) -> None:
            super().__init__("keeping", rate=1)
            self.kept = 0

        async def keep_alive(self) -> None:
            loop = asyncio.get_running_loop()
            due = loop.time()
            while True:
                self.kept += 1
                due += 0.01
                await asyncio.sleep(due - loop.time())

        async def init(self) -> None:
            self.task = asyncio.create_task(self.keep_alive())

        async def tick(self) -> None:
            pass

        async def shutdown(self) -> None:
            self.at_the_end = self.kept

    async def sleeps(node: AsyncioNode) -> None:
        await asyncio.sleep(5)

    class Raising(AsyncioNode):
        async def fail(self) -> None:
            await asyncio.sleep(0.05)
            raise ValueError("in the background")

        async def init(self) -> None:
            self.task = asyncio.create_task(self.fail())

        async def tick(self) -> None:
            pass

    keeping = Keeping()
    scheduler = horus.Scheduler()
    scheduler.add(keeping)
    scheduler.add(AsyncioNode("sleeping", tick=sleeps), rate=10)
    scheduler.add(Raising("raising", rate=100), failure_policy=horus.Restart(within=None))
    report = scheduler.run(3)
    return keeping.at_the_end, report


@pytest.mark.alone
@pytest.mark.slow
def test_keep_alives_run_between_ticks_beside_a_sleeping_and_a_failing_sibling(
    capfd: pytest.CaptureFixture[str],
) -> None:
    best = 0
    for _ in range(3):  # the machine's other work can only lower a figure
        kept, report = keep_alives()
        nodes = report.statistics.nodes
        assert nodes["raising"].restarts > 0
        assert nodes["keeping"].failures == nodes["sleeping"].failures == 0
        best = max(best, kept)
        if best >= 297:
            break
    assert best >= 297
    assert capfd.readouterr().err == ""


def test_a_node_that_blocks_the_loop_is_named_with_its_code() -> None:
    def blocking_code() -> None:
        time.sleep(0.6)

    class Blocks(AsyncioNode):
        ticks = 0

        async def tick(self) -> None:
            self.ticks += 1
            if self.ticks == 2:
                blocking_code()

    scheduler = horus.Scheduler(stall_after=0.1).add(Blocks("blocks", rate=10))
    report = scheduler.run(1.0)
    [stall] = [s for s in report.statistics.stalls if s.duration > 0.4]
    assert (stall.node, stall.what) == ("blocks", "its asyncio code")
    assert "blocking_code" in stall.where
    assert "await asyncio.to_thread" in stall.advice


@pytest.mark.parametrize("profiled", [False, True])
async def test_a_tick_that_hangs_is_named_with_its_line(
    mock_clock: MockClock, profiled: bool
) -> None:
    async def device() -> None:
        await asyncio.Event().wait()  # here it hangs

    async def tick(node: AsyncioNode) -> None:
        await device()

    said = io.StringIO()
    scheduler = horus.Scheduler().add(AsyncioNode("hanging", tick=tick, rate=10))
    with Profiler(scheduler) if profiled else contextlib.nullcontext():
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
            scheduler.dump(said)
            scheduler.stop()
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
    where = f"{Path(__file__).name}:{line_of(Path(__file__), 'here it hangs')} in device"
    assert where in said.getvalue()


# Many, and ends


@pytest.mark.slow
def test_six_hundred_waiting_nodes_need_no_descriptors_and_no_threads() -> None:
    async def waits(node: AsyncioNode) -> None:
        await node.recv_async("never")

    def look() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    seen: list[tuple[int, int]] = []

    class Looks(AsyncNode):
        async def tick_async(self) -> None:
            if all(n.in_flight for n in scheduler.statistics().nodes.values()):
                seen.append(look())
                self.request_stop("seen")

    horus.run(AsyncioNode("warm-up", tick=idle), duration=0.01)
    before = look()
    scheduler = horus.Scheduler(tick_rate=10)
    scheduler.add(Looks())
    for number in range(600):
        scheduler.add(AsyncioNode(f"waiting {number}", tick=waits, rate=2, tick_timeout=None))
    report = scheduler.run(30)
    assert report.reason.startswith("seen"), report.reason
    threads, descriptors = (now - then for now, then in zip(seen[0], before, strict=True))
    assert threads <= 5
    assert descriptors <= 12
    assert report.failed == ()


def test_a_stop_is_bounded_although_hooks_hang() -> None:
    async def hang(node: AsyncioNode, *args: Any) -> None:
        await asyncio.Event().wait()

    nodes = [
        AsyncioNode(f"hanging {number}", tick=hang, shutdown=hang, rate=10) for number in range(20)
    ]
    before = time.monotonic()
    scheduler = horus.Scheduler(stop_timeout=0.6)
    for node in nodes:
        scheduler.add(node)
    report = scheduler.run(0.2)
    assert time.monotonic() - before < 8
    assert all("took longer than" in "".join(report.hook_errors) for _ in nodes)
