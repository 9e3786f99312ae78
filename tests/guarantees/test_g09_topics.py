"""G9 topics: each subscription sees a subsequence of the publish order; received + dropped + depth
== published, in every snapshot; a link loses nothing; who waits for room is served in turn.

First against a model, operation by operation; then under threads that run as they like.
"""

from __future__ import annotations

import collections
import contextvars
import itertools
import logging
import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import outcome
import pytest
import trio
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import Hub, Link, Node, NodeState, Overflow, Restart, Scheduler, Sub, Subscription
from horus_trio.messages import Fence, current_fence


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def nervous() -> Iterator[None]:
    """Threads are switched as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def is_lawful(subscription: Subscription[Any]) -> bool:
    s = subscription.statistics()
    return s.received + s.dropped + s.depth == s.published


def is_subsequence(part: Iterable[object], whole: Iterable[object]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


# A hub against its model


@dataclass
class Model:
    """What a subscription must do, in the plainest words."""

    capacity: int
    overflow: Overflow
    published: int = 0
    received: int = 0
    dropped: int = 0
    buffer: list[int] = field(default_factory=list)
    open: bool = True

    def offer(self, message: int) -> None:
        self.published += 1
        if len(self.buffer) < self.capacity:
            self.buffer.append(message)
        elif self.overflow in (Overflow.DROP_OLDEST, Overflow.LATEST):
            self.dropped += 1
            self.buffer = [*self.buffer[1:], message]
        else:
            self.dropped += 1

    def take(self) -> int:
        self.received += 1
        return self.buffer.pop(0)

    @property
    def holds_up(self) -> bool:
        return self.open and self.overflow is Overflow.BLOCK and len(self.buffer) >= self.capacity


operations = st.tuples(
    st.sampled_from(
        [
            "subscribe",
            "send",
            "send",
            "send",
            "send async",
            "send async",
            "send async",
            "receive",
            "receive",
            "drain",
            "close",
            "cancel",
        ]
    ),
    st.integers(0, 5),
    st.sampled_from(list(Overflow)),
)


@pytest.mark.slow
@hypothesis.given(
    operations=st.lists(operations, min_size=4, max_size=40),
    blocking=st.booleans(),
    latch=st.booleans(),
    threads=st.booleans(),
)
@hypothesis.settings(max_examples=400, deadline=None)
async def test_a_hub_does_what_its_model_does(
    operations: list[tuple[str, int, Overflow]], blocking: bool, latch: bool, threads: bool
) -> None:
    hub = Hub[int]("x", latch=latch)
    pairs: list[tuple[Subscription[int], Model]] = []
    if blocking:
        pairs.append((hub.subscribe(1, Overflow.BLOCK), Model(1, Overflow.BLOCK)))
    waiting: collections.OrderedDict[int, trio.CancelScope] = collections.OrderedDict()
    published: list[int] = []
    record = hub.subscribe(1000)  # sees everything: it is the publish order
    order: list[int] = []
    finished: list[int] = []  # senders that came through

    def publish(message: int) -> None:
        published.append(message)
        for _, model in pairs:
            if model.open:
                model.offer(message)

    def admit() -> None:
        if len(waiting) > 1:
            hypothesis.event("several wait for room")
        while waiting and not any(model.holds_up for _, model in pairs):
            message, _ = waiting.popitem(last=False)
            publish(message)
            expected_through.append(message)

    expected_through: list[int] = []

    def call(function: Callable[[], Any]) -> Any:
        """Here, or in a thread while the loop stands still."""
        if not threads:
            return function()
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(function()))
        thread.start()
        thread.join()
        return results[0]

    async def sender(message: int, scope: trio.CancelScope) -> None:
        with scope:
            await hub.send_async(message)
            finished.append(message)

    async with trio.open_nursery() as nursery:
        for message, (operation, which, overflow) in enumerate(operations):
            subscription, model = pairs[which % len(pairs)] if pairs else (None, None)
            if operation == "subscribe":
                model = Model(1 if overflow is Overflow.LATEST else 1 + which, overflow)
                pairs.append((hub.subscribe(1 + which, overflow), model))
                if latch and published:
                    model.offer(published[-1])
            elif operation == "send":
                call(lambda: hub.send(message))  # noqa: B023 - called at once
                publish(message)
            elif operation == "send async":
                scope = waiting[message] = trio.CancelScope()
                nursery.start_soon(sender, message, scope)
                await wait_all_tasks_blocked()
                admit()
            elif operation == "cancel" and waiting:
                _, scope = waiting.popitem(last=bool(which % 2))
                scope.cancel()
            elif subscription is None or model is None or not model.open:
                continue
            elif operation == "receive":
                if model.buffer:
                    assert call(subscription.receive_nowait) == model.take()
                    admit()
            elif operation == "drain":
                assert call(subscription.drain) == model.buffer
                model.received += len(model.buffer)
                model.buffer = []
                admit()
            elif operation == "close":
                call(subscription.close)
                model.open = False
                admit()
            await wait_all_tasks_blocked()
            statistics = hub.statistics()
            order.extend(record.drain())
            assert statistics.sent == len(published)
            assert statistics.senders_waiting == len(waiting)
            assert order == published
            # Those who get room in one instant are woken side by side.
            assert sorted(finished) == sorted(expected_through)
            for joined, its_model in pairs:
                s = joined.statistics()
                assert (s.published, s.received, s.dropped, s.depth) == (
                    its_model.published,
                    its_model.received,
                    its_model.dropped,
                    len(its_model.buffer),
                )
                assert is_lawful(joined)
        nursery.cancel_scope.cancel()


# A hub under threads


class Play:
    """Threads that begin together, and whatever they raise is raised by `end`."""

    def __init__(self, *works: Callable[[], None]) -> None:
        self.outcomes: list[outcome.Outcome[None]] = []
        self.start = threading.Barrier(len(works))
        self.threads = [threading.Thread(target=self._play, args=[work]) for work in works]
        for thread in self.threads:
            thread.start()

    def _play(self, work: Callable[[], None]) -> None:
        self.start.wait(10)
        self.outcomes.append(outcome.capture(work))

    def end(self) -> None:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive(), "a thread does not end"
        for result in self.outcomes:
            result.unwrap()


threaded_operations = st.lists(
    st.sampled_from(["send", "send", "send", "receive", "receive", "drain", "look"]), max_size=60
)


@pytest.mark.slow
@pytest.mark.usefixtures("nervous")
@hypothesis.given(
    plays=st.lists(threaded_operations, min_size=2, max_size=4),
    readers=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(list(Overflow))), min_size=1, max_size=4
    ),
)
@hypothesis.settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_the_laws_hold_for_operations_in_concurrent_threads(
    plays: list[list[str]], readers: list[tuple[int, Overflow]]
) -> None:
    hub = Hub[tuple[int, int]]("x")
    record = hub.subscribe(10_000)  # sees everything: it is the publish order
    subscriptions = [hub.subscribe(capacity, overflow) for capacity, overflow in readers]
    received: list[list[tuple[int, int]]] = [[] for _ in subscriptions]
    # What is taken must be noted in the order of taking, so each subscription has one reader.
    locks = [threading.Lock() for _ in subscriptions]

    def work(thread: int, play: list[str]) -> None:
        for step, operation in enumerate(play):
            which = (thread + step) % len(subscriptions)
            subscription = subscriptions[which]
            match operation:
                case "send":
                    hub.send((thread, step))
                case "receive":
                    with locks[which]:
                        try:
                            received[which].append(subscription.receive_nowait())
                        except trio.WouldBlock:
                            continue
                case "drain":
                    with locks[which]:
                        received[which].extend(subscription.drain())
                case "look":
                    assert all(map(is_lawful, subscriptions))

    play = Play(*(lambda n=n, p=p: work(n, p) for n, p in enumerate(plays)))
    play.end()
    order = record.drain()
    sends = sum(play.count("send") for play in plays)
    assert len(order) == len(set(order)) == hub.statistics().sent == sends
    for thread in range(len(plays)):  # nobody's own order is turned around
        steps = [step for sender, step in order if sender == thread]
        assert steps == sorted(steps)
    for subscription, taken in zip(subscriptions, received, strict=True):
        assert is_lawful(subscription)
        assert subscription.statistics().received == len(taken)
        assert is_subsequence(taken + subscription.drain(), order)


@pytest.mark.slow
@pytest.mark.usefixtures("nervous")
async def test_the_laws_hold_while_threads_and_tasks_send_receive_cancel_and_look() -> None:
    dice = random.Random(9)
    hub = Hub[tuple[str, int]]("x")
    record = hub.subscribe(1_000_000)
    lossy = hub.subscribe(3)
    latest = hub.subscribe(1, Overflow.LATEST)
    newest_lost = hub.subscribe(5, Overflow.DROP_NEWEST)
    blocking = hub.subscribe(4, Overflow.BLOCK)
    subscriptions = [lossy, latest, newest_lost, blocking]
    received: dict[Subscription[tuple[str, int]], list[tuple[str, int]]] = {
        subscription: [] for subscription in subscriptions
    }
    told: dict[str, list[int]] = collections.defaultdict(list)
    over = threading.Event()
    looks = 0

    def send_from_thread(name: str) -> None:
        for n in itertools.count():
            if over.is_set():
                return
            hub.send((name, n))
            told[name].append(n)
            if n % 50 == 0:
                over.wait(0.001)

    def receive_in_thread() -> None:
        while not over.is_set():
            try:
                received[lossy].append(lossy.receive_nowait())
            except trio.WouldBlock:
                over.wait(0.0002)

    def look() -> None:
        nonlocal looks
        while not over.is_set():
            for statistics in hub.statistics().subscriptions:
                s = statistics
                assert s.received + s.dropped + s.depth == s.published
                looks += 1

    play = Play(
        lambda: send_from_thread("t1"), lambda: send_from_thread("t2"), receive_in_thread, look
    )

    async def send_from_task(name: str) -> None:
        for n in itertools.count():
            with trio.move_on_after(dice.choice([0.0, 0.001, 10.0])):
                await hub.send_async((name, n))
                told[name].append(n)
            await trio.lowlevel.checkpoint()

    async def receive_in_task(subscription: Subscription[tuple[str, int]]) -> None:
        while True:
            with trio.move_on_after(dice.choice([0.0, 0.0005, 10.0])):
                received[subscription].append(await subscription.receive())

    with trio.move_on_after(1.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_from_task, "a")
            nursery.start_soon(send_from_task, "b")
            for subscription in (latest, newest_lost, blocking):
                nursery.start_soon(receive_in_task, subscription)
    over.set()
    play.end()
    order = record.drain()
    assert looks > 20
    assert len(order) == len(set(order)) == hub.statistics().sent
    for name, numbers in told.items():  # what was told as sent was published, and nothing else
        assert [n for sender, n in order if sender == name] == numbers
        assert numbers
    for subscription, taken in received.items():
        assert is_lawful(subscription)
        assert subscription.statistics().received == len(taken)
        assert taken
        assert is_subsequence(taken + subscription.drain(), order)


# A link against its model


link_steps = st.lists(
    st.sampled_from(
        [
            "send",
            "send",
            "receive",
            "receive",
            "cancel producer",
            "cancel consumer",
            "settle",
            "abandon producer",
            "abandon consumer",
            "send nowait",
            "receive nowait",
        ]
    ),
    max_size=40,
)


@pytest.mark.slow
@hypothesis.given(steps=link_steps, capacity=st.integers(1, 3))
@hypothesis.settings(max_examples=400, deadline=None)
async def test_a_link_loses_nothing_whoever_is_cancelled_or_abandoned_when(
    steps: list[str], capacity: int
) -> None:
    """What was told as sent is what is received, in that order, and not one more."""
    link = Link[int]("x", capacity)
    sent: list[int] = []
    received: list[int] = []
    ends: dict[str, tuple[trio.CancelScope, Fence]] = {}
    numbers = itertools.count()

    async def at_end(name: str, scope: trio.CancelScope, fence: Fence) -> None:
        current_fence.set(fence)
        try:
            with scope:
                if name == "producer":
                    number = next(numbers)
                    await link.send(number)
                    sent.append(number)
                else:
                    received.append(await link.receive())
        except horus.TickAbandoned:
            hypothesis.event("abandoned")
        finally:
            del ends[name]

    async with trio.open_nursery() as nursery:
        for step in steps:
            verb, _, name = step.partition(" ")
            if step in ("send", "receive"):
                name = "producer" if step == "send" else "consumer"
                if name not in ends:
                    ends[name] = trio.CancelScope(), Fence(name)
                    nursery.start_soon(at_end, name, *ends[name])
            elif verb == "cancel" and name in ends:
                ends[name][0].cancel()
            elif verb == "abandon" and name in ends:
                ends[name][1].close()
            elif step == "send nowait" and "producer" not in ends:
                number = next(numbers)
                try:
                    link.send_nowait(number)
                except trio.WouldBlock:
                    continue
                sent.append(number)
            elif step == "receive nowait" and "consumer" not in ends:
                try:
                    received.append(link.receive_nowait())
                except trio.WouldBlock:
                    continue
            elif step == "settle":
                await wait_all_tasks_blocked()
            s = link.statistics()
            assert s.received + s.depth == s.sent
            assert s.depth <= capacity
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    while True:
        try:
            received.append(link.receive_nowait())
        except trio.WouldBlock:
            break
    assert received == sent


# A link under threads


class Impatient:
    """A thread at one end of a link, whose every call may be abandoned in the middle."""

    def __init__(self) -> None:
        self.fence = Fence("thread")

    def persist(self, call: Callable[[], Any]) -> Any:
        """Call until it is not abandoned; a call that was has done nothing."""
        while True:
            try:
                return contextvars.copy_context().run(self._behind_fence, call)
            except horus.TickAbandoned:
                self.fence = Fence("thread")

    def _behind_fence(self, call: Callable[[], Any]) -> Any:
        current_fence.set(self.fence)
        return call()


async def persist(dice: random.Random, call: Callable[..., Any], *args: Any) -> Any:
    """Await until it is not cancelled; a call that was has done nothing."""
    while True:
        with trio.move_on_after(dice.choice([0.0, 0.0002, 10.0])):
            return await call(*args)


@pytest.mark.slow
@pytest.mark.usefixtures("nervous")
@pytest.mark.parametrize("capacity", [1, 16])
@pytest.mark.parametrize("direction", ["thread to task", "task to thread", "thread to thread"])
async def test_lossless_means_lossless(direction: str, capacity: int) -> None:
    count = 1500
    dice = random.Random(capacity)
    link = Link[int]("x", capacity)
    received: list[int] = []
    over, all_there = threading.Event(), threading.Event()
    impatient = [Impatient(), Impatient()]

    def send_all() -> None:
        for n in range(count):
            impatient[0].persist(lambda: link.send_blocking(n))  # noqa: B023 - called at once

    def receive_all() -> None:
        for _ in range(count):
            received.append(impatient[1].persist(link.receive_blocking))
        all_there.set()

    def abandon() -> None:
        while not over.is_set():
            over.wait(0.0003)
            for end in impatient:
                end.fence.close()

    def look() -> None:
        while not over.is_set():
            s = link.statistics()
            assert s.received + s.depth == s.sent
            assert s.depth <= capacity
            over.wait(0.0001)

    works = [abandon, look]
    if direction != "task to thread":
        works.append(send_all)
    if direction != "thread to task":
        works.append(receive_all)
    play = Play(*works)
    try:
        with trio.fail_after(20):
            if direction == "thread to task":
                for _ in range(count):
                    received.append(await persist(dice, link.receive))
            elif direction == "task to thread":
                for n in range(count):
                    await persist(dice, link.send, n)
            if direction != "thread to task":
                await trio.to_thread.run_sync(all_there.wait, 20)
    finally:
        over.set()
        link.close()
    await trio.to_thread.run_sync(play.end)
    assert received == list(range(count))


# Nodes on BLOCK topics


async def well(node: Node) -> None:
    pass


async def publish_one(node: Node) -> None:
    assert node.current_tick is not None
    await node.send_async("x", node.current_tick.seq)


def sub(capacity: int = 2) -> Sub:
    return Sub("x", capacity=capacity, overflow=Overflow.BLOCK)


async def test_a_slow_block_reader_holds_its_senders_up_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    """The one agreed exception to isolation."""
    got: list[int] = []

    async def read(node: Node) -> None:
        if node.has_msg("x"):
            got.append(node.recv("x"))

    scheduler = Scheduler(1.0)
    scheduler.add(Node("reader", tick=read), subs=sub(), phase=0.5)
    scheduler.add(Node("writer", tick=publish_one), rate=4.0)
    record = scheduler.topic("x").subscribe()
    report = await scheduler.run(16.0)
    order = record.drain()
    assert got == order[:16]
    # Two wait in its buffer, and the one that waits to be sent gets by when the reader leaves.
    assert len(order) == report.statistics.nodes["writer"].ok == 16 + 2 + 1
    assert report.statistics.nodes["writer"].missed > 40


@pytest.mark.parametrize(
    "why", ["paused", "backing off", "init hangs", "init fails", "suspended", "failed", "removed"]
)
async def test_a_block_reader_that_does_not_tick_holds_nobody_up(
    why: str, autojump_clock: MockClock
) -> None:
    for_good = {"backoff": 1000.0, "max_backoff": 1000.0, "jitter": 0.0}
    hooks: dict[str, Any] = {"tick": well}
    options: dict[str, Any] = {}

    async def fail(node: Node) -> None:
        raise ValueError

    async def hang(node: Node) -> None:
        await trio.sleep_forever()

    if why in ("backing off", "suspended", "failed"):
        hooks["tick"] = fail
    if why.startswith("init"):
        hooks["init"] = fail if why == "init fails" else hang
        options["init_timeout"] = 100.0
    match why:
        case "suspended":
            options["failure_policy"] = horus.CircuitBreaker(max_failures=1, cooldown=1000.0)
        case "failed":
            options["failure_policy"] = Restart(max_restarts=0)
        case _:
            options["failure_policy"] = Restart(max_restarts=9, within=None, **for_good)
    scheduler = Scheduler(4.0)
    scheduler.add(Node("writer", tick=publish_one), phase=0.0)
    if not why.startswith("init h"):
        scheduler.add(Node("reader", **hooks), subs=sub(), phase=0.0, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, 8.0)
        await trio.sleep(1.0625)
        if why == "init hangs":
            scheduler.add(Node("reader", **hooks), subs=sub(), **options)
        if why == "paused":
            scheduler.pause("reader")
        if why == "removed":
            scheduler.remove("reader")
        await trio.sleep(2.0)
        before = scheduler.statistics().nodes["writer"].ok
        topic = scheduler.statistics().topics["x"]
        assert topic.senders_waiting == 0
        for subscription in topic.subscriptions:  # and what it drops is counted
            assert subscription.dropped > 0
            assert (
                subscription.received + subscription.dropped + subscription.depth
                == subscription.published
            )
        await trio.sleep(2.0)
        assert scheduler.statistics().nodes["writer"].ok - before == 8


async def test_a_block_reader_holds_up_again_as_soon_as_it_ticks_again(
    autojump_clock: MockClock,
) -> None:
    scheduler = Scheduler(4.0)
    scheduler.add(Node("writer", tick=publish_one), phase=0.0)
    scheduler.add(Node("reader", tick=well), subs=sub(), phase=0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run, 8.0)
        await trio.sleep(2.0625)
        assert scheduler.statistics().topics["x"].senders_waiting == 1
        scheduler.pause("reader")
        await trio.sleep(1.0)
        assert scheduler.statistics().topics["x"].senders_waiting == 0
        scheduler.resume("reader")
        await trio.sleep(1.0)
        assert scheduler.statistics().topics["x"].senders_waiting == 1


async def test_a_stuck_block_reader_holds_nobody_up(mock_clock: MockClock) -> None:
    release = threading.Event()

    def hang(node: Node) -> None:
        release.wait(60)

    scheduler = Scheduler(4.0)
    scheduler.add(Node("writer", tick=publish_one), phase=0.0)
    scheduler.add(Node("reader", tick=hang), subs=sub(), tick_timeout=1.0, phase=0.0)

    async def advance(steps: int) -> None:
        for _ in range(steps):
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(0.25)
        await wait_all_tasks_blocked(0.01)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scheduler.run)
            await advance(3)
            assert scheduler.statistics().topics["x"].senders_waiting == 1
            await advance(5)
            assert scheduler.statistics().nodes["reader"].state is NodeState.STUCK
            assert scheduler.statistics().topics["x"].senders_waiting == 0
            before = scheduler.statistics().nodes["writer"].ok
            await advance(8)
            assert scheduler.statistics().nodes["writer"].ok - before == 8
            release.set()
            scheduler.stop()
    finally:
        release.set()
