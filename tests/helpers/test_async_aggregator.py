"""Several operations at once: all, any, a quorum, as they come, and what has come in time."""

from __future__ import annotations

import functools
import math
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from helpers.patience import eventually
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from horus_trio import AsyncCallInThread, AsyncNode, ConfigurationError, Node, TickAbandoned
from horus_trio.helpers import AsyncAggregator, OperationStatus, OperationTimedOut, QuorumFailed
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import VirtualClock, cancel_everywhere, open_harness


class Sensors:
    """Operations that take their time, and know what became of them."""

    def __init__(self) -> None:
        self.running = 0
        self.cancelled: list[str] = []

    async def read(self, name: str, seconds: float, *, fails: bool = False) -> str:
        self.running += 1
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.cancelled.append(name)
            raise
        finally:
            self.running -= 1
        if fails:
            raise ValueError(name)
        return name.upper()

    def all(self, **seconds: float) -> AsyncAggregator:
        """An aggregator of some that take so many seconds; below 0, they fail after that."""
        aggregator = AsyncAggregator(name="sensors")
        for name, after in seconds.items():
            call = functools.partial(self.read, name, abs(after), fails=after < 0)
            aggregator.add(name, call)
        return aggregator


@pytest.fixture
def sensors() -> Sensors:
    return Sensors()


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


# All


async def test_all_waits_for_the_last_one(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=2, b=-1, c=3) as aggregator:
        gathered = await aggregator.wait_all()
        assert trio.current_time() == 3.0
        assert list(gathered.results) == ["b", "a", "c"]
        assert gathered.values == {"a": "A", "c": "C"}
        assert list(gathered.errors) == ["b"]
        assert repr(gathered.errors["b"]) == "ValueError('b')"
        assert gathered.missing == ()
        assert gathered.is_complete
        assert aggregator.is_complete
        # And again: every wait is a round of its own.
        assert (await aggregator.wait_all()).values == {"a": "A", "c": "C"}
        assert trio.current_time() == 6.0


async def test_a_deadline_gives_what_has_come(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=1, b=5, c=-1, d=9) as aggregator:
        gathered = await aggregator.wait_all(within=2)
        assert trio.current_time() == 2.0
        assert gathered.values == {"a": "A"}
        assert list(gathered.errors) == ["c"]
        assert gathered.missing == ("b", "d")
        assert not gathered.is_complete
        assert not aggregator.is_complete
        assert aggregator.is_over
        await wait_all_tasks_blocked()
        assert sorted(sensors.cancelled) == ["b", "d"]
        assert sensors.running == 0


async def test_def_operations_are_left_behind(hang: threading.Event) -> None:
    async with AsyncAggregator() as aggregator:
        aggregator.add("hung", hang.wait, 20.0)
        aggregator.add("quick", lambda: 3)
        for _ in range(3):
            gathered = await aggregator.wait_all(within=0.2)
            assert gathered.values == {"quick": 3}
            assert gathered.missing == ("hung",)


async def test_an_operation_has_a_timeout_of_its_own(
    autojump_clock: MockClock, sensors: Sensors
) -> None:
    async with AsyncAggregator(operation_timeout=2) as aggregator:
        aggregator.add("a", sensors.read, "a", 5.0)
        aggregator.add("b", sensors.read, "b", 5.0, operation_timeout=1)
        aggregator.add("c", sensors.read, "c", 5.0, operation_timeout=math.inf)
        gathered = await aggregator.wait_all()
        assert list(gathered.results) == ["b", "a", "c"]
        assert isinstance(gathered.errors["a"], OperationTimedOut)
        assert gathered.results["b"].status is OperationStatus.TIMED_OUT
        assert gathered.values == {"c": "C"}


# Any, and a quorum


async def test_any_is_the_first_success(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=3, b=-1, c=2) as aggregator:
        result = await aggregator.wait_any()
        assert (result.id, result.value, trio.current_time()) == ("c", "C", 2.0)
        await wait_all_tasks_blocked()
        assert sensors.cancelled == ["a"]


