"""When a poller asks: the grid alone, what servers write into ``Retry-After``, and over HTTP."""

from __future__ import annotations

import datetime

import pytest
import trio
import trio.testing
from drivers.http_peers import Question, Stream, answer, in_turn, open_web_server
from drivers.steps import raises_soon
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from horus_trio.drivers import HttpPoller, HttpReading, ReceiveFailed
from horus_trio.drivers.http.grid import Grid, retry_after
from horus_trio.helpers import RateLimiter

NOW = datetime.datetime(2026, 10, 21, 7, 28, tzinfo=datetime.UTC)


def test_instants_are_multiples() -> None:
    grid = Grid(0.1)
    grid.begin(1000.0)
    dues = []
    for _ in range(1000):
        dues.append(grid.due)
        grid.asked(grid.due + 0.03)
    assert dues == [1000.0 + number * 0.1 for number in range(1000)]
    assert grid.coalesced == 0


def test_those_that_were_missed_are_left_out() -> None:
    grid = Grid(1.0)
    grid.begin(0.0)
    grid.asked(0.2)
    assert grid.due == 1.0
    grid.asked(3.5)
    assert (grid.due, grid.coalesced) == (4.0, 2)
    grid.asked(5.0)  # at an instant: that one is over
    assert (grid.due, grid.coalesced) == (6.0, 3)
    grid.begin(7.25)
    grid.asked(7.3)
    assert grid.due == 8.25


def test_rounding_repeats_no_instant() -> None:
    every, epoch, number = 0.1, 25506.90257394217, 99741
    now = epoch + number * every
    assert (now - epoch) / every < number  # it looks as if that instant were still to come
    grid = Grid(every)
    grid.begin(epoch)
    grid.asked(now)
    assert grid.due == epoch + (number + 1) * every


def test_a_wait_that_is_wanted_ends_on_the_grid_and_is_not_one_of_those() -> None:
    grid = Grid(2.0)
    grid.begin(0.0)
    grid.asked(0.5, not_before=7.5)
    assert (grid.due, grid.coalesced) == (8.0, 0)
    grid.asked(8.5, not_before=10.0)
    assert grid.due == 10.0
    grid.asked(10.5, not_before=11.0)
    assert grid.due == 12.0


def test_without_a_period_it_is_at_once() -> None:
    grid = Grid(0.0)
    grid.begin(5.0)
    grid.asked(6.0)
    assert grid.due == 6.0
    grid.asked(7.0, not_before=9.0)
    assert grid.due == 9.0
    assert grid.coalesced == 0


@given(
    every=st.floats(1e-3, 1e4),
    epoch=st.floats(0, 1e7),
    steps=st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), max_size=30),
)
def test_the_next_instant_is_later_and_not_too_much(
    every: float, epoch: float, steps: list[tuple[float, float]]
) -> None:
    grid = Grid(every)
    grid.begin(epoch)
    now = epoch
    for late, wait in steps:
        now = max(now, grid.due) + late
        grid.asked(now, not_before=now + wait)
        assert grid.due > now
        assert grid.due >= now + wait
        assert grid.due - (now + wait) <= every * (1 + 1e-6) + 1e-6


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, None, 0.0),
        ("", None, 0.0),
        ("120", None, 120.0),
        ("-5", None, 0.0),
        ("1.5", None, 0.0),
        ("٣", None, 0.0),
        ("9" * 400, None, float("inf")),
        ("Wed, 21 Oct 2026 07:28:30 GMT", None, 30.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:20 GMT", 10.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "nonsense", 30.0),
        ("Wednesday, 21-Oct-26 07:28:30 GMT", None, 30.0),
        ("Wed Oct 21 07:28:30 2026", None, 30.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None, 0.0),
        ("Wed, 32 Oct 2026 07:28:30 GMT", None, 0.0),
        ("Wed, 21 Oct 2026 07:28:30 +9999", None, 0.0),
        ("soon", None, 0.0),
    ],
)
def test_retry_after(value: str | None, date: str | None, seconds: float) -> None:
    assert retry_after(value, date, NOW) == seconds


# Over HTTP, on a clock that the test moves


