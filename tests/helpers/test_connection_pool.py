"""`ConnectionPool`: on virtual time with connections of the loop, in real time with threads."""

from __future__ import annotations

import functools
import math
import threading
from typing import Any, Self

import pytest
import trio
from helpers.patience import eventually
from helpers.servers import BlockingConnection, Connection, Server, balanced, check
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import AsyncCallInThread, AsyncNode, ConfigurationError, Node, TickAbandoned
from horus_trio.helpers import ConnectionPool, PoolUnavailable
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import cancel_everywhere, open_harness


def make(server: Server, **options: Any) -> ConnectionPool[Connection]:
    return ConnectionPool(server.connect, **options)


def make_blocking(server: Server, **options: Any) -> ConnectionPool[BlockingConnection]:
    return ConnectionPool(server.connect_blocking, **options)


async def use(connection: Connection, seconds: float) -> int:
    await trio.sleep(seconds)
    return connection.number


def number_of(connection: Connection) -> int:
    return connection.number


def hang(connection: BlockingConnection) -> None:
    connection.hang()


# Opening, sharing, closing


async def test_a_connection_is_opened_when_it_is_needed_and_used_again() -> None:
    server = Server()
    pool = make(server, size=3, name="camera")
    assert repr(pool) == "<ConnectionPool 'camera', closed>"
    async with pool:
        assert server.made == 0
        assert await pool.run(use, 0) == 1
        async with pool.acquire() as connection:
            assert connection.number == 1
            assert repr(pool) == "<ConnectionPool 'camera', 1 of 3 in use>"
            assert balanced(pool.statistics()).in_use == 1
        assert await pool.run(number_of) == 1
        assert len(server.open) == 1
    assert server.open == []
    found = balanced(pool.statistics())
    assert (found.opened, found.closed, found.acquired, found.discarded) == (1, 1, 3, 0)


async def test_connections_are_opened_at_the_same_time(autojump_clock: MockClock) -> None:
    server = Server()
    server.takes = 1
    async with make(server, size=4) as pool, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(pool.run, use, 0.5)
        await wait_all_tasks_blocked()
        assert balanced(pool.statistics()).opening == 4
        await trio.sleep(1.25)
        assert balanced(pool.statistics()).in_use == 4
    assert server.attempts == [0, 0, 0, 0]