async def test_any_fails_when_all_have(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=-1, b=-2) as aggregator:
        with pytest.raises(QuorumFailed) as caught:
            await aggregator.wait_any()
        assert str(caught.value) == (
            "AsyncAggregator 'sensors': 0 of 2 operations have succeeded, 1 were needed; "
            "'a' raised ValueError('a'); 'b' raised ValueError('b')"
        )


async def test_a_quorum_is_enough(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=3, b=-1, c=2, d=9) as aggregator:
        gathered = await aggregator.wait_first(2)
        assert trio.current_time() == 3.0
        assert gathered.values == {"c": "C", "a": "A"}
        assert gathered.missing == ("d",)


async def test_one_that_cannot_be_reached_ends_at_once(
    autojump_clock: MockClock, sensors: Sensors
) -> None:
    async with sensors.all(a=-1, b=-2, c=30, d=1) as aggregator:
        with pytest.raises(QuorumFailed, match="1 of 4 operations have succeeded, 3 were needed"):
            await aggregator.wait_first(3)
        assert trio.current_time() == 2.0
        with pytest.raises(QuorumFailed) as caught:
            await aggregator.wait_first(5)
        assert trio.current_time() == 2.0
        assert caught.value.gathered.results == {}
        assert caught.value.needed == 5


async def test_one_that_is_not_reached_in_time_says_what_came(
    autojump_clock: MockClock, sensors: Sensors
) -> None:
    async with sensors.all(a=1, b=9) as aggregator:
        with pytest.raises(QuorumFailed, match="unfinished when 2 s were over: 'b'") as caught:
            await aggregator.wait_first(2, within=2)
        assert caught.value.gathered.values == {"a": "A"}
        assert caught.value.gathered.missing == ("b",)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.needed) == (str(caught.value), 2)


# As they come


async def test_as_they_come(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=3, b=1, c=-2) as aggregator:
        came = []
        async with aggregator.as_completed() as results:
            async for result in results:
                came.append((result.id, result.success, trio.current_time()))
        assert came == [("b", True, 1.0), ("c", False, 2.0), ("a", True, 3.0)]


async def test_as_they_come_until_the_deadline(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=3, b=1, c=9) as aggregator:
        async with aggregator.as_completed(within=4) as results:
            assert [result.id async for result in results] == ["b", "a"]
        assert trio.current_time() == 4.0


async def test_leaving_the_block_cancels_the_rest(
    autojump_clock: MockClock, sensors: Sensors
) -> None:
    async with sensors.all(a=3, b=1) as aggregator:
        async with aggregator.as_completed() as results:
            async for result in results:
                assert result.id == "b"
                break
        await wait_all_tasks_blocked()
        assert (sensors.cancelled, trio.current_time()) == (["a"], 1.0)


# Cancelled


@pytest.mark.parametrize("wait", ["wait_all", "wait_any", "wait_first", "as_completed"])
async def test_cancelling_the_wait_cancels_the_operations(
    wait: str, autojump_clock: MockClock, sensors: Sensors
) -> None:
    async with sensors.all(a=5, b=6) as aggregator:
        with trio.move_on_after(1):
            if wait == "as_completed":
                async with aggregator.as_completed() as results:
                    async for _ in results:
                        pass
            else:
                await getattr(aggregator, wait)(*([1] if wait == "wait_first" else []))
        await wait_all_tasks_blocked()
        assert sensors.running == 0
        assert sorted(sensors.cancelled) == ["a", "b"]
        assert aggregator.is_over


async def test_cancel_gives_who_waits_what_has_come(
    autojump_clock: MockClock, sensors: Sensors
) -> None:
    async def cancel() -> None:
        await trio.sleep(2)
        assert aggregator.cancel()
        assert not aggregator.cancel()

    async with sensors.all(a=1, b=9) as aggregator:
        assert not aggregator.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            gathered = await aggregator.wait_all()
        assert (gathered.values, gathered.missing) == ({"a": "A"}, ("b",))


