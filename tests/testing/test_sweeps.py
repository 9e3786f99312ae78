"""Every public async operation of topics, nodes, executor and scheduler, cancelled everywhere."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio
from horus_trio import (
    AsyncIOExecutor,
    AsyncNode,
    AsyncScheduler,
    Hub,
    Link,
    Node,
    Overflow,
    Scheduler,
    Subscription,
    Topics,
    open_executor,
)
from horus_trio.testing import cancel_everywhere

VIRTUAL, REAL = "virtual", "real"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One operation in one situation.

    Attributes:
        covers: The public operation.
        situation: What is special about it here.
        make, use, observe, options: For `cancel_everywhere`.
        time: Virtual time, or real time where there are threads.
        at_least: Checkpoints without cancellation; fewer, and the row tests something else.
    """

    covers: str
    situation: str
    make: Callable[[], Any]
    use: Callable[[Any], Awaitable[object]]
    observe: Callable[[Any], object] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    time: str = VIRTUAL
    at_least: int = 1

    def __str__(self) -> str:
        return f"{self.covers}, {self.situation}"


# Topics


class Board:
    """A hub, a subscription to it, and what a background task does with them."""

    def __init__(self, capacity: int = 8, overflow: Overflow = Overflow.BLOCK) -> None:
        self.hub: Hub[int] = Hub("numbers")
        self.subscription = self.hub.subscribe(capacity, overflow)
        self.drained = list[int]()

    def send(self, *messages: int) -> Board:
        for message in messages:
            self.hub.send(message)
        return self

    @contextlib.asynccontextmanager
    async def draining(self) -> AsyncIterator[Board]:
        async def drain() -> None:
            while True:
                await trio.sleep(1.0)
                self.drained.append(await self.subscription.receive())

        async with beside(drain):
            yield self

    @contextlib.asynccontextmanager
    async def sending(self, *messages: int) -> AsyncIterator[Board]:
        async def send() -> None:
            for message in messages:
                await trio.sleep(1.0)
                self.hub.send(message)

        async with beside(send):
            yield self

    async def all_drained(self) -> list[int]:
        await trio.sleep(60.0)
        return list(self.drained)


@contextlib.asynccontextmanager
async def beside(function: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(function)
        yield
        nursery.cancel_scope.cancel()


async def first_of(messages: AsyncIterator[Any]) -> Any:
    async for message in messages:
        return message
    return None


def link_with(*messages: int, capacity: int = 8) -> Link[int]:
    link = Link[int]("link", capacity)
    for message in messages:
        link.send_nowait(message)
    return link


@contextlib.asynccontextmanager
async def link_that_is_fed() -> AsyncIterator[Link[int]]:
    link = link_with()

    async def feed() -> None:
        for message in (1, 2, 3):
            await trio.sleep(1.0)
            await link.send(message)

    async with beside(feed):
        yield link


class Drained:
    def __init__(self) -> None:
        self.link = link_with(1, capacity=1)
        self.messages = list[int]()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Drained]:
        async def drain() -> None:
            while True:
                await trio.sleep(1.0)
                self.messages.append(await self.link.receive())

        async with beside(drain):
            yield self

    async def all(self) -> list[int]:
        await trio.sleep(60.0)
        return list(self.messages)