async def test_there_are_never_more_than_size_and_who_comes_first_is_served_first(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    order: list[int] = []

    async def user(number: int) -> None:
        async with pool.acquire():
            order.append(number)
            await trio.sleep(1 + number / 10)  # or else two are served at one instant

    async with make(server, size=2) as pool:
        async with trio.open_nursery() as nursery:
            for number in range(7):
                nursery.start_soon(user, number)
                await wait_all_tasks_blocked()
                balanced(pool.statistics())
        assert order == list(range(7))
        assert server.most == 2
        assert len(server.open) == 2


async def test_who_has_no_time_to_wait_finds_it_open_the_next_time(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    server.takes = 1
    async with make(server) as pool:
        with trio.move_on_after(0.4):
            await pool.run(use, 0)
        await trio.sleep(0.8)
        assert balanced(pool.statistics()).idle == 1
        with trio.fail_after(0.1):
            assert await pool.run(use, 0) == 1
    assert len(server.attempts) == 1


async def test_the_one_used_last_is_used_next(autojump_clock: MockClock) -> None:
    server = Server()
    async with make(server) as pool:
        async with pool.acquire(), pool.acquire():
            pass
        assert {await pool.run(use, 1) for _ in range(5)} == {1}


# Checking


async def test_one_that_has_gone_bad_is_replaced_before_anybody_gets_it(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    async with make(server, check=check) as pool:
        async with pool.acquire() as first, pool.acquire() as second:
            pass
        first.good = second.good = False
        assert await pool.run(use, 0) == 3
        found = balanced(pool.statistics())
        assert (found.discarded, found.closed, found.idle) == (2, 2, 1)
        async with pool.acquire() as one, pool.acquire() as other:
            assert {one.number, other.number} == {3, 4}


async def test_a_check_that_raises_or_hangs_says_that_it_is_bad(autojump_clock: MockClock) -> None:
    server = Server()

    async def examine(connection: Connection) -> bool:
        if connection.number == 1:
            raise OSError("reset")
        if connection.number == 2:
            await trio.sleep_forever()
        return True

    async with make(server, check=examine, open_timeout=3) as pool:
        assert await pool.run(use, 0) == 1  # a fresh one is not checked
        assert await pool.run(use, 0) == 2
        assert pool.statistics().last_error == "check: OSError: reset"
        assert await pool.run(use, 0) == 3
        assert trio.current_time() == 3
        assert await pool.run(use, 0) == 3


async def test_one_that_was_just_used_is_not_checked(autojump_clock: MockClock) -> None:
    server = Server()
    checked: list[float] = []

    async def examine(connection: Connection) -> bool:
        checked.append(trio.current_time())
        return True

    async with make(server, check=examine, check_after=1) as pool:
        for pause in (0, 0.5, 0.9, 1.0, 0.2, 3.0):
            await trio.sleep(pause)
            await pool.run(use, 0)
    assert checked == [2.4, 5.6]


async def test_a_check_serves_whoever_is_first_in_line_by_then(autojump_clock: MockClock) -> None:
    server = Server()

    async def slowly(connection: Connection) -> bool:
        await trio.sleep(1)
        return True

    async with make(server, check=slowly, size=1) as pool:
        await pool.run(use, 0)
        with trio.move_on_after(0.5):
            await pool.run(use, 0)
        assert await pool.run(use, 0) == 1
        assert trio.current_time() == 1


# What is done with a connection after an error


async def test_after_an_error_it_is_checked(autojump_clock: MockClock) -> None:
    server = Server()

    def fail(connection: Connection, good: bool) -> None:
        connection.good = good
        raise ValueError("no")

    async with make(server, check=check) as pool:
        for good in (True, False):
            with pytest.raises(ValueError, match="no"):
                await pool.run(fail, good)
            await wait_all_tasks_blocked()
            assert len(server.open) == good
            assert balanced(pool.statistics()).idle == good


async def test_without_a_check_an_error_is_enough() -> None:
    server = Server()
    async with make(server) as pool:
        with pytest.raises(ValueError, match="no"):
            async with pool.acquire():
                raise ValueError("no")
        assert await pool.run(use, 0) == 2


async def test_is_broken_says_whether_it_is() -> None:
    server = Server()

    async def fail(connection: Connection, error: Exception) -> None:
        raise error

    def is_broken(error: Exception) -> bool:
        if isinstance(error, KeyError):
            raise RuntimeError("no idea")
        return isinstance(error, ConnectionError)

    async with make(server, is_broken=is_broken) as pool:
        for error, number in ((ValueError(), 1), (ConnectionResetError(), 2), (KeyError(), 3)):
            with pytest.raises(type(error)):
                await pool.run(fail, error)
            assert await pool.run(use, 0) == number
        assert pool.statistics().last_error == "is_broken: RuntimeError: no idea"


async def test_after_a_cancellation_nobody_else_gets_it(autojump_clock: MockClock) -> None:
    server = Server()
    async with make(server, check=check) as pool:
        with trio.move_on_after(1):
            await pool.run(use, 5)
        with trio.move_on_after(1):
            async with pool.acquire():
                await trio.sleep(5)
        assert await pool.run(use, 0) == 3
        assert len(server.open) == 1


# Time


async def test_an_idle_one_is_closed_when_its_time_has_come(autojump_clock: MockClock) -> None:
    server = Server()
    async with make(server, idle_timeout=10) as pool:
        async with pool.acquire() as first:
            async with pool.acquire() as second:
                await trio.sleep(1)
            await trio.sleep(2)
        await trio.sleep(5)
        await pool.run(use, 0)
        await trio.sleep(30)
        assert (second.closed_at, first.closed_at) == (11, 18)
        assert balanced(pool.statistics()).closed == 2


async def test_idle_time_is_not_polled(autojump_clock: MockClock) -> None:
    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += 1

    server = Server()
    async with make(server, idle_timeout=3600, max_age=7200) as pool:
        await pool.run(use, 0)
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(3599)
        trio.lowlevel.remove_instrument(steps)
        assert steps.count < 6
        assert len(server.open) == 1
        await trio.sleep(2)
        assert server.open == []


async def test_an_old_one_is_closed_as_soon_as_it_is_free(autojump_clock: MockClock) -> None:
    server = Server()
    async with make(server, max_age=10) as pool:
        async with pool.acquire() as first:
            await trio.sleep(12)
        assert await pool.run(use, 0) == 2
        await trio.sleep(11)
        assert first.closed_at == 12
        assert server.open == []


async def test_what_takes_too_long_is_cancelled_and_its_connection_closed(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    async with make(server, operation_timeout=2) as pool:
        assert await pool.run(use, 1.9) == 1
        with pytest.raises(TimeoutError, match=r"use has not ended within 2 s"):
            await pool.run(use, 5)
        assert trio.current_time() == pytest.approx(3.9)
        assert await pool.run(use, 0) == 2
        found = balanced(pool.statistics())
        assert (found.discarded, found.closed) == (1, 1)


# Nothing can be opened


async def test_an_error_says_why_and_nobody_hangs(autojump_clock: MockClock) -> None:
    server = Server()
    server.down = True
    server.takes = 0.5
    async with make(server, name="log") as pool, trio.open_nursery() as nursery:

        async def fail() -> None:
            with pytest.raises(PoolUnavailable) as caught:
                await pool.run(use, 0)
            assert str(caught.value) == (
                "ConnectionPool 'log' has no connection; the last attempt failed: connect: "
                "ConnectionRefusedError: nobody listens"
            )
            assert isinstance(caught.value.__cause__, ConnectionRefusedError)
            assert isinstance(caught.value, ConnectionError)

        for _ in range(10):
            nursery.start_soon(fail)
        await trio.sleep(0.6)
        assert len(nursery.child_tasks) == 0
        balanced(pool.statistics())


async def test_a_dead_server_is_not_hammered(autojump_clock: MockClock) -> None:
    server = Server()
    server.down = True
    async with make(server, backoff=0.1, max_backoff=2) as pool:
        while trio.current_time() < 10:
            with pytest.raises(PoolUnavailable):
                await pool.run(use, 0)
            await trio.sleep(0.01)
        pauses = [b - a for a, b in zip(server.attempts, server.attempts[1:], strict=False)]
        assert pauses[:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2], abs=0.02)
        assert len(pauses) < 10
        server.down = False
        await trio.sleep(2)
        with pytest.raises(ValueError, match="no"):
            async with pool.acquire():
                raise ValueError("no")
        server.down = True  # a success begins anew
        for pause in (0.1, 0.2):
            for _ in range(2):
                with pytest.raises(PoolUnavailable):
                    await pool.run(use, 0)
            await trio.sleep(pause)
        assert server.attempts[-1] - server.attempts[-2] == pytest.approx(0.1)


async def test_after_failures_there_is_one_attempt_at_a_time(autojump_clock: MockClock) -> None:
    server = Server()
    server.down = True
    async with make(server, size=4) as pool:

        async def attempt() -> None:
            with pytest.raises(PoolUnavailable):
                await pool.run(use, 0)

        for expected in (4, 5, 6):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(attempt)
            assert len(server.attempts) == expected
            await trio.sleep(3)
        server.down = False
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(pool.run, use, 1)
        assert server.made == 4


async def test_those_who_wait_are_served_by_what_is_left(autojump_clock: MockClock) -> None:
    server = Server()
    async with make(server, size=3) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, use, 5)
        await wait_all_tasks_blocked()
        server.down = True
        assert await pool.run(use, 0) == 1
        assert trio.current_time() == 5


async def test_those_who_wait_are_served_when_the_server_is_back(autojump_clock: MockClock) -> None:
    server = Server()
    async with make(server, size=3) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, use, 50)
        await wait_all_tasks_blocked()
        server.down = True

        async def come_back() -> None:
            await trio.sleep(10)
            server.down = False

        nursery.start_soon(come_back)
        assert await pool.run(use, 0) == 2
        assert trio.current_time() < 12.1
        nursery.cancel_scope.cancel()


async def test_an_opening_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    server = Server()
    server.takes = math.inf
    async with make(server, open_timeout=3) as pool:
        with pytest.raises(PoolUnavailable, match="connect has not returned within 3 s"):
            await pool.run(use, 0)
        assert trio.current_time() == 3


# Closing


async def test_closing_waits_for_those_in_use(autojump_clock: MockClock) -> None:
    server = Server()
    ended: list[float] = []

    async def user() -> None:
        async with pool.acquire():
            await trio.sleep(1.5)
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        async with make(server, close_grace=2) as pool:
            async with pool.acquire():
                pass
            nursery.start_soon(user)
            await wait_all_tasks_blocked()
        assert ended == [1.5]
        assert trio.current_time() == 1.5
    assert server.open == []
    assert balanced(pool.statistics()).closed == 1


async def test_what_is_not_given_back_in_time_is_taken_away(autojump_clock: MockClock) -> None:
    server = Server()

    async def run() -> None:
        with pytest.raises(trio.ClosedResourceError, match="'connections' was closed while use r"):
            await pool.run(use, 100)

    async def have() -> None:
        async with pool.acquire() as connection:
            await trio.sleep(100)
            assert connection.closed_at == 2

    async with trio.open_nursery() as nursery:
        async with make(server, close_grace=2) as pool:
            nursery.start_soon(run)
            nursery.start_soon(have)
            await wait_all_tasks_blocked()
        assert trio.current_time() == 2
        assert server.open == []
        found = balanced(pool.statistics())
        assert (found.in_use, found.closed, found.left_behind) == (0, 2, 0)
    balanced(pool.statistics())


async def test_those_who_wait_are_sent_away(autojump_clock: MockClock) -> None:
    server = Server()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError, match="ConnectionPool 'connections' was clo"):
            await pool.run(use, 0)

    async with trio.open_nursery() as nursery, make(server, size=1) as pool:
        nursery.start_soon(pool.run, use, 1)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError, match="is not open"):
            await pool.run(use, 0)
        with pytest.raises(trio.ClosedResourceError, match="is not open"):
            async with pool.acquire():
                pass
        async with pool:  # it opens again, fresh
            assert await pool.run(use, 0) > 0
    assert server.open == []