class Pace:
    """Notes when it is asked, on a clock that a test moves; what is asked may take a while."""

    def __init__(self, clock: MockClock) -> None:
        self.clock = clock
        self.takes: list[float] = []

    async def __call__(self, question: Question, stream: Stream) -> bytes | None:
        if self.takes:
            self.clock.jump(self.takes.pop(0))
        return answer(200, b"x")


async def test_polls_are_on_a_grid(mock_clock: MockClock) -> None:
    pace = Pace(mock_clock)
    mock_clock.jump(0.5)
    began = trio.current_time()
    async with open_web_server(pace) as server, HttpPoller(server.url, every=2) as poller:
        times: list[float] = []

        async def receive(count: int) -> None:
            for _ in range(count):
                await poller.receive()

        async def see(*seconds: float) -> None:
            """Let a poll come that waits, after these jumps of the clock."""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, 1)
                for jump in seconds:
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    mock_clock.jump(jump)
            times.append(server.questions[-1].at - began)

        await see()  # the answer that open() got
        await see(1.0, 1.0)
        pace.takes = [0.7]  # a slow answer delays no other
        await see(2.0)
        await see(1.3)
        pace.takes = [5.0]  # a very slow one leaves others out
        await see(2.0)
        await see(1.0)
        mock_clock.jump(3.5)  # whoever receives is late: it is asked at once, and then as before
        await see()
        await see(0.5)
        assert times == [0.0, 2.0, 4.0, 6.0, 8.0, 14.0, 17.5, 18.0]
        assert poller.counts.coalesced == 2


async def test_a_limiter_is_shared(mock_clock: MockClock) -> None:
    """Two pollers that would ask at once; what they wait for it is not the server's time."""
    limiter = RateLimiter(1 / 20, burst=1)
    async with open_web_server(Pace(mock_clock)) as server, trio.open_nursery() as nursery:
        pollers = [
            HttpPoller(server.url, every=0, limiter=limiter, answer_within=1) for _ in range(2)
        ]
        readings: list[HttpReading] = []

        async def poll(poller: HttpPoller) -> None:
            async with poller:
                while True:
                    readings.append(await poller.receive())

        for poller in pollers:
            nursery.start_soon(poll, poller)
        for number in range(1, 7):
            while len(readings) < number or limiter.statistics().waiting < 2:
                await trio.testing.wait_all_tasks_blocked(0.005)
            assert len(server.questions) == number
            mock_clock.jump(20)
        times = [question.at for question in server.questions]
        assert [later - times[0] for later in times] == [20.0 * n for n in range(len(times))]
        assert {reading.elapsed for reading in readings} == {0.0}
        assert min(poller.statistics().received for poller in pollers) >= 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "7"}, 7.0),
        (503, {"Retry-After": "6.5"}, 2.0),  # no such thing: as if it said nothing
        (503, {"Retry-After": "0"}, 2.0),
        (503, {"Retry-After": "99999999"}, 600.0),
        (500, {"Retry-After": "7"}, 2.0),  # it has no meaning there
        (
            503,
            {
                "Retry-After": "Wed, 21 Oct 2026 07:28:08 GMT",
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            8.0,
        ),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 2.0),
        (429, {"Retry-After": "soon"}, 2.0),
        (429, {"Retry-After": "Wed, 99 Foo 2026 07:28:08 GMT"}, 2.0),
    ],
)
async def test_a_server_that_wants_to_be_left_alone_is(
    mock_clock: MockClock, status: int, headers: dict[str, str], seconds: float
) -> None:
    said = answer(status, b"", **headers)
    answers = in_turn([said, answer(200, b"again")])
    async with open_web_server(answers) as server, HttpPoller(server.url, every=2) as poller:
        error = await raises_soon(ReceiveFailed, poller.receive)
        assert f"answers {status}" in str(error)
        assert ("left alone" in str(error)) == (seconds != 2.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            grid = -(-seconds // 2) * 2
            mock_clock.jump(grid - 0.001)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(server.questions) == 1
            mock_clock.jump(0.001)
        assert server.questions[1].at - server.questions[0].at == pytest.approx(grid)