TOPICS = [
    Row(
        covers="Hub.send_async",
        situation="nobody holds it up",
        make=lambda: Board(overflow=Overflow.DROP_OLDEST),
        use=lambda board: board.hub.send_async(1),
        observe=lambda board: board.hub.statistics(),
    ),
    Row(
        covers="Hub.send_async",
        situation="there is room",
        make=Board,
        use=lambda board: board.hub.send_async(1),
        observe=lambda board: board.hub.statistics(),
    ),
    Row(
        covers="Hub.send_async",
        situation="it waits for room",
        make=lambda: Board(1).send(1).draining(),
        use=lambda board: board.hub.send_async(2),
        observe=Board.all_drained,
    ),
    Row(
        covers="Subscription.receive",
        situation="a message waits",
        make=lambda: Board().send(1, 2),
        use=lambda board: board.subscription.receive(),
        observe=lambda board: board.subscription.statistics(),
    ),
    Row(
        covers="Subscription.receive",
        situation="it waits for a message",
        make=lambda: Board().sending(1, 2, 3),
        use=lambda board: board.subscription.receive(),
        observe=lambda board: board.subscription.statistics(),
    ),
    Row(
        covers="Subscription.aclose",
        situation="with messages inside",
        make=lambda: Board().send(1),
        use=lambda board: board.subscription.aclose(),
        observe=lambda board: board.hub.has_subscriptions,
    ),
    Row(
        covers="Subscription.aclose",
        situation="at the end of a block",
        make=lambda: Board().hub.subscribe(),
        use=Subscription.aclose,
    ),
    Row(
        covers="Subscription.__anext__",
        situation="a message waits",
        make=lambda: Board().send(1, 2),
        use=lambda board: first_of(board.subscription),
        observe=lambda board: board.subscription.statistics(),
    ),
    Row(
        covers="Subscription.__anext__",
        situation="it waits for a message",
        make=lambda: Board().sending(1, 2, 3),
        use=lambda board: first_of(board.subscription),
        observe=lambda board: board.subscription.statistics(),
    ),
    Row(
        covers="Link.send",
        situation="there is room",
        make=link_with,
        use=lambda link: link.send(1),
        observe=Link.statistics,
    ),
    Row(
        covers="Link.send",
        situation="it waits for room",
        make=lambda: Drained().opened(),
        use=lambda drained: drained.link.send(2),
        observe=Drained.all,
    ),
    Row(
        covers="Link.receive",
        situation="a message waits",
        make=lambda: link_with(1, 2),
        use=Link.receive,
        observe=Link.statistics,
    ),
    Row(
        covers="Link.receive",
        situation="it waits for a message",
        make=link_that_is_fed,
        use=Link.receive,
        observe=lambda link: link.statistics().received,
    ),
]


# Nodes on a bench


class Bench:
    """A connected node, and the hub of its topic."""

    def __init__(self, *messages: int) -> None:
        self.topics = Topics()
        self.hub = self.topics.hub("numbers")
        self.node = Idle()
        self.node.connect(self.topics)
        self.node.has_msg("numbers")  # joins the topic
        for message in messages:
            self.hub.send(message)

    @contextlib.asynccontextmanager
    async def sending(self, *messages: int) -> AsyncIterator[Bench]:
        async def send() -> None:
            for message in messages:
                await trio.sleep(1.0)
                self.hub.send(message)

        async with beside(send):
            yield self


class Idle(AsyncNode):
    async def tick_async(self) -> None:
        await trio.lowlevel.checkpoint()


NODES = [
    Row(
        covers=covers,
        situation=situation,
        make=make,
        use=use,
        observe=lambda bench: bench.hub.statistics(),
    )
    for situation, make in (
        ("a message waits", lambda: Bench(1, 2)),
        ("it waits for a message", lambda: Bench().sending(1, 2, 3)),
    )
    for covers, use in (
        ("Node.recv_async", lambda bench: bench.node.recv_async("numbers")),
        ("Node.messages", lambda bench: first_of(bench.node.messages("numbers"))),
    )
]
NODES.append(
    Row(
        covers="Node.send_async",
        situation="there is room",
        make=Bench,
        use=lambda bench: bench.node.send_async("numbers", 1),
        observe=lambda bench: bench.hub.statistics(),
    )
)


# Executor


class Crew:
    """Makes nodes, and counts what they were asked to do."""

    def __init__(self) -> None:
        self.inits = self.ready = self.shutdowns = self.ticks = 0

    def balance(self) -> int:
        """Nodes that were initialised and not shut down."""
        return self.ready - self.shutdowns

    async def balance_in_the_end(self) -> int:
        """The same, once threads that were left behind have had time to undo a late `init`."""
        for _ in range(200):
            if self.balance() == 0:
                break
            await trio.sleep(0.001)
        await trio.lowlevel.checkpoint()
        return self.balance()

    def on_loop(self, **options: Any) -> Node:
        return OnLoop(self, **options)

    def in_thread(self, **options: Any) -> Node:
        return InThread(self, **options)


class OnLoop(Node):
    def __init__(self, crew: Crew, **options: Any) -> None:
        super().__init__(**options)
        self.crew = crew

    async def init(self) -> None:
        self.crew.inits += 1
        await trio.sleep(0.001)
        self.crew.ready += 1

    async def tick(self) -> int:
        self.crew.ticks += 1
        await trio.sleep(0.001)
        return 7

    async def shutdown(self) -> None:
        await trio.sleep(0.001)
        self.crew.shutdowns += 1