async def test_openings_under_way_leave_nothing_open(autojump_clock: MockClock) -> None:
    server = Server()
    server.takes = 1
    with trio.move_on_after(0.5):
        async with make(server) as pool:
            await pool.run(use, 0)
    assert trio.current_time() == 0.5
    assert (server.made, server.open) == (0, [])
    assert balanced(pool.statistics()).failed == 1


async def test_a_close_that_hangs_or_raises_does_not_hold_it_up(autojump_clock: MockClock) -> None:
    server = Server()
    server.closing_takes = 1000

    async def burst(connection: Connection) -> None:
        connection.hang_up()
        raise OSError("burst")

    async with make(server, close_grace=2) as pool:
        await pool.run(use, 0)
    assert trio.current_time() == 2
    assert balanced(pool.statistics()).closed == 1
    async with make(server, close=burst) as other:
        await other.run(use, 0)
    assert trio.current_time() == 2
    assert balanced(other.statistics()).last_error == "close: OSError: burst"


async def test_a_hanging_close_keeps_its_place_only_for_a_while(autojump_clock: MockClock) -> None:
    server = Server()
    server.closing_takes = 1000
    async with make(server, size=1, close_grace=3) as pool:
        with pytest.raises(ValueError, match="no"):
            async with pool.acquire():
                raise ValueError("no")
        await wait_all_tasks_blocked()
        server.closing_takes = 0
        assert await pool.run(use, 0) == 2
        assert trio.current_time() == 3


