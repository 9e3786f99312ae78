"""Signals in an asyncio program: one ends all of it, and the robot is shut down first."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from children import Child

PROGRAM = """
import asyncio
from horus_trio.bridges import run_in_asyncio

class Robot(AsyncNode):
    async def tick_async(self):
        if once(self, 1):
            say("ticks")
    async def shutdown(self):
        await trio.sleep(0.05)
        say("shut down")

scheduler = Scheduler(50.0)
scheduler.add(Robot(), critical=True)

async def other():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)
        say("other ended")

async def main():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(other())
        tasks.create_task(run_in_asyncio(scheduler.run))
"""

END = """
try:
    {run}
finally:
    say(f"reason {scheduler.report.reason},")
    say(f"restored {signal.getsignal(signal.SIGINT) is signal.default_int_handler}")
    say(f"restored {signal.getsignal(signal.SIGTERM) == DEFAULT}")
"""


def program(run: str = "asyncio.run(main())", more: str = "") -> str:
    default = "\nsignal.signal(signal.SIGTERM, signal.SIG_DFL)\nDEFAULT = signal.SIG_DFL\n"
    return default + PROGRAM + more + END.replace("{run}", run)


@pytest.mark.slow
@pytest.mark.parametrize("debug", [False, True])
def test_one_ctrl_c_ends_the_whole_program(tmp_path: Path, debug: bool) -> None:
    with Child(tmp_path, program(f"asyncio.run(main(), debug={debug})")) as child:
        child.told("ticks")
        child.signal(signal.SIGINT)
        assert child.end() == -signal.SIGINT
    order = [line.text.rpartition(" ")[0] for line in child.seen if "Error" not in line.text]
    assert "reason SIGINT," in order
    assert {"shut down", "other ended"} <= set(order[: order.index("reason SIGINT,")])
    assert order.count("restored True") == 2
    assert "RuntimeWarning" not in child.said
    assert "never retrieved" not in child.said


def test_one_sigterm_ends_the_whole_program(tmp_path: Path) -> None:
    with Child(tmp_path, program()) as child:
        child.told("ticks")
        child.signal(signal.SIGTERM)
        assert child.end() == -signal.SIGINT  # it does what Ctrl-C does
    assert "reason SIGTERM, " in child.said
    assert child.said.index("shut down") < child.said.index("reason")
    assert child.said.index("other ended") < child.said.index("reason")
    assert child.said.count("restored True") == 2
    assert "never retrieved" not in child.said


def test_one_hang_up_ends_the_whole_program(tmp_path: Path) -> None:
    with Child(tmp_path, program()) as child:
        child.told("ticks")
        child.signal(signal.SIGHUP)
        assert child.end() == -signal.SIGINT
    assert child.said.index("shut down") < child.said.index("reason")
    assert child.said.index("other ended") < child.said.index("reason")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_scheduler_that_leaves_signals_alone_is_stopped_all_the_same(
    tmp_path: Path, signum: signal.Signals
) -> None:
    more = "scheduler._change_settings({'signals': False})\n"
    with Child(tmp_path, program(more=more)) as child:
        child.told("ticks")
        child.signal(signum)
        child.end()
    assert "reason it was cancelled, " in child.said
    assert child.said.index("shut down") < child.said.index("reason")
    assert child.said.index("other ended") < child.said.index("reason")


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_a_loop_without_asyncio_run(tmp_path: Path, signum: signal.Signals, code: int) -> None:
    """Nobody there handles any: the program ends when the robot has stopped."""
    run = "loop = asyncio.new_event_loop(); loop.run_until_complete(run_in_asyncio(scheduler.run))"
    with Child(tmp_path, program(run)) as child:
        child.told("ticks")
        child.signal(signum)
        assert child.end() == code
    assert child.said.index("shut down") < child.said.index(f"reason {signum.name}, ")
    assert child.said.count("restored True") == 2


def test_a_handler_of_the_loop_is_called(tmp_path: Path) -> None:
    """As aiohttp's `run_app` and many programs do it."""
    more = """
async def main():
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: (say("handled"), stop.set()))
    robot = asyncio.create_task(run_in_asyncio(scheduler.run))
    await stop.wait()
    robot.cancel()
    await asyncio.wait([robot])
    say("main ended")
"""
    with Child(tmp_path, program(more=more)) as child:
        child.told("ticks")
        child.signal(signal.SIGTERM)
        assert child.end() == 0
    assert child.said.count("handled") == 1
    assert child.said.index("shut down") < child.said.index("main ended")
    assert child.said.count("restored True") == 2