class InThread(Node):
    def __init__(self, crew: Crew, **options: Any) -> None:
        super().__init__(**options)
        self.crew = crew

    def init(self) -> None:
        self.crew.inits += 1
        self.crew.ready += 1

    def tick(self) -> int:
        self.crew.ticks += 1
        return 7

    def shutdown(self) -> None:
        self.crew.shutdowns += 1


class Workshop:
    """An open executor and its crew."""

    def __init__(self, executor: AsyncIOExecutor, crew: Crew, kind: str) -> None:
        self.executor = executor
        self.crew = crew
        self.make_node: Callable[..., Node] = getattr(crew, kind)

    async def one_result(self) -> object:
        return (await self.executor.results.receive()).value


@contextlib.asynccontextmanager
async def workshop(
    kind: str, *, nodes: int = 0, ticks: int = 0, warm: bool = False
) -> AsyncIterator[Workshop]:
    crew = Crew()
    async with open_executor() as executor:
        shop = Workshop(executor, crew, kind)
        for _ in range(nodes):
            await executor.spawn_node(shop.make_node())
        if warm:  # side by side: the pool has as many threads as it will need
            for _ in range(executor.tick_all()):
                await shop.one_result()
        for _ in range(ticks):
            executor.tick_all()
        yield shop
    if crew.balance():
        raise RuntimeError(f"{crew.balance()} node(s) were initialised and not shut down")


def enter_and_leave(kind: str) -> Callable[[Crew], Awaitable[object]]:
    async def use(crew: Crew) -> None:
        async with open_executor() as executor:
            await executor.spawn_node(getattr(crew, kind)())
            executor.tick_all()

    return use


EXECUTOR = [
    row
    for kind, time, hooks in (("on_loop", VIRTUAL, "async hooks"), ("in_thread", REAL, "def hooks"))
    for row in (
        Row(
            covers="open_executor",
            situation=hooks,
            make=Crew,
            use=enter_and_leave(kind),
            observe=Crew.balance_in_the_end,
            time=time,
            at_least=3,
        ),
        Row(
            covers="AsyncIOExecutor.spawn_node",
            situation=hooks,
            make=partial(workshop, kind, nodes=2, warm=True),
            use=lambda shop: shop.executor.spawn_node(shop.make_node(name="one")),
            observe=lambda shop: len(shop.executor.runners),
            time=time,
        ),
        Row(
            covers="AsyncIOExecutor.shutdown_all",
            situation=hooks,
            make=partial(workshop, kind, nodes=2),
            use=lambda shop: shop.executor.shutdown_all(),
            observe=lambda shop: shop.crew.balance(),
            time=time,
        ),
        Row(
            covers="AsyncIOExecutor.results",
            situation=f"receive, {hooks}",
            make=partial(workshop, kind, nodes=1, ticks=1),
            use=lambda shop: shop.one_result(),
            observe=lambda shop: shop.executor.results.statistics().received,
            time=time,
        ),
    )
]


# Scheduler


class Robot:
    """A scheduler with one node, and its crew."""

    def __init__(
        self, kind: str, cls: Callable[..., Scheduler] = Scheduler, **options: Any
    ) -> None:
        self.crew = Crew()
        self.scheduler = cls(tick_rate=1000.0)
        self.scheduler.add(getattr(self.crew, kind)(), name="one", **options)

    async def remove(self) -> None:
        if "one" in self.scheduler.statistics().nodes:
            self.scheduler.remove("one")
        await self.scheduler.stopped("one")

    async def one_result(self) -> object:
        async with self.scheduler.open_results() as results:
            return (await results.receive()).value

    async def seen(self) -> object:
        return (
            await self.crew.balance_in_the_end(),
            self.scheduler.statistics().running,
            self.scheduler._results.has_subscriptions,
        )


@contextlib.asynccontextmanager
async def running(kind: str, *, wait: bool = True, **options: Any) -> AsyncIterator[Robot]:
    robot = Robot(kind, **options)
    async with trio.open_nursery() as nursery:
        if wait:
            await nursery.start(robot.scheduler.run)
        else:
            nursery.start_soon(robot.scheduler.run)
            await trio.testing.wait_all_tasks_blocked()
        yield robot
        robot.scheduler.stop()


async def run_in_one_line(crew: Crew) -> None:
    await horus_trio.run(crew.on_loop(), duration=0.02)