# Threads


async def test_a_connection_of_a_def_factory_has_a_thread_of_its_own() -> None:
    server = Server()

    def where(connection: BlockingConnection) -> tuple[int, int | None]:
        return threading.get_ident(), connection.thread

    with server.leaves_nothing():
        async with make_blocking(server, size=2) as pool:
            for _ in range(3):
                here, opened_in = await pool.run(where)
                assert here == opened_in != threading.get_ident()
            assert await pool.run(use, 0) == 1


async def test_threads_use_it_too() -> None:
    server = Server()

    def tick() -> None:
        me = threading.get_ident()
        with pool.acquire_blocking() as connection:
            assert connection.number == 1
        assert pool.run_blocking(number_of) == 1
        assert pool.run_blocking(lambda connection: threading.get_ident()) == me
        assert pool.run_blocking(use, 0.001) == 1
        with pytest.raises(ZeroDivisionError):
            pool.run_blocking(lambda connection: 1 // 0)
        assert pool.run_blocking(number_of) == 2

    with server.leaves_nothing():
        async with make_blocking(server) as pool:
            await trio.to_thread.run_sync(tick)
            balanced(pool.statistics())
            with pytest.raises(AsyncCallInThread, match=r"use async with pool.acquire\(\)"):
                pool.acquire_blocking().__enter__()
            with pytest.raises(AsyncCallInThread, match=r"use await pool.run\(…\)"):
                pool.run_blocking(number_of)


async def test_a_thread_waits_no_longer_than_its_time() -> None:
    server = Server()
    async with make_blocking(server, size=1) as pool, pool.acquire():
        for call in (
            lambda: pool.run_blocking(number_of, timeout=0.01),
            lambda: pool.acquire_blocking(timeout=0.01).__enter__(),
        ):
            with pytest.raises(TimeoutError, match=r"acquire_blocking\(\) waited for 0.01 s"):
                await trio.to_thread.run_sync(call)
        assert balanced(pool.statistics()).waiting == 0


async def test_tasks_and_threads_of_a_closed_pool_are_told_so() -> None:
    server = Server()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            pool.run_blocking(number_of)
        except trio.ClosedResourceError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery, make_blocking(server, size=1) as pool:
        nursery.start_soon(pool.run, use, 0.05)
        await eventually(lambda: pool.statistics().in_use)
        nursery.start_soon(trio.to_thread.run_sync, wait)
        await eventually(lambda: pool.statistics().waiting)
    assert len(errors) == 1
    assert server.open == []


async def test_a_call_that_is_cancelled_is_interrupted_and_its_connection_closed() -> None:
    server = Server()
    with server.leaves_nothing():
        async with make_blocking(server, size=1, interrupt=BlockingConnection.interrupt) as pool:
            with trio.move_on_after(0.05):
                await pool.run(hang)
            assert await pool.run(number_of) == 2
            found = balanced(pool.statistics())
            assert (found.closed, found.left_behind) == (1, 0)


async def test_a_call_that_cannot_be_interrupted_is_left_behind_and_others_go_on() -> None:
    server = Server()
    held: list[BlockingConnection] = []

    def hold(connection: BlockingConnection) -> None:
        held.append(connection)
        connection.hang()

    with server.leaves_nothing():
        async with make_blocking(server, size=1, close_grace=0.5) as pool:
            for number in (1, 2, 3):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pool.run, hold)
                    while len(held) < number:  # noqa: ASYNC110 - a thread's doing
                        await trio.sleep(0.002)
                    nursery.cancel_scope.cancel()
            assert await pool.run(number_of) == 4
            assert balanced(pool.statistics()).left_behind == 3
            held[0].let_go.set()
            await eventually(lambda: pool.statistics().left_behind == 2)
            assert balanced(pool.statistics()).closed == 1
        assert balanced(pool.statistics()).left_behind == 2
        for connection in held[1:]:
            connection.let_go.set()
        await eventually(lambda: not server.open)
        await eventually(lambda: balanced(pool.statistics()).closed == 4)