def test_a_handler_that_the_loop_gets_during_the_run_is_called(tmp_path: Path) -> None:
    more = """
async def main():
    stop = asyncio.Event()
    robot = asyncio.create_task(run_in_asyncio(scheduler.run))
    await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: (say("handled"), stop.set()))
    say("ready")
    await stop.wait()
    robot.cancel()
    await asyncio.wait([robot])
    loop.remove_signal_handler(signal.SIGTERM)
    say("main ended")
"""
    with Child(tmp_path, program(more=more)) as child:
        child.told("ready")
        child.signal(signal.SIGTERM)
        assert child.end() == 0
    assert child.said.count("handled") == 1
    assert child.said.index("shut down") < child.said.index("main ended")


def test_a_server_that_puts_back_what_it_had_found_puts_nothing_dead_back(tmp_path: Path) -> None:
    """It takes the signals over during the run and gives them back after it, as uvicorn may."""
    more = """
async def main():
    robot = asyncio.create_task(run_in_asyncio(scheduler.run))
    await asyncio.sleep(0.05)
    found = signal.signal(signal.SIGTERM, lambda signum, frame: say("served"))
    scheduler.stop()
    await robot
    signal.signal(signal.SIGTERM, found)
    say("ready")
    await asyncio.sleep(60)
"""
    with Child(tmp_path, program(more=more)) as child:
        child.told("ready")
        child.signal(signal.SIGTERM)
        assert child.end() == -signal.SIGTERM


@pytest.mark.slow
def test_the_second_ctrl_c_forces_the_stop(tmp_path: Path) -> None:
    more = """
class Slow(AsyncNode):
    async def tick_async(self):
        pass
    async def shutdown(self):
        say("begins to shut down")
        await trio.sleep(60)

scheduler.add(Slow(), critical=True, shutdown_timeout=50.0)
scheduler._change_settings({"stop_timeout": 55.0})
"""
    with Child(tmp_path, program(more=more)) as child:
        child.told("ticks")
        child.signal(signal.SIGINT)
        child.told("begins to shut down")
        child.signal(signal.SIGINT)
        assert child.end() == -signal.SIGINT
    assert "forced by SIGINT" in child.said
    assert "TrioInternalError" not in child.said


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_inside_trios_own_code_breaks_nothing(
    tmp_path: Path, signum: signal.Signals
) -> None:
    """Twice, from within a tick: asyncio's handler would raise KeyboardInterrupt there."""
    more = f"""
class Twice(AsyncNode):
    ticks = 0

    async def tick_async(self):
        self.ticks += 1
        if self.ticks == 3:
            signal.raise_signal({int(signum)})
            signal.raise_signal({int(signum)})
scheduler.add(Twice())
scheduler._change_settings({{"signals": False}})
"""
    with Child(tmp_path, program(more=more)) as child:
        child.end()
    assert child.said.index("shut down") < child.said.index("reason it was cancelled")
    assert "TrioInternalError" not in child.said


@pytest.mark.slow
def test_what_blocks_the_asyncio_loop_is_named_with_its_stack(tmp_path: Path) -> None:
    more = """
def blocks():
    time.sleep(1.0)  # HERE

logging.basicConfig(level=logging.INFO, format="LOG %(message)s")

async def main():
    robot = asyncio.create_task(run_in_asyncio(scheduler.run))
    await asyncio.sleep(0.2)
    blocks()
    await asyncio.sleep(0.3)
    stall = robot and scheduler.statistics().stalls[-1]
    say(f"stall {stall.node} {stall.what} {stall.duration:.0f} in {stall.where}")
    scheduler.stop()
    await robot
"""
    with Child(tmp_path, program(more=more)) as child:
        assert child.end() == 0
        line = child.line_of("# HERE")
    assert "LOG the loop has been blocked for" in child.said
    assert f"robot.py:{line}" in child.said
    assert "in blocks" in child.said
    assert "stall None code of no node 1 in " in child.said
    assert "await asyncio.to_thread(" in child.said
    assert "LOG the loop goes on" in child.said


@pytest.mark.slow
def test_a_node_that_blocks_the_asyncio_loop_is_named(tmp_path: Path) -> None:
    more = """
class Blocks(AsyncNode):
    async def tick_async(self):
        if once(self, 3):
            time.sleep(1.0)

scheduler.add(Blocks("blocks"))

async def main():
    robot = asyncio.create_task(run_in_asyncio(scheduler.run))
    while not scheduler.statistics().stalls:
        await asyncio.sleep(0.05)
    stall = scheduler.statistics().stalls[-1]
    say(f"stall {stall.node} {stall.what}")
    scheduler.stop()
    await robot
"""
    with Child(tmp_path, program(more=more)) as child:
        assert child.end() == 0
    assert "stall blocks tick 3" in child.said