@pytest.mark.parametrize("wait", ["wait_all", "wait_any", "wait_first", "as_completed"])
async def test_cancelled_everywhere(wait: str) -> None:
    sensors = Sensors()

    async def use(aggregator: AsyncAggregator) -> object:
        try:
            if wait == "as_completed":
                async with aggregator.as_completed() as results:
                    return [result.value async for result in results]
            count = (2,) if wait == "wait_first" else ()
            result = await getattr(aggregator, wait)(*count)
            return result.value if wait == "wait_any" else result.values
        finally:
            assert aggregator.is_over or aggregator._round is None
            with trio.CancelScope(shield=True):
                while sensors.running:
                    await trio.lowlevel.checkpoint()

    sweep = await cancel_everywhere(lambda: sensors.all(a=0.01, b=0.1), use)
    assert sweep.checkpoints >= 1, sweep


# Starting and polling


async def test_start_and_poll(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=1, b=-2) as aggregator:
        assert (aggregator.is_complete, aggregator.is_over) == (False, False)
        assert aggregator.results() == {}
        aggregator.start()
        with pytest.raises(trio.BusyResourceError, match="a round is under way; wait for it"):
            aggregator.start()
        await trio.sleep(1.5)
        assert not aggregator.is_complete
        assert list(aggregator.results()) == ["a"]
        assert repr(aggregator) == "<AsyncAggregator 'sensors', open, 1 of 2 ended>"
        await trio.sleep(1)
        assert aggregator.is_complete
        assert aggregator.is_over
        assert list(aggregator.results()) == ["a", "b"]
        assert repr(aggregator) == "<AsyncAggregator 'sensors', open, 2 of 2 ended and over>"
        aggregator.start(within=0.5)
        await trio.sleep(1)
        assert (aggregator.is_complete, aggregator.is_over) == (False, True)
        assert aggregator.results() == {}


async def test_a_wait_is_for_the_round_that_was_started(
    autojump_clock: MockClock, sensors: Sensors
) -> None:
    async with sensors.all(a=2) as aggregator:
        aggregator.start()
        await trio.sleep(1)
        assert (await aggregator.wait_all()).values == {"a": "A"}
        assert trio.current_time() == 2.0
        aggregator.start()
        await trio.sleep(5)
        assert (await aggregator.wait_any()).value == "A"
        assert trio.current_time() == 7.0  # it was over already
        assert (await aggregator.wait_any(within=5)).value == "A"
        assert trio.current_time() == 9.0  # and that was another one


async def test_one_waits_at_a_time(autojump_clock: MockClock, sensors: Sensors) -> None:
    async with sensors.all(a=2) as aggregator, trio.open_nursery() as nursery:
        nursery.start_soon(aggregator.wait_all)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="somebody else waits for the round"):
            await aggregator.wait_any()


async def test_nothing_to_run_is_said_and_never_complete() -> None:
    async with AsyncAggregator() as aggregator:
        assert not aggregator.is_complete
        with pytest.raises(ConfigurationError, match="has no operations; expected some, by add"):
            await aggregator.wait_all()
        with pytest.raises(ConfigurationError):
            aggregator.start()
        assert not aggregator.is_complete


async def test_what_is_added_takes_part_from_the_next_round_on(
    autojump_clock: MockClock, sensors: Sensors
) -> None:
    async with sensors.all(a=1) as aggregator:
        aggregator.start()
        aggregator.add("b", sensors.read, "b", 1.0)
        with pytest.raises(ConfigurationError, match="has an operation 'b' already"):
            aggregator.add("b", sensors.read, "b", 1.0)
        assert list((await aggregator.wait_all()).results) == ["a"]
        assert sorted((await aggregator.wait_all()).results) == ["a", "b"]
        assert aggregator.remove("a")
        assert not aggregator.remove("a")
        assert list((await aggregator.wait_all()).results) == ["b"]


# Threads and ticks