@pytest.mark.parametrize("how", ["task", "thread"])
async def test_a_call_that_takes_too_long_is_interrupted(how: str) -> None:
    server = Server()
    pool = make_blocking(
        server, size=1, interrupt=BlockingConnection.interrupt, operation_timeout=0.05
    )
    with server.leaves_nothing():
        async with pool:
            calls = {
                "task": lambda: pool.run(hang),
                "thread": lambda: trio.to_thread.run_sync(pool.run_blocking, hang),
            }
            with pytest.raises(TimeoutError, match=r"hang has not ended within 0.05 s"):
                await calls[how]()
            assert await pool.run(number_of) == 2
            assert await trio.to_thread.run_sync(pool.run_blocking, number_of) == 2
            await eventually(lambda: balanced(pool.statistics()).closed == 1)


async def test_closing_interrupts_what_is_in_use() -> None:
    server = Server()

    async def run() -> None:
        with pytest.raises(trio.ClosedResourceError, match="was closed while hang ran"):
            await pool.run(hang)

    def in_thread() -> None:
        with pytest.raises(InterruptedError):
            pool.run_blocking(hang)

    with server.leaves_nothing():
        async with trio.open_nursery() as nursery:
            pool = make_blocking(server, interrupt=BlockingConnection.interrupt, close_grace=0.05)
            async with pool:
                nursery.start_soon(run)
                nursery.start_soon(trio.to_thread.run_sync, in_thread)
                await eventually(lambda: pool.statistics().in_use == 2)
    assert balanced(pool.statistics()).closed == 2


