"""A rate limiter admits what it should, never more, and in turn: polled, in tasks, in threads."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from horus_trio import AsyncCallInThread, AsyncNode, ConfigurationError, Node, TickAbandoned
from horus_trio.helpers import RateLimiter
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import cancel_everywhere, open_harness

TINY = 1e-9
"""What rounding may make of an instant, in seconds."""


def is_lawful(limiter: RateLimiter) -> bool:
    s = limiter.statistics()
    return (
        s.asked == s.admitted + s.refused + s.given_up + s.waiting and 0 <= s.available <= s.burst
    )


def is_within_limit(admitted: list[tuple[float, int]], rate: float, burst: int) -> bool:
    """Whether no window has more than rate * T + burst; (instant, how many), in order."""
    # The window from i to k: sum(i..k) <= rate * (t[k] - t[i]) + burst.
    least, total = math.inf, 0.0
    for instant, n in admitted:
        least = min(least, total - rate * instant)
        total += n
        if total - rate * instant - least > burst + TINY * rate:
            return False
    return True


class Noted(RateLimiter):
    """Writes down what it admits, at the instant at which it does."""

    def __init__(self, rate: float, *, burst: int | None = None) -> None:
        super().__init__(rate, burst=burst)
        self.admitted: list[tuple[float, int]] = []

    def _take(self, n: int, now: float) -> bool:
        taken = super()._take(n, now)
        if taken:
            self.admitted.append((now, n))
        return taken


# The bucket


async def test_a_burst_and_then_the_rate(mock_clock: MockClock) -> None:
    async with RateLimiter(4, burst=3) as limiter:
        assert [limiter.allow() for _ in range(4)] == [True, True, True, False]
        assert limiter.wait_time() == 0.25
        assert limiter.wait_time(3) == 0.75
        mock_clock.jump(0.25)
        assert limiter.wait_time() == 0.0
        assert limiter.allow()
        assert not limiter.allow()
        mock_clock.jump(0.5)
        assert not limiter.allow(3)
        assert limiter.allow(2)
        mock_clock.jump(100)
        assert limiter.allow(3)
        assert not limiter.allow()
        assert is_lawful(limiter)


async def test_what_is_awaited_comes_at_its_instant(autojump_clock: MockClock) -> None:
    limiter = RateLimiter(4, burst=2)
    began = trio.current_time()
    instants = list[float]()
    for n in (1, 1, 1, 2, 1):
        await limiter.acquire(n)
        instants.append(trio.current_time() - began)
    assert instants == [0, 0, 0.25, 0.75, 1.0]


async def test_nothing_is_thrown_away_by_polling(mock_clock: MockClock) -> None:
    for milliseconds in (1, 7, 9, 11, 13):
        rate = 50.0
        limiter = RateLimiter(rate)
        while limiter.allow():
            pass
        admitted = polls = 0
        while admitted < 1000:
            mock_clock.jump(milliseconds / 1000)
            polls += 1
            admitted += limiter.allow()
        assert admitted / (polls * milliseconds / 1000) == pytest.approx(rate, rel=0.001)


async def test_a_poll_that_takes_all_there_is_loses_nothing_either(mock_clock: MockClock) -> None:
    for milliseconds in (1, 7, 9, 11, 13, 99):
        rate = 100.0
        limiter = RateLimiter(rate)
        while limiter.allow():
            pass
        admitted = polls = 0
        while admitted < 1000:
            mock_clock.jump(milliseconds / 1000)
            polls += 1
            while limiter.allow():
                admitted += 1
        assert admitted / (polls * milliseconds / 1000) == pytest.approx(rate, rel=0.011)


@pytest.mark.slow
@pytest.mark.alone
async def test_awaited_in_real_time_it_gives_the_whole_rate() -> None:
    limiter = RateLimiter(500)
    while limiter.allow():
        pass
    began = trio.current_time()
    for _ in range(1000):
        await limiter.acquire()
    assert 1000 / (trio.current_time() - began) == pytest.approx(500, rel=0.01)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("polled", [True, False])
def test_eight_threads_share_the_whole_rate(polled: bool) -> None:
    limiter = Noted(500)
    while limiter.allow():
        pass
    began = time.monotonic()
    turns = itertools.count()
    instants = list[float]()

    def work() -> None:
        while next(turns) < 1000:
            if polled:
                while not limiter.allow():
                    time.sleep(0.003)
            else:
                limiter.acquire_blocking()
            instants.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(instants) == 1000
    assert 1000 / (max(instants) - began) == pytest.approx(500, rel=0.01)
    assert is_within_limit(limiter.admitted, 500, limiter.burst)
    assert is_lawful(limiter)


# Laws

RATES = st.one_of(
    st.floats(0.01, 1e4), st.sampled_from([0.1, 1 / 3, 3.0, 7.0, 100.0, 1e6]), st.integers(1, 1000)
)


@pytest.mark.slow
@given(
    rate=RATES,
    burst=st.integers(1, 20) | st.none(),
    began=st.floats(0, 1e6),
    steps=st.lists(
        st.tuples(st.floats(0, 3) | st.sampled_from([0.0, 0.1, 1.0]), st.integers(1, 20)),
        max_size=60,
    ),
)
def test_it_never_admits_more_than_the_limit_and_says_when_it_will(
    rate: float, burst: int | None, began: float, steps: list[tuple[float, int]]
) -> None:
    clock = MockClock()
    clock.jump(began)

    async def main() -> None:
        limiter = RateLimiter(rate, burst=burst)
        burst_of = limiter.burst
        admitted = list[tuple[float, int]]()
        level, last = float(burst_of), trio.current_time()  # the model: a bucket
        for pause, wanted in steps:
            n = min(wanted, burst_of)
            clock.jump(pause / rate)
            now = trio.current_time()
            level, last = min(float(burst_of), level + (now - last) * rate), now
            wait = limiter.wait_time(n)
            got = limiter.allow(n)
            assert got == (wait == 0.0)
            if abs(level - n) > 1e-6 * (1 + rate):
                assert got == (level >= n)
            if got:
                level -= n
                admitted.append((now, n))
            else:
                clock.jump(wait)
                now = trio.current_time()
                level, last = min(float(burst_of), level + (now - last) * rate), now
                assert limiter.allow(n)
                level -= n
                admitted.append((now, n))
            assert is_lawful(limiter)
        assert is_within_limit(admitted, rate, burst_of)

    trio.run(main, clock=clock)


@pytest.mark.slow
@given(
    rate=st.sampled_from([1.0, 3.0, 10.0]),
    burst=st.integers(1, 4),
    comers=st.lists(
        st.tuples(
            st.integers(0, 30),  # tenths of a second, when
            st.integers(1, 4),  # how many
            st.none() | st.integers(0, 30),  # tenths of a second, its patience
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_who_waits_is_served_in_turn_as_in_the_model(
    rate: float, burst: int, comers: list[tuple[int, int, int | None]]
) -> None:
    """The model: those that were served, in turn, each at the first instant there was enough."""

    async def main() -> None:
        limiter = RateLimiter(rate, burst=burst)
        limiter.wait_time()  # its clock begins here
        began = trio.current_time()
        served = list[tuple[int, float, int, float]]()
        left = list[tuple[int, float, float]]()

        async def come(number: int, when: int, n: int, patience: int | None) -> None:
            # Of those that come at one instant, the first comes a little earlier.
            await trio.sleep_until(began + when / 10 + number * 1e-5)
            came = trio.current_time()
            with trio.move_on_after(math.inf if patience is None else patience / 10 + 3e-6):
                await limiter.acquire(n)
                served.append((number, came, n, trio.current_time()))
                return
            left.append((number, came, trio.current_time()))

        async with trio.open_nursery() as nursery:
            for number, (when, n, patience) in enumerate(comers):
                nursery.start_soon(come, number, when, min(n, burst), patience)
        assert is_within_limit([(at, n) for *_, n, at in served], rate, burst)
        assert is_lawful(limiter)
        in_turn = sorted(served, key=lambda one: one[1])
        assert [at for *_, at in in_turn] == sorted(at for *_, at in in_turn)
        level, last = float(burst), began
        before = -math.inf  # when the one before it was gone, served or not
        for _, came, n, at in in_turn:
            gone = [end for _, its, end in left if its < came and end <= at]
            earliest = max(came, before, *gone, began)
            level = min(float(burst), level + (earliest - last) * rate)
            enough = earliest if level >= n else earliest + (n - level) / rate
            assert at <= enough + 1e-6  # not kept waiting by those who have left
            level = min(float(burst), level + (at - earliest) * rate) - n
            last = before = at
            assert level >= -1e-6

    trio.run(main, clock=MockClock(autojump_threshold=0))


# Waiting


async def test_nobody_overtakes_who_waits(autojump_clock: MockClock) -> None:
    limiter = RateLimiter(1, burst=3)
    assert limiter.allow(3)
    order = list[str]()

    async def take(name: str, n: int) -> None:
        await limiter.acquire(n)
        order.append(f"{name} at {trio.current_time():g}")

    async with trio.open_nursery() as nursery:
        for name, n in (("a", 3), ("b", 1), ("c", 2)):
            nursery.start_soon(take, name, n)
            await wait_all_tasks_blocked()
        await trio.sleep(1.5)
        assert not limiter.allow()
        assert limiter.wait_time() == 5.5
        assert repr(limiter) == "<RateLimiter 'limiter', 1/s, bursts of 3, 3 waiting>"
        assert limiter.statistics().waiting == 6
    assert order == ["a at 3", "b at 4", "c at 6"]


async def test_who_is_cancelled_takes_nothing_and_lets_the_next_one_forward(
    autojump_clock: MockClock,
) -> None:
    limiter = RateLimiter(1, burst=3)
    assert limiter.allow(3)
    at: float = 0

    async def take() -> None:
        nonlocal at
        await limiter.acquire()
        at = trio.current_time()

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1.5):
            nursery.start_soon(take)
            nursery.start_soon(trio.sleep, 0.1)
            # It is in the line first.
            await limiter.acquire(3)
        await wait_all_tasks_blocked()
    assert at == 1.5
    assert limiter.statistics().given_up == 3
    assert is_lawful(limiter)


async def test_cancelled_in_the_instant_it_is_served_it_gives_back(mock_clock: MockClock) -> None:
    limiter = RateLimiter(1, burst=1)
    assert limiter.allow()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def cancel() -> None:
                await wait_all_tasks_blocked()
                scope.cancel()
                mock_clock.jump(1)
                limiter._serve()

            nursery.start_soon(cancel)
            await limiter.acquire()
    assert scope.cancelled_caught
    assert limiter.allow()
    assert is_lawful(limiter)


async def test_acquire_is_swept(autojump_clock: MockClock) -> None:
    def make() -> list[RateLimiter]:
        limiter = RateLimiter(10, burst=2)
        limiter.allow(2)
        return [limiter]

    async def use(box: list[RateLimiter]) -> None:
        await box[0].acquire()

    async def open_and_use(box: list[RateLimiter]) -> None:
        async with box[0] as limiter:
            await limiter.acquire(2)

    for operation in (use, open_and_use):
        sweep = await cancel_everywhere(
            make, operation, observe=lambda box: (box[0].statistics().waiting, box[0].is_open)
        )
        assert sweep.checkpoints >= 1


async def test_it_is_a_checkpoint_also_when_something_is_there() -> None:
    limiter = RateLimiter(1)
    with trio.testing.assert_checkpoints():
        await limiter.acquire()
    with trio.CancelScope() as scope:
        scope.cancel()
        await limiter.acquire()
    assert limiter.statistics().admitted == 1


async def test_threads_and_tasks_wait_in_one_line() -> None:
    limiter = Noted(100, burst=4)
    assert limiter.allow(4)

    async def line_up(amount: int) -> None:
        while limiter._end < amount:  # noqa: ASYNC110 - a thread's doing
            await trio.sleep(0.001)

    async def in_thread(n: int) -> None:
        await trio.to_thread.run_sync(limiter.acquire_blocking, n, None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, 4)
        await line_up(4)
        nursery.start_soon(limiter.acquire, 2)
        await line_up(6)
        nursery.start_soon(in_thread, 3)
        await line_up(9)
        nursery.start_soon(limiter.acquire, 1)
    assert [n for _, n in limiter.admitted] == [4, 4, 2, 3, 1]
    assert is_within_limit(limiter.admitted, 100, 4)


@pytest.mark.slow
async def test_threads_and_tasks_that_come_and_go_stay_within_the_limit() -> None:
    limiter = RateLimiter(2000, burst=4)
    over = threading.Event()
    began = trio.current_time()

    def in_thread(n: int) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                limiter.acquire_blocking(n, timeout=0.002 * n)

    async def in_task(n: int) -> None:
        while not over.is_set():
            with trio.move_on_after(0.001 * n):
                await limiter.acquire(n)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for n in (1, 2, 3):
            nursery.start_soon(trio.to_thread.run_sync, in_thread, n)
            nursery.start_soon(in_task, n)
        for _ in range(100):
            await trio.sleep(0.01)
            assert is_lawful(limiter)
        over.set()
    statistics = limiter.statistics()
    assert statistics.waiting == 0
    assert statistics.given_up > 0
    assert 200 < statistics.admitted <= (trio.current_time() - began) * 2000 + 4


async def test_a_blocked_loop_holds_up_no_thread() -> None:
    limiter = RateLimiter(100, burst=1)
    assert limiter.allow()
    done = threading.Event()

    def in_thread() -> None:
        limiter.acquire_blocking()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(limiter.acquire)
        await wait_all_tasks_blocked()
        thread = threading.Thread(target=in_thread)
        thread.start()
        assert done.wait(20)  # blocks the loop
        thread.join()


def test_a_thread_waits_no_longer_than_its_time() -> None:
    limiter = RateLimiter(0.01, burst=1)
    limiter.acquire_blocking()
    with pytest.raises(TimeoutError, match=r"'limiter' had no 1 tokens within 0\.01 s"):
        limiter.acquire_blocking(timeout=0.01)
    with pytest.raises(TimeoutError):
        limiter.acquire_blocking(timeout=0)
    assert limiter.statistics().waiting == 0
    assert is_lawful(limiter)


async def test_a_thread_must_not_be_the_loops() -> None:
    with pytest.raises(AsyncCallInThread, match=r"use await limiter.acquire\(…\)"):
        RateLimiter(1).acquire_blocking()


async def test_an_abandoned_tick_takes_nothing() -> None:
    limiter = RateLimiter(0.01, burst=1)
    assert limiter.allow()
    fence = Fence("node")
    ended = list[str]()

    async def in_task() -> None:
        current_fence.set(fence)
        with pytest.raises(TickAbandoned):
            await limiter.acquire()
        with pytest.raises(TickAbandoned):
            limiter.allow()
        ended.append("task")

    def in_thread() -> None:
        current_fence.set(fence)
        with pytest.raises(TickAbandoned):
            limiter.acquire_blocking()
        ended.append("thread")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_task)
        nursery.start_soon(trio.to_thread.run_sync, in_thread)
        while limiter.statistics().waiting < 2:  # noqa: ASYNC110 - a thread's doing
            await trio.sleep(0.001)
        fence.close()
    assert sorted(ended) == ["task", "thread"]
    assert limiter.statistics().waiting == 0
    assert is_lawful(limiter)


# Its clock


def test_it_takes_its_tokens_from_run_to_run() -> None:
    limiter = RateLimiter(1, burst=4)

    async def use(expected: list[bool]) -> None:
        assert [limiter.allow() for _ in expected] == expected

    assert limiter.allow()  # by time.monotonic
    trio.run(use, [True, True, True, False], clock=MockClock())
    trio.run(use, [False], clock=MockClock())

    async def open_and_use() -> None:
        async with limiter:
            assert not limiter.allow()
            await trio.sleep(2)
        await trio.sleep(100)

    trio.run(open_and_use, clock=MockClock(autojump_threshold=0))
    # What passed in that run after it was closed does not count: its clock is another one.
    assert 2 <= limiter.statistics().available < 3


async def test_a_wall_clock_that_is_set_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = RateLimiter(0.001, burst=1)
    assert limiter.allow()
    monkeypatch.setattr(time, "time", lambda: 1e12)
    monkeypatch.setattr(time, "time_ns", lambda: 10**21)
    assert not limiter.allow()


async def test_who_waits_goes_on_waiting_when_it_is_opened(autojump_clock: MockClock) -> None:
    limiter = RateLimiter(1, burst=1)
    assert limiter.allow()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limiter.acquire)
        await wait_all_tasks_blocked()
        async with limiter:
            await limiter.acquire()
    assert trio.current_time() == 2


# In nodes


async def test_ticks_use_it() -> None:
    limiter = RateLimiter(5, burst=1)
    calls = list[float]()

    class Polls(Node):
        rate = 50

        def tick(self) -> None:
            if limiter.allow():
                calls.append(self.now)

    class Waits(AsyncNode):
        rate = 50

        async def tick_async(self) -> None:
            await limiter.acquire()
            calls.append(self.now)

    async with open_harness(
        Polls("polls", helpers=[limiter]), Waits("waits", helpers=[limiter])
    ) as h:
        await h.advance(10)
    assert len(calls) == pytest.approx(51, abs=1)


# Bad input


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, True, "5", None, 5e-324, 10**400])
def test_a_rate_is_a_number_above_0(rate: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"RateLimiter 'limiter': rate=.*, expected"):
        RateLimiter(rate)


@pytest.mark.parametrize("burst", [0, -1, 1.5, math.nan, True, "5"])
def test_a_burst_is_a_whole_number(burst: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"RateLimiter 'api': burst=.*, expected a whole"):
        RateLimiter(1, burst=burst, name="api")


@pytest.mark.parametrize("n", [0, -1, 4, 1.0, math.nan, True, "1", None])
@pytest.mark.parametrize("call", ["allow", "wait_time", "acquire_blocking", "acquire"])
async def test_more_than_the_burst_is_refused(n: Any, call: str) -> None:
    limiter = RateLimiter(1, burst=3)

    async def ask() -> None:
        result = getattr(limiter, call)(n)
        if call == "acquire":
            await result

    with pytest.raises(ConfigurationError, match="expected a whole number from 1 to its burst of"):
        await ask()
    assert limiter.statistics().asked == 0


@pytest.mark.parametrize("timeout", [-1, math.nan, True, "1"])
def test_a_time_out_is_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout="):
        RateLimiter(1).acquire_blocking(timeout=timeout)


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 2), (5, 2), (10, 2), (100, 11), (101, 12)])
def test_the_default_burst_is_enough_for_a_tenth_of_a_second(rate: float, burst: int) -> None:
    assert RateLimiter(rate).burst == burst


def test_what_it_says() -> None:
    limiter = RateLimiter(2.5, burst=3, name="api")
    assert repr(limiter) == "<RateLimiter 'api', 2.5/s, bursts of 3>"
    assert (limiter.rate, limiter.burst, limiter.name) == (2.5, 3, "api")
    statistics = limiter.statistics()
    assert (statistics.available, statistics.asked) == (3.0, 0)
