"""G4 fence: an abandoned tick can no longer publish, by whatever way it tries.

A tick is left behind, and only then tries each way of sending; or it waits in one while it is left
behind. A cancelled async tick is different: until it has unwound it is running, and may say STOP.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import AsyncResult, Hub, Link, NodeState, Overflow, TickAbandoned, TickStatus

Way = Callable[[horus.Node, "World"], Any]


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait in real time for what a thread does; the test's clock stands still meanwhile."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it never came true"
        await trio.to_thread.run_sync(time.sleep, 0.001)


class World:
    """What a tick may send to: topics and links, empty ones and full ones."""

    def __init__(self, scheduler: horus.Scheduler) -> None:
        self.scheduler = scheduler
        self.hub: Hub[Any] = scheduler.topic("motor")
        self.heard = self.hub.subscribe()
        self.link: Link[Any] = Link("link")
        self.link_with_one: Link[Any] = Link("link with one")
        self.link_with_one.send_nowait("not for the abandoned")
        self.full_link: Link[Any] = Link("full link", capacity=1)
        self.full_link.send_nowait("first")
        self.full_hub: Hub[Any] = scheduler.topic("full")
        self.full_heard = self.full_hub.subscribe(1, Overflow.BLOCK)
        self.full_hub.send("first")

    def close(self) -> None:
        """Let go of whoever still waits, so that a test that fails also ends."""
        for link in (self.link, self.full_link, self.link_with_one):
            link.close()
        self.full_heard.close()

    def check_untouched(self) -> None:
        """Nothing was put in and nothing was taken away."""
        assert self.heard.depth == 0
        assert self.link.statistics().sent == 0
        assert self.link_with_one.receive_nowait() == "not for the abandoned"
        assert self.full_link.statistics().sent == 1
        assert self.full_link.receive_nowait() == "first"
        assert self.full_heard.receive_nowait() == "first"
        assert self.full_heard.depth == 0


LATE_WAYS: dict[str, Way] = {
    "node.send": lambda node, w: node.send("motor", "late"),
    "hub.send": lambda node, w: w.hub.send("late"),
    "topic().send": lambda node, w: w.scheduler.topic("motor").send("late"),
    "run_sync(hub.send)": lambda node, w: trio.from_thread.run_sync(w.hub.send, "late"),
    "run_sync(node.send)": lambda node, w: trio.from_thread.run_sync(node.send, "motor", "late"),
    "run(hub.send_async)": lambda node, w: trio.from_thread.run(w.hub.send_async, "late"),
    "run(full hub.send_async)": lambda node, w: trio.from_thread.run(w.full_hub.send_async, 1),
    "run(node.send_async)": lambda node, w: trio.from_thread.run(
        in_a_task(lambda: node.send_async("motor", "late"))
    ),
    "link.send_nowait": lambda node, w: w.link.send_nowait("late"),
    "link.send_blocking": lambda node, w: w.link.send_blocking("late"),
    "full link.send_blocking": lambda node, w: w.full_link.send_blocking("late"),
    "run_sync(link.send_nowait)": lambda node, w: trio.from_thread.run_sync(
        w.link.send_nowait, "late"
    ),
    "run(link.send)": lambda node, w: trio.from_thread.run(w.link.send, "late"),
    "run(full link.send)": lambda node, w: trio.from_thread.run(w.full_link.send, "late"),
    "link.receive_nowait": lambda node, w: w.link_with_one.receive_nowait(),
    "link.receive_blocking": lambda node, w: w.link_with_one.receive_blocking(),
    "empty link.receive_blocking": lambda node, w: w.link.receive_blocking(),
    "run(link.receive)": lambda node, w: trio.from_thread.run(w.link_with_one.receive),
}

WAITING_WAYS: dict[str, Way] = {
    "full link.send_blocking": LATE_WAYS["full link.send_blocking"],
    "run(full link.send)": LATE_WAYS["run(full link.send)"],
    "empty link.receive_blocking": LATE_WAYS["empty link.receive_blocking"],
    "run(empty link.receive)": lambda node, w: trio.from_thread.run(w.link.receive),
    "run(full hub.send_async)": LATE_WAYS["run(full hub.send_async)"],
    "run(full node.send_async)": lambda node, w: trio.from_thread.run(
        in_a_task(lambda: node.send_async("full", "late"))
    ),
}


def in_a_task(call: Callable[[], Any]) -> Callable[[], Any]:
    async def task() -> Any:
        return await call()

    return task


class Trespasser(horus.Node):
    """Each tick waits for a permit and then tries a way of sending; what came of it is kept."""

    def __init__(self, world: World, way: Way, *, permit: bool = False) -> None:
        super().__init__("trespasser")
        self.world = world
        self.way = way
        self.entered = threading.Event()
        self.permit = threading.Event()
        if permit:
            self.permit.set()
        self.caught: list[BaseException | None] = []

    def tick(self) -> None:
        self.entered.set()
        self.permit.wait(8)
        try:
            self.way(self, self.world)
        except BaseException as error:
            self.caught.append(error)
            raise
        self.caught.append(None)


# A def tick that was left behind


@pytest.mark.parametrize("thread", ["pool", "own"])
@pytest.mark.parametrize("name", LATE_WAYS)
async def test_what_an_abandoned_tick_tries_later_is_refused(
    mock_clock: MockClock, nursery: trio.Nursery, name: str, thread: Any
) -> None:
    scheduler = horus.Scheduler(tick_rate=0.01)
    with contextlib.closing(World(scheduler)) as world:
        node = Trespasser(world, LATE_WAYS[name])
        scheduler.add(node, tick_timeout=1.0, thread=thread, failure_policy=horus.Ignore())
        await nursery.start(scheduler.run)
        await until(node.entered.is_set)
        mock_clock.jump(1.5)
        await until(lambda: state_of(scheduler) is NodeState.STUCK)
        node.permit.set()
        await until(lambda: len(node.caught) == 1)
        (error,) = node.caught
        assert isinstance(error, TickAbandoned)
        assert "'trespasser'" in str(error)
        world.check_untouched()
        # The node's next tick is another one, and free to send.
        await until(lambda: state_of(scheduler) is NodeState.RUNNING)
        node.way = lambda node, w: node.send("motor", "fresh")
        await wait_all_tasks_blocked()  # its task has heard that the thread is back
        mock_clock.jump(100)
        await until(lambda: world.heard.depth == 1)
        assert world.heard.receive_nowait() == "fresh"
        scheduler.stop()


@pytest.mark.parametrize("name", WAITING_WAYS)
async def test_what_waits_to_send_or_receive_is_woken_when_its_tick_is_abandoned(
    mock_clock: MockClock, nursery: trio.Nursery, name: str
) -> None:
    scheduler = horus.Scheduler(tick_rate=0.01)
    with contextlib.closing(World(scheduler)) as world:
        node = Trespasser(world, WAITING_WAYS[name], permit=True)
        scheduler.add(node, tick_timeout=1.0, failure_policy=horus.Ignore())
        await nursery.start(scheduler.run)
        await until(node.entered.is_set)
        await trio.to_thread.run_sync(time.sleep, 0.02)
        assert not node.caught
        mock_clock.jump(1.5)
        await until(lambda: len(node.caught) == 1)
        assert isinstance(node.caught[0], TickAbandoned)
        world.check_untouched()
        scheduler.stop()


def state_of(scheduler: horus.Scheduler) -> NodeState:
    return scheduler.statistics().nodes["trespasser"].state


# After the run


def abandoned_by_its_run(way: Way) -> tuple[Trespasser, World]:
    """A node whose tick was still out when the run ended, and has its permit only now."""
    scheduler = horus.Scheduler(tick_rate=0.01)
    world = World(scheduler)
    node = Trespasser(world, way)
    scheduler.add(node, shutdown_timeout=0.01)
    report = scheduler.run(0.05)
    assert [straggler.node for straggler in report.stragglers] == ["trespasser"]
    return node, world


@pytest.mark.parametrize("name", [name for name in LATE_WAYS if "run" not in name])
def test_a_tick_that_outlives_its_run_cannot_send(name: str) -> None:
    node, world = abandoned_by_its_run(LATE_WAYS[name])
    node.permit.set()
    wait_for(lambda: bool(node.caught))
    assert isinstance(node.caught[0], TickAbandoned)
    world.check_untouched()


class TwoLives(horus.Node):
    """Its first tick outlives the first run, and goes on while the second one ticks."""

    def __init__(self) -> None:
        super().__init__("two lives", shutdown_timeout=0.01)
        self.ticks = 0
        self.permit = threading.Event()
        self.tried = threading.Event()
        self.caught: BaseException | None = None

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks == 1:
            self.permit.wait(8)
            self.caught = caught(self.send, "motor", "late")
            self.tried.set()
        else:
            self.permit.set()
            self.tried.wait(5)
            self.send("motor", "fresh")


def test_a_tick_that_outlives_its_run_cannot_send_in_the_next_run_of_its_node() -> None:
    scheduler = horus.Scheduler(tick_rate=0.01)
    heard = scheduler.topic("motor").subscribe()
    node = TwoLives()
    scheduler.add(node)
    trio.run(scheduler.run, 0.05)
    trio.run(scheduler.run, 0.2)
    assert node.ticks == 2
    assert isinstance(node.caught, TickAbandoned)
    assert heard.drain() == ["fresh"]


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.001)


@pytest.mark.parametrize("ending", ["duration", "failure", "stop"])
def test_after_the_run_every_send_of_a_node_raises_in_any_thread(ending: str) -> None:
    scheduler = horus.Scheduler(tick_rate=50)
    heard = scheduler.topic("motor").subscribe()
    contexts: list[contextvars.Context] = []

    def keep(node: horus.Node) -> None:
        contexts.append(contextvars.copy_context())
        node.send("motor", "while it ran")

    async def keep_async(node: horus.Node) -> None:
        keep(node)
        node.start_soon(background)
        if ending == "failure":
            raise ValueError("the end")
        if ending == "stop":
            node.request_stop()

    async def background() -> None:
        contexts.append(contextvars.copy_context())

    plain = horus.Node("plain", init=keep, tick=keep, shutdown=keep)
    async_ = horus.Node("async", init=keep, tick=keep_async, failure_policy=horus.Fatal())
    scheduler.add(plain).add(async_)
    with contextlib.suppress(horus.RunFailed):
        trio.run(scheduler.run, 0.2)
    assert len(contexts) >= 5
    assert heard.drain()

    def try_all() -> Iterator[BaseException | None]:
        for node in (plain, async_):
            yield caught(node.send, "motor", "after")
            yield caught(trio.run, in_a_task(lambda node=node: node.send_async("motor", "after")))  # type: ignore[misc]
        for context in contexts:
            yield caught(context.run, scheduler.topic("motor").send, "after")

    here = list(try_all())
    elsewhere: list[BaseException | None] = []
    thread = threading.Thread(target=lambda: elsewhere.extend(try_all()))
    thread.start()
    thread.join()
    assert len(here) == len(elsewhere) == 4 + len(contexts)
    assert {type(error) for error in here + elsewhere} == {TickAbandoned}
    assert heard.depth == 0
    assert scheduler.topic("motor").send("from outside nodes") == 1


def caught(function: Callable[..., object], *args: object) -> BaseException | None:
    try:
        function(*args)
    except Exception as error:  # noqa: BLE001 - the caller asserts which
        return error
    return None


def test_an_observer_is_not_fenced_off_with_the_tick_it_hears_of() -> None:
    release = threading.Event()
    scheduler = horus.Scheduler(tick_rate=0.01)
    alarms = scheduler.topic("alarm").subscribe()

    def alarm(result: AsyncResult) -> None:
        scheduler.topic("alarm").send(result.status)

    scheduler.on_result(alarm)
    scheduler.add(
        horus.Node("hung", tick=lambda node: release.wait(8)),
        tick_timeout=0.05,
        shutdown_timeout=0.01,
    )
    trio.run(scheduler.run, 0.2)
    release.set()
    assert alarms.drain() == [TickStatus.ABANDONED]


# Async ticks


@pytest.mark.parametrize("ending", ["timeout", "stop", "cancellation", "removal", "restart"])
async def test_a_cancelled_async_tick_may_still_send_until_it_has_unwound(
    autojump_clock: MockClock, ending: str
) -> None:
    scheduler = horus.Scheduler(tick_rate=0.01)
    heard = scheduler.topic("motor").subscribe()
    left_behind: list[BaseException | None] = []

    async def later() -> None:
        await trio.sleep(5)
        left_behind.append(caught(node.send, "motor", "too late"))

    async def drive(node: horus.Node) -> None:
        trio.lowlevel.spawn_system_task(later, context=contextvars.copy_context())
        if ending == "restart":
            node.start_soon(fail)
        node.send("motor", "GO")
        try:
            await trio.sleep(50)
        finally:
            node.send("motor", "STOP")
            with trio.CancelScope(shield=True):
                await node.send_async("motor", "STOP, really")

    async def fail() -> None:
        await trio.sleep(1)
        raise ValueError("the node's background task")

    node = horus.Node("drive", tick=drive, phase=0)
    scheduler.add(node, tick_timeout=1.0 if ending == "timeout" else None)
    scheduler.add(horus.Node("other", tick=drive, phase=20))
    with trio.move_on_after(1 if ending == "cancellation" else math.inf):
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await trio.sleep(1)
            if ending == "removal":
                scheduler.remove("drive")
            if ending == "stop":
                scheduler.stop()
            await trio.sleep(10)
            scheduler.stop()
    await trio.sleep(10)
    assert heard.drain() == ["GO", "STOP", "STOP, really"]
    assert [type(error) for error in left_behind] == [TickAbandoned]


# Sends that race with the abandonment


class HoldingClock(trio.abc.Clock):
    """The real time, except that one thread is held up when it asks for it."""

    def __init__(self) -> None:
        self.held: threading.Thread | None = None
        self.holding = threading.Event()

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        if threading.current_thread() is self.held:
            self.holding.set()
            time.sleep(0.4)
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - time.monotonic()


def test_a_send_under_way_is_before_the_abandonment() -> None:
    """The tick, past its fence, is held up inside its send.

    Until that send is through, the tick must not be reported as abandoned.
    """
    scheduler = horus.Scheduler(tick_rate=0.01)
    heard = scheduler.topic("motor").subscribe()
    clock = HoldingClock()
    depths: list[int] = []

    def tick(node: horus.Node) -> None:
        clock.held = threading.current_thread()
        node.send("motor", "tick")
        clock.held = None
        time.sleep(0.2)

    def note(result: AsyncResult) -> None:
        assert result.status is TickStatus.ABANDONED
        depths.append(heard.depth)

    scheduler.on_result(note)
    scheduler.add(horus.Node("racer", tick=tick), tick_timeout=0.1)
    trio.run(scheduler.run, 1, clock=clock)
    assert clock.holding.is_set()
    assert heard.drain() == ["tick"]
    assert depths == [1]
    assert scheduler.statistics().callback_errors == 0


def test_a_send_that_waits_for_another_sender_does_not_happen_after_the_abandonment() -> None:
    """Another publisher holds the topic; the tick, not past its fence yet, waits to get in."""
    scheduler = horus.Scheduler(tick_rate=0.01)
    heard = scheduler.topic("motor").subscribe()
    clock = HoldingClock()
    outcomes: list[str] = []

    def outsider() -> None:
        scheduler.topic("motor").send("outsider")

    def tick(node: horus.Node) -> None:
        clock.held = threading.Thread(target=outsider)
        clock.held.start()
        clock.holding.wait(5)
        try:
            node.send("motor", "tick")
        except horus.TickAbandoned:
            outcomes.append("refused")

    scheduler.on_result(lambda result: outcomes.append(result.status.name))
    scheduler.add(horus.Node("racer", tick=tick), tick_timeout=0.1)
    trio.run(scheduler.run, 1, clock=clock)
    assert clock.held is not None
    clock.held.join()
    assert outcomes == ["ABANDONED", "refused"]
    assert heard.drain() == ["outsider"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hub", "link"])
def test_nothing_is_published_after_the_abandonment_was_reported(kind: str) -> None:
    """Hundreds of ticks that send without a pause until the fence stops them."""
    scheduler = horus.Scheduler(tick_rate=500, switch_interval=0.0001)
    heard = scheduler.topic("flood").subscribe(1_000_000)
    links = [Link[tuple[str, int]](f"link {n}", capacity=1_000_000) for n in range(4)]
    reported: set[tuple[str, int]] = set()
    flooding: set[tuple[str, int]] = set()
    trespasses: list[tuple[str, int]] = []
    messages = 0

    def received() -> list[tuple[str, int]]:
        if kind == "hub":
            return heard.drain()
        taken: list[tuple[str, int]] = []
        for link in links:
            with contextlib.suppress(trio.WouldBlock):
                while True:
                    taken.append(link.receive_nowait())
        return taken

    def look() -> None:
        nonlocal messages
        for message in received():
            messages += 1
            if message in reported:
                trespasses.append(message)

    def note(result: AsyncResult) -> None:
        if result.status is TickStatus.ABANDONED:
            look()  # what was sent up to now was sent in time
            reported.add((result.node, result.seq))

    def flood(node: horus.Node) -> None:
        assert node.current_tick is not None
        message = (node.name, node.current_tick.seq)
        link = links[int(node.name)]
        flooding.add(message)
        try:
            while True:
                if kind == "hub":
                    node.send("flood", message)
                else:
                    link.send_nowait(message)
                time.sleep(0)
        finally:
            flooding.discard(message)

    for number in range(4):
        scheduler.add(
            horus.Node(str(number), tick=flood),
            tick_timeout=0.002,
            failure_policy=horus.Ignore(),
        )
    scheduler.on_result(note)
    trio.run(scheduler.run, 1.0)
    wait_for(lambda: not flooding)
    look()
    assert trespasses == []
    assert scheduler.statistics().callback_errors == 0
    assert len(reported) >= 50
    assert messages >= len(reported)