async def test_who_gives_back_after_the_end_closes_it() -> None:
    server = Server()
    let_go = threading.Event()

    def tick() -> None:
        with pool.acquire_blocking():
            let_go.wait(20)

    with server.leaves_nothing():
        async with trio.open_nursery() as nursery:
            async with make_blocking(server, close_grace=0.05) as pool:
                nursery.start_soon(trio.to_thread.run_sync, tick)
                await eventually(lambda: pool.statistics().in_use)
            assert balanced(pool.statistics()).left_behind == 1
            assert len(server.open) == 1
            async with pool:  # that is no hindrance
                assert await pool.run(number_of) == 2
            let_go.set()
        await eventually(lambda: not server.open)
    await eventually(lambda: pool.statistics().closed == 2)
    assert balanced(pool.statistics()).left_behind == 0


async def test_what_is_opened_too_late_is_closed_at_once() -> None:
    server = Server()
    server.gate.clear()
    with server.leaves_nothing():
        async with make_blocking(server, open_timeout=0.05) as pool:
            with pytest.raises(PoolUnavailable, match=r"has not returned within 0.05 s"):
                await pool.run(number_of)
            server.gate.set()
            await eventually(lambda: server.made == 1)
            await eventually(lambda: not server.open)
            await trio.sleep(0.2)
            assert await pool.run(number_of) == 2

    server.gate.clear()
    with server.leaves_nothing():
        with trio.move_on_after(0.05):
            async with make_blocking(server) as pool:
                await pool.run(number_of)
        server.gate.set()
        await eventually(lambda: server.made == 3)
    assert balanced(pool.statistics()).failed == 1