SCHEDULER = [
    row
    for kind, time, hooks in (("on_loop", VIRTUAL, "async hooks"), ("in_thread", REAL, "def hooks"))
    for row in (
        Row(
            covers="Scheduler.run",
            situation=hooks,
            make=partial(Robot, kind),
            use=lambda robot: robot.scheduler.run(0.003),
            observe=Robot.seen,
            options={"same_result": False},
            time=time,
            at_least=5,
        ),
        Row(
            covers="Scheduler.run",
            situation=f"deterministic, {hooks}",
            make=partial(Robot, kind, partial(Scheduler, deterministic=True)),
            use=lambda robot: robot.scheduler.run(0.003),
            observe=Robot.seen,
            options={"same_result": False},
            time=time,
            at_least=5,
        ),
        Row(
            covers="AsyncScheduler.run_async",
            situation=hooks,
            make=partial(Robot, kind, AsyncScheduler),
            use=lambda robot: robot.scheduler.run_async(0.003),
            observe=Robot.seen,
            options={"same_result": False},
            time=time,
            at_least=5,
        ),
        Row(
            covers="Scheduler.started",
            situation=hooks,
            make=partial(running, kind, on="nothing"),
            use=lambda robot: robot.scheduler.started("one"),
            time=time,
        ),
        Row(
            covers="Scheduler.stopped",
            situation=f"after remove, {hooks}",
            make=partial(running, kind, on="nothing"),
            use=Robot.remove,
            observe=lambda robot: robot.crew.balance_in_the_end(),
            time=time,
        ),
        Row(
            covers="Scheduler.open_results",
            situation=hooks,
            make=partial(running, kind),
            use=Robot.one_result,
            observe=lambda robot: robot.scheduler._results.has_subscriptions,
            time=time,
        ),
    )
]
SCHEDULER += [
    Row(
        covers="Scheduler.started",
        situation="while it is being initialised",
        make=partial(running, "on_loop", wait=False),
        use=lambda robot: robot.scheduler.started("one"),
    ),
    Row(
        covers="run",
        situation="inside Trio",
        make=Crew,
        use=run_in_one_line,
        observe=Crew.balance_in_the_end,
        at_least=5,
    ),
]


# The log thread


ROWS = TOPICS + NODES + EXECUTOR + SCHEDULER


async def sweep(row: Row) -> None:
    made = await cancel_everywhere(row.make, row.use, observe=row.observe, **row.options)
    assert made.checkpoints >= row.at_least, made


@pytest.mark.parametrize("row", [row for row in ROWS if row.time is VIRTUAL], ids=str)
async def test_on_virtual_time(row: Row, autojump_clock: trio.testing.MockClock) -> None:
    await sweep(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in ROWS if row.time is REAL], ids=str)
async def test_in_real_time(row: Row) -> None:
    await sweep(row)


# The table is complete

AWAITED = ("Awaitable", "Coroutine", "AsyncIterator", "AsyncGenerator", "RunResult")
NOT_SWEPT = {
    "AsyncNode.tick_async": "is the user's own",
    "ThreadCall.run": "is the engine's own",
    "open_shielded": "it is part of open_executor and of Scheduler.run",
}


def async_operations() -> set[str]:
    """The public functions and methods of these rooms that return something to be awaited."""
    found = set[str]()
    for room in (horus_trio.topics, horus_trio.node, horus_trio.executor, horus_trio.scheduler):
        for name in room.__all__:
            value = getattr(room, name)
            if inspect.isclass(value):
                members = {n: m for n, m in vars(value).items() if not n.startswith("_")}
                found |= {f"{name}.{n}" for n, m in members.items() if is_awaited(m)}
            elif is_awaited(value):
                found.add(name)
    return found


def is_awaited(value: object) -> bool:
    function = inspect.unwrap(value) if inspect.isfunction(value) else value
    if not inspect.isfunction(function):
        return False
    returns = str(function.__annotations__.get("return", ""))
    return inspect.iscoroutinefunction(function) or returns.startswith(AWAITED)


def test_every_async_operation_is_swept() -> None:
    operations = async_operations()
    assert operations >= {"Hub.send_async", "Node.recv_async", "Scheduler.run", "open_executor"}
    swept = {row.covers for row in ROWS}
    assert operations - NOT_SWEPT.keys() - swept == set()
