"""`ConnectionPool` against a model, over generated uses, faults, pauses and cancellations.

The model is sequential: it has a list of those who wait, a stack of idle connections, and those in
use, and moves time from event to event. Connections are opened, checked and closed in no time, so
after each step both must have come to the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
import trio
from helpers.servers import Connection, Server, balanced, check
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from horus_trio.helpers import ConnectionPool, PoolUnavailable

BACKOFF, MAX_BACKOFF = 0.25, 2.0

Step: TypeAlias = tuple[str, Any]

STEPS = st.one_of(
    st.tuples(st.just("acquire"), st.none()),
    st.tuples(st.just("acquire"), st.none()),
    st.tuples(st.sampled_from(["release", "fail", "cancel"]), st.integers(0, 5)),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.sampled_from([0.125, 0.5, 1.0, 4.0])),
    st.tuples(st.just("server"), st.booleans()),
    st.tuples(st.sampled_from(["spoil idle", "spoil used"]), st.integers(0, 5)),
)


@dataclass(eq=False)
class Line:
    """A connection, in the model."""

    opened: float
    idle_since: float = math.nan
    good: bool = True


@dataclass
class Model:
    size: int
    max_age: float
    idle_timeout: float
    now: float = 0.0
    down: bool = False
    waiting: list[int] = field(default_factory=list)
    idle: list[Line] = field(default_factory=list)
    used: dict[int, Line] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    failures: int = 0
    retry_at: float = -math.inf
    opened: int = 0
    users: int = 0

    def acquire(self) -> int:
        self.users += 1
        self.waiting.append(self.users)
        self.settle()
        return self.users

    def give_back(self, user: int, how: str) -> None:
        line = self.used.pop(user)
        self.ended[user] = how
        if how == "release" or (how == "fail" and line.good):
            line.idle_since = self.now
            self.idle.append(line)
        self.settle()

    def leave(self, user: int) -> None:
        self.waiting.remove(user)
        self.ended[user] = "left"
        self.settle()

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while (event := self.next_event()) <= until:
            self.now = event
            self.settle()
        self.now = until
        self.settle()

    def expires(self, line: Line) -> float:
        return min(line.opened + self.max_age, line.idle_since + self.idle_timeout)

    def next_event(self) -> float:
        events = [self.expires(line) for line in self.idle]
        if self.waiting and self.retry_at > self.now:
            events.append(self.retry_at)
        return min(events, default=math.inf)

    def settle(self) -> None:
        self.idle = [line for line in self.idle if self.expires(line) > self.now]
        while self.waiting:
            if self.idle:
                line = self.idle.pop()
                if line.good:
                    self.used[self.waiting.pop(0)] = line
            elif len(self.used) < self.size and self.now >= self.retry_at:
                if self.down:
                    pause = min(MAX_BACKOFF, BACKOFF * 2**self.failures)
                    self.failures += 1
                    self.retry_at = self.now + pause
                else:
                    self.failures, self.retry_at = 0, -math.inf
                    self.opened += 1
                    self.used[self.waiting.pop(0)] = Line(self.now)
            elif not self.used:
                for user in self.waiting:
                    self.ended[user] = "unavailable"
                self.waiting.clear()
            else:
                break


class Real:
    """The pool, and a task for each user."""

    def __init__(self, pool: ConnectionPool[Connection], server: Server) -> None:
        self.pool = pool
        self.server = server
        self.used: dict[int, Connection] = {}
        self.ended: dict[int, str] = {}
        self.orders: dict[int, trio.MemorySendChannel[str]] = {}
        self.scopes: dict[int, trio.CancelScope] = {}

    async def use(self, user: int, orders: trio.MemoryReceiveChannel[str]) -> None:
        with trio.CancelScope() as self.scopes[user]:
            self.ended[user] = "left"
            try:
                async with self.pool.acquire() as connection:
                    self.used[user] = connection
                    self.ended[user] = "cancel"
                    if await orders.receive() == "fail":
                        raise ValueError("as told")
                    self.ended[user] = "release"
            except ValueError:
                self.ended[user] = "fail"
            except PoolUnavailable:
                self.ended[user] = "unavailable"
            finally:
                self.used.pop(user, None)
                del self.scopes[user]


def nth(of: dict[int, Any] | list[int], number: int) -> int | None:
    users = sorted(of)
    return users[number % len(users)] if users else None


async def play(
    size: int, max_age: float | None, idle_timeout: float | None, steps: list[Step]
) -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    server = Server()
    model = Model(size, max_age or math.inf, idle_timeout or math.inf)
    pool = ConnectionPool(
        server.connect,
        size=size,
        check=check,
        max_age=max_age,
        idle_timeout=idle_timeout,
        backoff=BACKOFF,
        max_backoff=MAX_BACKOFF,
    )
    real = Real(pool, server)
    async with trio.open_nursery() as nursery, pool:
        try:
            for what, number in steps:
                await step(what, number, model, real, nursery, clock)
                compare(model, real)
        finally:
            clock.autojump_threshold = 0
            nursery.cancel_scope.cancel()
    assert server.open == []
    found = balanced(pool.statistics())
    assert found.opened == found.closed
    assert server.most <= size
    pauses = [b - a for a, b in zip(server.attempts, server.attempts[1:], strict=False)]
    assert len([pause for pause in pauses if 0 < pause < BACKOFF]) <= found.opened


async def step(
    what: str, number: Any, model: Model, real: Real, nursery: trio.Nursery, clock: MockClock
) -> None:
    if what == "acquire":
        user = model.acquire()
        real.orders[user], orders = trio.open_memory_channel[str](1)
        nursery.start_soon(real.use, user, orders)
    elif what in ("release", "fail"):
        if (user_or_none := nth(model.used, number)) is not None:
            model.give_back(user_or_none, what)
            real.orders[user_or_none].send_nowait(what)
    elif what == "cancel":
        if (user_or_none := nth(model.used, number)) is not None:
            model.give_back(user_or_none, what)
            real.scopes[user_or_none].cancel()
    elif what == "leave":
        if (user_or_none := nth(model.waiting, number)) is not None:
            model.leave(user_or_none)
            real.scopes[user_or_none].cancel()
    elif what == "pass":
        until = model.now + number
        while (event := min(model.next_event(), until)) < until:
            clock.jump(event - model.now)
            model.advance(event - model.now)
            await settled()
        clock.jump(until - model.now)
        model.advance(until - model.now)
    elif what == "server":
        model.down = real.server.down = not number
    elif what == "spoil used":
        if (user_or_none := nth(model.used, number)) is not None:
            model.used[user_or_none].good = real.used[user_or_none].good = False
    elif model.idle:
        place = number % len(model.idle)
        model.idle[place].good = False
        real.pool._idle[place].connection.good = False
    await settled()


async def settled() -> None:
    # Twice: what a callback of the loop has started is seen only afterwards.
    for _ in range(2):
        await wait_all_tasks_blocked()


def compare(model: Model, real: Real) -> None:
    found = balanced(real.pool.statistics())
    assert sorted(real.used) == sorted(model.used)
    ended = {user: how for user, how in real.ended.items() if user not in real.scopes}
    assert ended == model.ended
    assert found.waiting == len(model.waiting)
    assert found.idle == len(model.idle)
    assert found.in_use == len(model.used)
    assert found.opened == model.opened
    assert len(real.server.open) == len(model.used) + len(model.idle)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    size=st.integers(1, 3),
    max_age=st.sampled_from([None, 3.0]),
    idle_timeout=st.sampled_from([None, 1.0, 2.0]),
    steps=st.lists(STEPS, max_size=40),
)
def test_it_does_what_the_model_does(
    size: int, max_age: float | None, idle_timeout: float | None, steps: list[Step]
) -> None:
    trio.run(play, size, max_age, idle_timeout, steps, clock=MockClock())