async def test_an_abandoned_tick_does_not_keep_its_connection() -> None:
    server = Server()
    fence = Fence("node")
    has_it = threading.Event()
    ended: list[str] = []

    def tick() -> None:
        current_fence.set(fence)
        try:
            with pool.acquire_blocking() as connection:
                has_it.set()
                connection.hang()
        except InterruptedError:
            ended.append("interrupted")
        with pytest.raises(TickAbandoned):
            pool.run_blocking(number_of)

    with server.leaves_nothing():
        pool = make_blocking(server, size=1, interrupt=BlockingConnection.interrupt)
        async with pool, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, tick)
            await eventually(has_it.is_set)
            fence.close()
            assert await pool.run(number_of) == 2
        assert ended == ["interrupted"]
        found = balanced(pool.statistics())
        assert (found.closed, found.left_behind) == (2, 0)


async def test_a_function_that_forgets_to_await_is_told() -> None:
    server = Server()

    def forget() -> Any:
        return server.connect()

    async with ConnectionPool[Connection](forget) as pool:
        with pytest.raises(PoolUnavailable, match="connect returned a coroutine; make it an `asyn"):
            async with pool.acquire():
                pass
    async with make(server) as other:
        with pytest.raises(ConfigurationError, match="<lambda> returned a coroutine"):
            await other.run(lambda connection: use(connection, 0))


# Given to nodes


async def test_both_kinds_of_ticks_share_it() -> None:
    server = Server()
    pool = make(server, size=1)
    seen: list[int] = []

    class InThread(Node):
        def tick(self) -> None:
            seen.append(pool.run_blocking(number_of))

    class OnLoop(AsyncNode):
        async def tick_async(self) -> None:
            async with pool.acquire() as connection:
                seen.append(connection.number)

    async with open_harness(
        InThread("a", rate=10, helpers=[pool]), OnLoop("b", rate=10, helpers=[pool])
    ) as h:
        await h.advance(1)
    assert set(seen) == {1}
    assert len(seen) >= 18
    assert server.open == []


async def test_a_tick_that_hangs_with_a_connection_hinders_nobody() -> None:
    server = Server()
    pool = make_blocking(server, size=1, interrupt=BlockingConnection.interrupt)
    ticks: list[int] = []

    class Hangs(Node):
        tick_timeout = 0.1

        def tick(self) -> None:
            with pool.acquire_blocking() as connection:
                if not ticks:
                    ticks.append(0)
                    connection.hang()
                ticks.append(connection.number)
                self.request_stop()

    scheduler = horus.Scheduler()
    scheduler.add(Hangs("hangs", rate=20, helpers=[pool], failure_policy=horus.Ignore()))
    with server.leaves_nothing():
        await scheduler.run(10)
    assert ticks[:2] == [0, 2]


# Cancelled everywhere