async def test_in_threads(hang: threading.Event) -> None:
    def fail() -> None:
        raise ValueError("bad")

    async def soon() -> str:
        await trio.sleep(0.01)
        return "soon"

    def in_thread(aggregator: AsyncAggregator) -> None:
        assert aggregator.wait_any_blocking().value == 4
        gathered = aggregator.wait_first_blocking(2, within=20)
        assert gathered.values == {"four": 4, "soon": "soon"}
        gathered = aggregator.wait_all_blocking(within=0.2)
        assert set(gathered.results) == {"four", "fail", "soon"}
        assert gathered.missing == ("hung",)
        with pytest.raises(
            QuorumFailed, match=r"\d of 4 .*, 4 were needed; 'fail' raised ValueErr"
        ):
            aggregator.wait_first_blocking(4)
        with aggregator.as_completed_blocking(within=0.2) as results:
            assert {result.id for result in results} == {"four", "fail", "soon"}
        with aggregator.as_completed_blocking() as results:
            next(results)
        assert aggregator.is_over

    async with AsyncAggregator() as aggregator:
        aggregator.add("four", lambda: 4)
        aggregator.add("fail", fail)
        aggregator.add("soon", soon)
        aggregator.add("hung", hang.wait, 20.0)
        await trio.to_thread.run_sync(in_thread, aggregator)
        with pytest.raises(AsyncCallInThread, match=r"in async code use await aggregator.wait_all"):
            aggregator.wait_all_blocking()
        assert aggregator.is_over


async def test_an_abandoned_tick_is_woken_and_its_operations_are_cancelled(
    sensors: Sensors,
) -> None:
    fence = Fence("node")

    def in_tick() -> None:
        current_fence.set(fence)
        with pytest.raises(TickAbandoned):
            aggregator.wait_all_blocking()
        for call in (
            aggregator.wait_any_blocking,
            aggregator.start,
            aggregator.cancel,
            aggregator.results,
        ):
            with pytest.raises(TickAbandoned):
                call()

    async with sensors.all(a=1000) as aggregator, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, in_tick)
        await eventually(lambda: sensors.running)
        fence.close()
        await eventually(lambda: not sensors.running)
        assert aggregator.is_over


class Fusion(AsyncNode):
    def __init__(self, aggregator: AsyncAggregator) -> None:
        self.aggregator = aggregator
        self.fused: list[int] = []
        super().__init__("fusion", rate=10, helpers=[aggregator])

    async def tick_async(self) -> None:
        self.fused.append(len((await self.aggregator.wait_all(within=0.05)).values))


async def test_in_an_async_node(sensors: Sensors) -> None:
    fusion = Fusion(sensors.all(a=0.01, b=0.02, c=0.06))
    async with open_harness(fusion) as h:
        await h.advance(0.95)
        assert h.scheduler.statistics().nodes["fusion"].errors == 0
    assert fusion.fused[:9] == [2] * 9
    assert sensors.running == 0


async def test_in_a_def_tick(sensors: Sensors) -> None:
    aggregator = sensors.all(a=0.01, b=0.25)
    seen: list[tuple[str, ...]] = []

    def tick(node: Node) -> None:
        if aggregator.is_over:
            seen.append(tuple(aggregator.results()))
        if aggregator.is_over or not seen:
            aggregator.cancel()
            aggregator.start(within=0.15)

    async with open_harness(Node("node", tick=tick, rate=5, helpers=[aggregator])) as h:
        await h.advance(0.95)
    assert seen
    assert set(seen) == {("a",)}


# Opening and closing


async def test_before_and_after(sensors: Sensors, autojump_clock: MockClock) -> None:
    aggregator = sensors.all(a=1)
    for _ in range(2):
        with pytest.raises(
            trio.ClosedResourceError, match=r"is not open: use `async with`, or give"
        ):
            aggregator.start()
        with pytest.raises(trio.ClosedResourceError):
            await aggregator.wait_all()
        async with aggregator:
            assert not aggregator.is_complete
            assert (await aggregator.wait_all()).is_complete
    assert repr(aggregator) == "<AsyncAggregator 'sensors', closed, 1 of 1 ended and over>"


