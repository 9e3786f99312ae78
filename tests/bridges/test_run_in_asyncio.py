"""`run_in_asyncio`: values, exceptions and cancellation cross, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import itertools
import signal
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.lowlevel

import horus_trio as horus
from horus_trio import AsyncNode, Node, RunFailed, Scheduler
from horus_trio.bridges import run_in_asyncio
from horus_trio.bridges.asyncio.host import Host
from horus_trio.errors import AlreadyRunning, ConfigurationError, NotRunning, UnknownNode


async def well(node: Node) -> None:
    pass


class Logbook(AsyncNode):
    """Writes down what happens to it."""

    def __init__(self, name: str = "logbook") -> None:
        super().__init__(name)
        self.lines: list[str] = []

    async def init(self) -> None:
        self.lines.append("init")

    async def tick_async(self) -> None:
        if self.lines[-1] != "tick":
            self.lines.append("tick")

    async def shutdown(self) -> None:
        await trio.sleep(0.05)
        self.lines.append("shutdown")


async def ticking(scheduler: Scheduler) -> None:
    """Wait, in an asyncio task, until every node has ticked."""
    give_up = time.monotonic() + 20
    while not scheduler.statistics().nodes or any(
        node.ok == 0 for node in scheduler.statistics().nodes.values()
    ):
        assert time.monotonic() < give_up
        await asyncio.sleep(0.005)


# What crosses


def test_it_returns_what_the_function_returns() -> None:
    async def add(first: int, *, second: int) -> int:
        await trio.sleep(0.001)
        return first + second

    assert asyncio.run(run_in_asyncio(add, 2, second=3)) == 5


def test_a_scheduler_runs_and_returns_its_report() -> None:
    scheduler = Scheduler(100).add(Node("a", tick=well)).add(Node("b", tick=lambda node: None))
    report = asyncio.run(run_in_asyncio(scheduler.run, 0.2))
    assert report is scheduler.report
    assert report.reason == "its duration of 0.2 s was over"
    assert all(node.ok >= 1 for node in report.statistics.nodes.values())


def test_the_asyncio_loop_goes_on_beside_it() -> None:
    async def main() -> int:
        scheduler = Scheduler(100).add(Node("a", tick=well))
        robot = asyncio.create_task(run_in_asyncio(scheduler.run, 20))
        rounds = 0
        while not robot.done():
            await asyncio.sleep(0.001)
            rounds += 1
            if scheduler.statistics().nodes["a"].ok >= 30:
                scheduler.stop("enough")
        assert (await robot).reason == "enough"
        return rounds

    assert asyncio.run(main()) > 10


def test_one_run_after_the_other_in_one_loop() -> None:
    async def main() -> None:
        scheduler = Scheduler(100).add(Node("a", tick=well))
        for _ in range(3):
            assert (await run_in_asyncio(scheduler.run, 0.02)).failed == ()

    asyncio.run(main())


def test_what_the_function_raises_is_raised_with_its_own_traceback() -> None:
    async def fails() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there") as caught:
        asyncio.run(run_in_asyncio(fails))
    assert caught.traceback[-1].name == "fails"


def test_a_fatal_failure_is_the_original_exception_with_its_report() -> None:
    original = OSError("no camera")

    async def tick(node: Node) -> None:
        raise original

    scheduler = Scheduler(100).add(Node("a", tick=tick, failure_policy=horus.Fatal()))
    with pytest.raises(RunFailed) as caught:
        asyncio.run(run_in_asyncio(scheduler.run))
    assert caught.value.exceptions == (original,)
    assert caught.value.report is scheduler.report


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_inside_trio_code_ends_the_program(kind: type[BaseException]) -> None:
    ended: list[str] = []

    async def other() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("other")

    async def exits() -> None:
        await trio.sleep(0.01)
        raise kind("enough")

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(other())
            tasks.create_task(run_in_asyncio(exits))

    with pytest.raises(kind, match="enough"):
        asyncio.run(main())
    assert ended == ["other"]


def test_context_variables_cross() -> None:
    colour = contextvars.ContextVar("colour", default="none")

    async def ask() -> str:
        return colour.get()

    async def main() -> str:
        colour.set("blue")
        return await run_in_asyncio(ask)

    assert asyncio.run(main()) == "blue"


def test_trio_code_sees_no_asyncio_loop() -> None:
    async def look() -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        await trio.sleep(0.001)
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    async def main() -> None:
        await run_in_asyncio(look)
        assert asyncio.get_running_loop().is_running()
        await asyncio.sleep(0)

    asyncio.run(main())


# Cancellation


def test_cancelled_it_stops_the_robot_and_waits_for_it() -> None:
    node = Logbook()
    scheduler = Scheduler(100).add(node)

    async def main() -> None:
        robot = asyncio.create_task(run_in_asyncio(scheduler.run))
        await ticking(scheduler)
        robot.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await robot
        assert robot.cancelled()
        assert node.lines == ["init", "tick", "shutdown"]

    asyncio.run(main())
    assert scheduler.report is not None
    assert scheduler.report.reason == "it was cancelled"
    assert not scheduler.report.forced_by


def test_cancelled_again_and_again_it_is_still_awaited() -> None:
    node = Logbook()
    scheduler = Scheduler(100).add(node)

    async def main() -> None:
        robot = asyncio.create_task(run_in_asyncio(scheduler.run))
        await ticking(scheduler)
        for _ in range(5):
            robot.cancel()
            await asyncio.sleep(0.002)
        assert not robot.done()
        await asyncio.wait([robot])
        assert robot.cancelled()
        assert node.lines == ["init", "tick", "shutdown"]

    asyncio.run(main())


@pytest.mark.parametrize("rounds", range(6))
def test_cancelled_before_it_has_begun(rounds: int) -> None:
    node = Logbook()

    async def main() -> None:
        scheduler = Scheduler(100).add(node)
        robot = asyncio.create_task(run_in_asyncio(scheduler.run))
        for _ in range(rounds):
            await asyncio.sleep(0)
        robot.cancel()
        await asyncio.wait([robot])
        assert robot.cancelled()
        assert node.lines in ([], ["init", "shutdown"], ["init", "tick", "shutdown"])
        await run_in_asyncio(trio.sleep, 0.001)  # there is room again

    asyncio.run(main())


def test_a_timeout_ends_it() -> None:
    node = Logbook()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await run_in_asyncio(Scheduler(100).add(node).run)
        assert node.lines[-1] == "shutdown"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run_in_asyncio(trio.sleep_forever), 0.01)

    asyncio.run(main())


def test_in_a_task_group_a_failure_elsewhere_stops_the_robot() -> None:
    node = Logbook()
    scheduler = Scheduler(100).add(node)

    async def fails() -> None:
        await ticking(scheduler)
        raise LookupError("elsewhere")

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_in_asyncio(scheduler.run))
            tasks.create_task(fails())

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert [str(error) for error in caught.value.exceptions] == ["elsewhere"]
    assert node.lines == ["init", "tick", "shutdown"]


def test_a_failure_while_it_is_cancelled_is_not_lost() -> None:
    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("too late")

    async def main() -> None:
        with pytest.raises(LookupError, match="too late"):
            async with asyncio.timeout(0.01):
                await run_in_asyncio(fails)

    asyncio.run(main())


def test_a_program_that_ends_stops_a_robot_in_the_background() -> None:
    """`asyncio.run` cancels what is left, in a second run of the same loop."""
    node = Logbook()
    scheduler = Scheduler(100).add(node)

    async def main() -> asyncio.Task[Any]:
        robot = asyncio.create_task(run_in_asyncio(scheduler.run))
        await ticking(scheduler)
        return robot

    before = signal.getsignal(signal.SIGINT)
    robot = asyncio.run(main())
    assert signal.getsignal(signal.SIGINT) is before
    assert robot.cancelled()
    assert node.lines == ["init", "tick", "shutdown"]


def test_a_robot_goes_on_when_its_loop_runs_again() -> None:
    node = Logbook()
    scheduler = Scheduler(100).add(node)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        robot = loop.create_task(run_in_asyncio(scheduler.run))
        loop.run_until_complete(ticking(scheduler))
        before = scheduler.statistics().nodes["logbook"].ok
        loop.run_until_complete(asyncio.sleep(0.2))
        assert scheduler.statistics().nodes["logbook"].ok > before
        scheduler.stop("enough")
        assert loop.run_until_complete(robot).reason == "enough"
    assert node.lines == ["init", "tick", "shutdown"]


# The engine from asyncio tasks


def test_the_scheduler_is_controlled_from_asyncio_tasks() -> None:
    scheduler = Scheduler(100).add(Node("a", tick=well)).add(Node("b", tick=well))

    async def until(condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < give_up
            await asyncio.sleep(0.002)

    def ok(name: str) -> int:
        return scheduler.statistics().nodes[name].ok

    async def main() -> None:
        robot = asyncio.create_task(run_in_asyncio(scheduler.run))
        await ticking(scheduler)
        scheduler.pause("a")
        await asyncio.sleep(0.03)  # a tick in flight ends
        paused, other = ok("a"), ok("b")
        await until(lambda: ok("b") > other + 3)
        assert ok("a") == paused
        scheduler.resume("a")
        await until(lambda: ok("a") > paused)
        scheduler.set_rate("b", 500)
        late = Logbook("late")
        scheduler.add(late)
        await until(lambda: ok("late") > 0)
        scheduler.remove("late")
        await until(lambda: late.lines[-1] == "shutdown")
        with pytest.raises(UnknownNode):
            scheduler.pause("late")
        scheduler.emergency_stop("a drill")
        assert scheduler.emergency is not None
        scheduler.reset_emergency()
        assert "running" in scheduler.dump(sys.stdout)
        scheduler.stop("enough")
        report = await robot
        assert report.reason == "enough"

    asyncio.run(main())


def test_results_come_by_callback() -> None:
    async def main() -> int:
        results: list[object] = []
        scheduler = Scheduler(100).add(Node("a", tick=well))
        scheduler.on_result(results.append)
        await run_in_asyncio(scheduler.run, 0.1)
        return len(results)

    assert asyncio.run(main()) >= 3


def test_def_ticks_and_threads_work() -> None:
    class Own(Node):
        thread = "own"

        def __init__(self) -> None:
            super().__init__("own")
            self.threads: set[int] = set()

        def tick(self) -> None:
            self.threads.add(threading.get_ident())

    node = Own()
    asyncio.run(run_in_asyncio(Scheduler(100).add(node).run, 0.1))
    assert len(node.threads) == 1
    assert threading.get_ident() not in node.threads


# Debug mode, generators


def test_asyncios_debug_mode_finds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    node = Logbook()

    async def main() -> None:
        scheduler = Scheduler(100).add(node).add(Node("def", tick=lambda node: None))
        robot = asyncio.create_task(run_in_asyncio(scheduler.run))
        await ticking(scheduler)
        robot.cancel()
        await asyncio.wait([robot])

    asyncio.run(main(), debug=True)
    assert not [r for r in caplog.records if r.name == "asyncio" and r.levelname == "ERROR"]
    assert node.lines[-1] == "shutdown"


def test_async_generators_belong_to_who_runs_them() -> None:
    closed: list[str] = []

    async def numbers(name: str, sleep: Callable[[float], Awaitable[Any]]) -> Any:
        try:
            for number in range(100):
                yield number
                await sleep(0.001)
        finally:
            closed.append(f"{name}, in Trio: {trio.lowlevel.in_trio_task()}")

    async def in_trio() -> None:
        generator = numbers("trio", trio.sleep)
        await anext(generator)
        await anext(generator)

    async def main() -> None:
        robot = asyncio.create_task(run_in_asyncio(trio.sleep, 0.2))
        await asyncio.sleep(0.01)
        mine = numbers("asyncio", asyncio.sleep)
        await anext(mine)
        await anext(mine)
        del mine
        gc.collect()
        await robot
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Trio's, at an unclosed generator
            await run_in_asyncio(in_trio)
            gc.collect()

    asyncio.run(main())
    assert closed == ["asyncio, in Trio: False", "trio, in Trio: True"]


# What makes no sense


def test_outside_asyncio_it_says_what_to_do() -> None:
    async def nothing() -> None:
        pass

    coroutine = run_in_asyncio(nothing)
    with pytest.raises(NotRunning, match=r"needs a running asyncio loop: `asyncio\.run"):
        coroutine.send(None)


async def test_inside_a_trio_run_it_says_what_to_do() -> None:
    with pytest.raises(NotRunning, match=r"inside a Trio run; await the function itself"):
        await run_in_asyncio(trio.sleep, 0)


def test_inside_its_own_run_it_says_what_to_do() -> None:
    async def nested() -> None:
        await run_in_asyncio(trio.sleep, 0)

    with pytest.raises(NotRunning, match="inside a Trio run"):
        asyncio.run(run_in_asyncio(nested))


def test_a_second_run_in_one_loop_says_what_to_do() -> None:
    async def main() -> None:
        scheduler = Scheduler(100).add(Node("a", tick=well))
        robot = asyncio.create_task(run_in_asyncio(scheduler.run))
        await ticking(scheduler)
        with pytest.raises(AlreadyRunning, match=r"there is room for one run.*background\("):
            await run_in_asyncio(trio.sleep, 0)
        with horus.background(Node("b", tick=well)) as other:  # the way out
            await ticking(other)
        with pytest.raises(AlreadyRunning, match="runs already"):
            scheduler.run()
        scheduler.stop()
        await robot

    asyncio.run(main())


def test_runs_in_two_loops_in_two_threads() -> None:
    reports: list[object] = []

    def run() -> None:
        scheduler = Scheduler(100).add(Node("a", tick=well))
        reports.append(asyncio.run(run_in_asyncio(scheduler.run, 0.1)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2


def test_a_plain_run_in_an_asyncio_task_names_both_ways() -> None:
    async def main() -> None:
        with pytest.raises(NotRunning, match=r"run_in_asyncio\(scheduler\.run\).*background"):
            Scheduler(100).add(Node("a", tick=well)).run()
        with pytest.raises(NotRunning, match=r"run_in_asyncio\(scheduler\.run\).*background"):
            horus.run(Node("a", tick=well))
        robot = asyncio.create_task(run_in_asyncio(trio.sleep, 0.05))
        await asyncio.sleep(0.01)
        with pytest.raises(NotRunning, match=r"run_in_asyncio\(scheduler\.run\).*background"):
            Scheduler(100).add(Node("a", tick=well)).run()
        await robot

    asyncio.run(main())


def test_a_coroutine_object_is_closed_and_refused() -> None:
    async def job(number: int) -> None:
        pass

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"got a coroutine object; pass the function"):
            await run_in_asyncio(job(1))  # type: ignore[arg-type]
        gc.collect()  # a coroutine that was never awaited would warn

    asyncio.run(main())


@pytest.mark.parametrize("given", [None, 3, "run", Scheduler()])
def test_what_is_no_function_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"expected an async function, such as scheduler"):
        asyncio.run(run_in_asyncio(given))


def test_a_plain_function_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"expected an async function.*returned 3"):
        asyncio.run(run_in_asyncio(functools.partial(abs, -3)))  # type: ignore[arg-type]


def test_asyncio_code_where_trio_code_is_expected() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.run(run_in_asyncio(asyncio.sleep, 0.1))
    with pytest.raises(TypeError, match="asyncio"):
        asyncio.run(run_in_asyncio(asyncio.sleep, 0))


# Nothing is left


def test_nothing_is_left_behind() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    hooks = sys.get_asyncgen_hooks()

    async def main() -> None:
        scheduler = Scheduler(100).add(Node("a", tick=well)).add(Node("b", tick=lambda node: None))
        inside = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        own = sys.get_asyncgen_hooks()
        await run_in_asyncio(scheduler.run, 0.05)
        assert [
            signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        ] == inside
        assert sys.get_asyncgen_hooks() == own
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not trio.lowlevel.in_trio_run()

    asyncio.run(main())
    assert [
        signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ] == before
    assert sys.get_asyncgen_hooks() == hooks


# Signals, in this process; what they do to whole programs is in test_run_in_asyncio_signals.py


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("inside", [False, True])
def test_a_signal_ends_asyncio_run_as_ctrl_c_does(signum: signal.Signals, inside: bool) -> None:
    node = Logbook()
    ticks = itertools.count(1)

    async def tick(other: Node) -> None:
        if inside and next(ticks) == 3:
            signal.raise_signal(signum)

    async def main() -> None:
        scheduler = Scheduler(100).add(node).add(Node("other", tick=tick))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_in_asyncio(scheduler.run))
            await ticking(scheduler)
            if not inside:
                signal.raise_signal(signum)
            await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert node.lines == ["init", "tick", "shutdown"]


@pytest.mark.parametrize(
    ("signum", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_that_nobody_handles_is_raised_when_the_robot_has_stopped(
    signum: signal.Signals, error: type[BaseException]
) -> None:
    node = Logbook()
    scheduler = Scheduler(100, signals=False).add(node)
    before = signal.getsignal(signum)
    ticks = itertools.count(1)

    async def tick(other: Node) -> None:
        if next(ticks) == 3:
            signal.raise_signal(signum)

    scheduler.add(Node("other", tick=tick))
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(error) as caught:
            loop.run_until_complete(run_in_asyncio(scheduler.run))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    if error is SystemExit:
        assert caught.value.args == (128 + signum,)
    assert node.lines == ["init", "tick", "shutdown"]
    assert signal.getsignal(signum) == before


def test_an_ended_run_hands_on_what_its_handler_still_gets() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: got.append(signum))

    async def find() -> Any:
        return signal.getsignal(signal.SIGTERM)

    try:
        found = asyncio.run(run_in_asyncio(find))
        signal.signal(signal.SIGTERM, found)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert got == 2 * [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_off_the_main_thread_signals_are_left_alone() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    during: list[object] = []

    async def look() -> None:
        during.extend(signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM))

    thread = threading.Thread(target=lambda: asyncio.run(run_in_asyncio(look)))
    thread.start()
    thread.join()
    assert during == before


def test_a_closed_loop_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    host = Host(loop)
    for _ in range(3):
        host.call_soon_threadsafe(lambda: None)
    (record,) = caplog.records
    assert "was closed while Trio ran in it" in record.message