class Opened:
    """A pool that is open while an operation is swept."""

    def __init__(self, *, blocking: bool, **options: Any) -> None:
        self.server = Server()
        self.server.takes = 0.0 if blocking else 0.5
        connect: Any = self.server.connect_blocking if blocking else self.server.connect
        self.pool: ConnectionPool[Any] = ConnectionPool(connect, **options)

    async def __aenter__(self) -> Self:
        await self.pool.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.pool.__aexit__(None, None, None)
        assert not self.server.open

    async def have(self) -> bool:
        async with self.pool.acquire() as connection:
            await trio.lowlevel.checkpoint()
            return connection in self.server.open

    async def have_others(self) -> bool:
        """While others wait as well."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.have)
            nursery.start_soon(self.have)
            return await self.have()

    async def settled(self) -> tuple[int, int]:
        while True:
            found = balanced(self.pool.statistics())
            if not found.leaving and not found.opening:
                break
            await trio.sleep(0.01)
        return found.in_use, found.waiting


@pytest.mark.parametrize("size", [1, 3])
async def test_acquire_cancelled_everywhere(size: int, autojump_clock: MockClock) -> None:
    make = functools.partial(Opened, blocking=False, size=size, check=check)
    for operation in (Opened.have, Opened.have_others):
        sweep = await cancel_everywhere(make, operation, observe=Opened.settled)
        assert sweep.checkpoints >= 2


async def test_run_cancelled_everywhere(autojump_clock: MockClock) -> None:
    async def run(opened: Opened) -> bool:
        return await opened.pool.run(use, 1) > 0

    sweep = await cancel_everywhere(
        functools.partial(Opened, blocking=False), run, observe=Opened.settled
    )
    assert sweep.checkpoints >= 2


async def test_run_in_threads_cancelled_everywhere() -> None:
    async def run(opened: Opened) -> bool:
        return await opened.pool.run(number_of) > 0

    sweep = await cancel_everywhere(
        functools.partial(Opened, blocking=True), run, observe=Opened.settled
    )
    assert sweep.checkpoints >= 2


@pytest.mark.parametrize("blocking", [False, True])
async def test_opening_and_closing_cancelled_everywhere(blocking: bool) -> None:
    async def live(opened: Opened) -> None:
        try:
            async with opened.pool:
                await opened.pool.run(number_of)
        finally:
            assert not opened.pool.is_open

    def make() -> Opened:
        opened = Opened(blocking=blocking)
        opened.server.takes = 0
        return opened

    class Bare(list[Opened]):
        """Not entered by the sweep."""

    await cancel_everywhere(lambda: Bare([make()]), lambda bare: live(bare[0]))


# All at once


@pytest.mark.slow
async def test_nothing_is_lost_among_threads_and_tasks_that_come_go_and_fail() -> None:
    server = Server()
    over = threading.Event()
    used = [0]

    def is_good(connection: BlockingConnection) -> bool:
        return connection.number % 7 != 0

    def work(connection: BlockingConnection, number: int) -> None:
        assert connection in server.open
        used[0] += 1
        if number % 11 == 0:
            raise OSError("reset")

    def in_thread() -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                pool.run_blocking(work, number, timeout=0.001 * (number % 5))
            except OSError:  # TimeoutError is one
                continue

    async def in_task(each: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            with trio.move_on_after(0.0004 * each * (number % 7)):
                try:
                    await pool.run(work, number)
                except OSError:
                    continue
            balanced(pool.statistics())

    with server.leaves_nothing():
        async with make_blocking(
            server, size=3, check=is_good, max_age=0.05, idle_timeout=0.01
        ) as pool:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(trio.to_thread.run_sync, in_thread)
                for each in (1, 2, 3, 4):
                    nursery.start_soon(in_task, each)
                await trio.sleep(2)
                over.set()
            found = balanced(pool.statistics())
            assert (found.in_use, found.waiting) == (0, 0)
            assert used[0] > 100
    found = balanced(pool.statistics())
    assert found.opened == found.closed + found.left_behind


# Bad input


NOT_SECONDS = (0, -1, math.nan, math.inf, True, "1")
BAD: list[tuple[dict[str, Any], str]] = [
    ({"size": value}, "size=.* expected a whole number, 1 or more")
    for value in (0, -1, 1.5, math.nan, True, "4", None)
]
BAD += [
    ({what: value}, f"{what}=.* expected a finite number of seconds above 0")
    for what in (
        "max_age",
        "idle_timeout",
        "open_timeout",
        "operation_timeout",
        "backoff",
        "max_backoff",
    )
    for value in NOT_SECONDS
]
BAD += [
    ({what: value}, f"{what}=.* expected a finite number of seconds, 0 or more")
    for what in ("close_grace", "check_after")
    for value in NOT_SECONDS[1:]
]
BAD += [
    ({what: 3}, f"{what}=3, expected a function")
    for what in ("connect", "close", "check", "is_broken", "interrupt")
]
BAD += [
    ({"interrupt": check}, "interrupt is async, expected a def function"),
    ({"is_broken": check}, "is_broken is async, expected a def function"),
    ({"backoff": 3.0}, "max_backoff=2.0, expected at least backoff=3"),
    ({"name": ""}, "expected a printable, non-empty str"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ConnectionPool(**({"connect": Server().connect} | options))


@pytest.mark.parametrize("timeout", [-1, math.nan, "1"])
def test_bad_timeouts(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"timeout=.* expected a finite number of s"):
        make(Server()).acquire_blocking(timeout=timeout)