async def test_closing_answers_who_waits(sensors: Sensors, autojump_clock: MockClock) -> None:
    answers: list[object] = []

    async def wait() -> None:
        gathered = await aggregator.wait_all()
        answers.append((gathered.values, gathered.missing))

    aggregator = sensors.all(a=1, b=100)
    async with trio.open_nursery() as nursery, aggregator:
        nursery.start_soon(wait)
        await trio.sleep(2)
    assert answers == [({"a": "A"}, ("b",))]
    assert sensors.cancelled == ["b"]
    assert trio.current_time() == 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers=0, expected a whole number, 1 or more"),
        ({"operation_timeout": math.nan}, "operation_timeout=nan"),
        ({"max_abandoned": -1}, "max_abandoned=-1"),
        ({"name": None}, "expected a printable, non-empty str"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AsyncAggregator(**options)
    assert message in str(caught.value)


async def test_bad_arguments(sensors: Sensors) -> None:
    async with sensors.all(a=1) as aggregator:
        with pytest.raises(ConfigurationError, match="expected a printable, non-empty str"):
            aggregator.add("", str)
        with pytest.raises(ConfigurationError, match="3 cannot be called"):
            aggregator.add("b", 3)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="operation_timeout=0"):
            aggregator.add("b", str, operation_timeout=0)
        for within in (0, -1, math.nan, math.inf, "1", True):
            with pytest.raises(ConfigurationError, match="within="):
                await aggregator.wait_all(within=within)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="within="):
                aggregator.start(within=within)  # type: ignore[arg-type]
        for count in (0, -1, 1.5, True):
            with pytest.raises(ConfigurationError, match="count="):
                await aggregator.wait_first(count)  # type: ignore[arg-type]
        assert aggregator.results() == {}


# Laws, against a model

PLANS = st.lists(
    st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=6, unique_by=lambda p: p[0]
)
"""Operations: when each ends, and whether it succeeds; no two at one instant."""


@settings(max_examples=60)
@given(
    plan=PLANS,
    how=st.sampled_from(["all", "first", "each"]),
    count=st.integers(1, 7),
    within=st.none() | st.integers(0, 21).map(lambda n: n + 0.5),
    cancel=st.none() | st.integers(0, 21).map(lambda n: n + 0.25),
)
def test_what_comes_is_what_a_model_says(
    plan: list[tuple[int, bool]], how: str, count: int, within: float | None, cancel: float | None
) -> None:
    names = {f"op{number}": fate for number, fate in enumerate(plan)}

    # The model: walk through the ends in their order, until the goal, the deadline or the cancel.
    limit = min(within or math.inf, cancel or math.inf)
    came: list[str] = []
    successes, open_, ended_at = 0, len(plan), 0.0
    for name, (at, good) in sorted(names.items(), key=lambda item: item[1][0]):
        if how == "first" and (successes >= count or successes + open_ < count):
            break
        if at > limit:
            ended_at = limit
            break
        came.append(name)
        ended_at = at
        open_ -= 1
        successes += good
    cancelled = cancel is not None and ended_at == cancel

    async def main() -> None:
        sensors = Sensors()
        begin = trio.current_time()
        async with sensors.all(**{n: at if ok else -at for n, (at, ok) in names.items()}) as them:
            with trio.CancelScope(deadline=math.inf if cancel is None else begin + cancel) as scope:
                seen: list[str] = []
                if how == "each":
                    async with them.as_completed(within=within) as results:
                        async for result in results:
                            seen.append(result.id)
                elif how == "all":
                    seen = list((await them.wait_all(within=within)).results)
                else:
                    try:
                        gathered = await them.wait_first(count, within=within)
                    except QuorumFailed as error:
                        gathered = error.gathered
                        assert successes < count
                    else:
                        assert successes >= count
                    seen = list(gathered.results)
                    assert set(seen) | set(gathered.missing) == set(names)
                assert seen == came
            assert scope.cancelled_caught == cancelled
            assert trio.current_time() - begin == pytest.approx(ended_at)
            await wait_all_tasks_blocked()
            assert sensors.running == 0
            if ended_at > 0:  # or none has begun
                assert sorted([*came, *sensors.cancelled]) == sorted(names)
            assert them.is_over
            assert them.is_complete == (len(came) == len(names))

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_virtual_time_of_the_harness_serves_too() -> None:
    async def main() -> None:
        async with Sensors().all(a=5) as aggregator:
            with pytest.raises(QuorumFailed):
                await aggregator.wait_any(within=1)

    async def drive(clock: VirtualClock) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(main)
            await clock.advance(3)

    clock = VirtualClock()
    trio.run(drive, clock, clock=clock, instruments=[clock])
