"""Mistakes: of the test, and of nodes that would hang it. Each ends, and says what to do."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import Any

import pytest
import trio
import trio.lowlevel

import horus_trio as horus
from horus_trio.testing import Faults, HarnessError, open_harness


class Beats(horus.AsyncNode):
    async def tick_async(self) -> None:
        self.send("beats", self.now)


class Waits(horus.AsyncNode):
    async def tick_async(self) -> Any:
        return await self.recv_async("in")


# Of the test


@pytest.mark.parametrize("seconds", [-1, -0.001, math.inf, math.nan, "1", None, True])
async def test_time_does_not_go_backwards(seconds: float) -> None:
    async with open_harness(Beats("a")) as h:
        with pytest.raises(horus.ConfigurationError, match=r"0 or more; time does not go backward"):
            await h.advance(seconds)
        await h.advance(0)


@pytest.mark.parametrize("count", [0, -1, 1.5, "3", None, True])
async def test_a_number_of_ticks_is_a_number(count: int) -> None:
    async with open_harness(Beats("a")) as h:
        with pytest.raises(horus.ConfigurationError, match="expected a whole number, 1 or more"):
            await h.tick(count)


async def test_ticking_a_stopped_robot() -> None:
    async with open_harness(Beats("a")) as h:
        await h.stop()
        stopped = "the robot has stopped: the test stopped it; open another harness"
        for call in (h.tick, h.settle, lambda: h.advance(1), h.stop):
            with pytest.raises(HarnessError, match=stopped):
                await call()
        with pytest.raises(HarnessError, match=stopped):
            h.publish("x", 1)


async def test_ticking_a_node_that_has_failed_for_good() -> None:
    failing = Beats("bad", failure_policy=horus.Restart(max_restarts=0))
    async with open_harness(failing, Beats("good")) as h:
        h.fail("tick", ValueError("x"), node="bad")
        await h.tick(node="bad")
        assert h.state("bad") is horus.NodeState.FAILED
        with pytest.raises(
            HarnessError, match=r"'bad' has stopped: it failed for good with ValueError\('x'\)"
        ):
            await h.tick(node="bad")
        await h.tick(node="good")


async def test_a_node_that_fails_while_a_tick_waits_for_it() -> None:
    class Fails(Beats):
        failure_policy = horus.Restart(max_restarts=1, jitter=0)

        async def init(self) -> None:
            if self.current_tick is not None:
                raise OSError("gone for good")

    async with open_harness(Fails("bad"), Beats("good")) as h:
        h.fail("tick", ValueError("x"), node="bad", at=1)
        await h.tick(node="bad")
        with pytest.raises(HarnessError, match="'bad' has stopped: it failed for good"):
            await h.tick(node="bad")
        assert h.now < 1


async def test_ticking_a_paused_node() -> None:
    async with open_harness(Beats("a")) as h:
        h.scheduler.pause("a")
        with pytest.raises(HarnessError, match=r"is paused; h\.scheduler\.resume\('a'\) first"):
            await h.tick()


async def test_ticking_a_node_that_is_not_there() -> None:
    async with open_harness(Beats("camera"), Beats("control")) as h:
        with pytest.raises(horus.UnknownNode, match="did you mean 'camera'"):
            await h.tick(node="camra")
        with pytest.raises(horus.UnknownNode):
            await h.tick(node=Beats("stranger"))
        with pytest.raises(HarnessError, match="2 nodes; name one of 'camera', 'control'"):
            h.state()
        assert h.node("camera") is h.node(h.node("camera").name)


async def test_a_harness_without_nodes() -> None:
    async with open_harness() as h:
        await h.advance(1)
        with pytest.raises(HarnessError, match="there is no node"):
            await h.tick()


async def test_publishing_to_an_undeclared_topic_in_strict_mode() -> None:
    node = Waits("a", subs="in", pubs="out", on="trigger")
    async with open_harness(node, strict=True) as h:
        h.publish("in", 1)
        h.publish("trigger", 2)
        with pytest.raises(horus.UnknownTopic, match=r"read topic 'inn'; did you mean 'in'\?"):
            h.publish("inn", 1)
        assert h.sent("out") == []
        with pytest.raises(horus.UnknownTopic, match=r"write topic 'in'; there are 'out'|did you"):
            h.sent("in")
        await h.settle()
    async with open_harness(Waits("a")) as h:
        assert h.publish("anything", 1) == 0
        assert h.sent("anything") == []


async def test_what_is_published_before_anybody_listens_is_kept_for_the_first() -> None:
    async with open_harness(Waits("a")) as h:
        assert [h.publish("in", n) for n in range(3)] == [0, 0, 0]
        assert [r.value for r in await h.tick(3)] == [0, 1, 2]
        assert h.publish("in", 3) == 1
        assert [r.value for r in await h.tick()] == [3]
        (reader,) = h.topic("in").statistics().subscriptions
        assert (reader.published, reader.received, reader.dropped, reader.depth) == (4, 4, 0, 0)
        assert h.topic("in").statistics().sent == 4
        assert h.topic("in").subscribe().drain() == []


async def test_two_calls_at_once() -> None:
    release = threading.Event()
    node = horus.Node("slow", tick=lambda node: release.wait(10))  # holds time up
    async with open_harness(node) as h, trio.open_nursery() as nursery:
        nursery.start_soon(h.tick)
        while not h.node_statistics().in_flight:
            await trio.lowlevel.checkpoint()
        for call in (lambda: h.advance(1), h.tick, h.settle):
            with pytest.raises(HarnessError, match="await its calls one after the other"):
                await call()
        release.set()


@pytest.mark.parametrize("call", ["advance", "tick", "settle", "stop", "advance_until"])
async def test_a_forgotten_await(call: str) -> None:
    arguments: tuple[Any, ...] = {"advance": (2.5,), "advance_until": (bool,)}.get(call, ())
    with pytest.raises(HarnessError) as caught:
        async with open_harness(Beats("a")) as h:
            getattr(h, call)(*arguments)
    text = str(caught.value)
    assert f"h.{call}(" in text
    assert "test_harness_misuse.py:" in text
    assert f"was never awaited; write `await h.{call}(" in text


async def test_after_the_block_nothing_can_be_done() -> None:
    async with open_harness(Beats("a")) as h:
        pass
    with pytest.raises(HarnessError, match="the harness is closed; call it inside `async with`"):
        await h.tick()
    assert h.report is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": "x"}, "seed='x': expected a whole number"),
        ({"seed": True}, "seed=True: expected a whole number"),
        ({"real_limit": 0}, "real_limit=0: expected a finite number of seconds above 0"),
        ({"real_limit": math.inf}, "expected a finite number of seconds above 0"),
        ({"history": 0}, "history=0: expected a whole number, 1 or more"),
        ({"rat": 5}, "no option 'rat'; did you mean 'rate'"),
        ({"rate": -5}, "rate=-5"),
        ({"tick_rate": 0}, "tick_rate=0"),
    ],
)
async def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    node = Beats("a")
    with pytest.raises(horus.ConfigurationError, match=message):
        async with open_harness(node, **arguments):
            pass
    async with open_harness(node):  # it is free again
        pass


async def test_a_scheduler_is_taken_alone() -> None:
    scheduler = horus.Scheduler().add(Beats("a"))
    for nodes, options in (((scheduler, Beats("b")), {}), ((scheduler,), {"rate": 5})):
        with pytest.raises(horus.ConfigurationError, match="one Scheduler and nothing else"):
            async with open_harness(*nodes, **options):  # type: ignore[arg-type]
                pass


async def test_what_is_no_node() -> None:
    with pytest.raises(horus.NodeError, match=r"expected a horus_trio\.Node"):
        async with open_harness(3):  # type: ignore[arg-type]
            pass


# Of nodes


async def test_a_tick_that_waits_for_what_never_comes() -> None:
    async with open_harness(Waits("a")) as h:
        with pytest.raises(HarnessError, match="is waiting for topic 'in'; publish what it waits"):
            await h.tick(within=5)
        h.publish("in", 3)
        await h.settle()
        assert h.results[0].value == 3


async def test_a_tick_that_hangs_elsewhere() -> None:
    class Hangs(horus.AsyncNode):
        async def tick_async(self) -> None:
            await trio.sleep_forever()  # here

    async with open_harness(Hangs("a")) as h:
        with pytest.raises(HarnessError, match=r"in tick_async: await trio.sleep_forever\(\)  # h"):
            await h.tick()


async def test_a_failure_that_ends_the_run_is_raised_by_the_call_that_sees_it() -> None:
    async with open_harness(Beats("a", failure_policy=horus.Fatal()), Beats("b")) as h:
        h.fail("tick", ValueError("x"), at=2, node="a")
        with pytest.raises(horus.RunFailed) as caught:
            await h.tick(3)
        assert [repr(e) for e in caught.value.exceptions] == ["ValueError('x')"]
        assert h.report is caught.value.report
        assert h.report.failed[0].node == "a"


async def test_a_failure_nobody_has_seen_is_raised_on_leaving() -> None:
    class Fails(horus.AsyncNode):
        async def shutdown(self) -> None:
            pass

        async def tick_async(self) -> None:
            raise ValueError("unseen")

    with pytest.raises(horus.RunFailed) as caught:
        async with open_harness(Fails("a", on="go", failure_policy=horus.Fatal())) as h:
            h.publish("go", 1)
    assert repr(caught.value.exceptions[0]) == "ValueError('unseen')"
    assert caught.value.__notes__


async def test_a_robot_that_cannot_start() -> None:
    faults = Faults()
    faults.fail("init", OSError("no device"))

    class Opens(Beats):
        async def init(self) -> None:
            pass

    with pytest.raises(horus.RunFailed):
        async with open_harness(Opens("a", failure_policy=horus.Fatal()), faults=faults) as h:
            await h.advance(1)


async def test_the_tests_own_error_comes_out_as_it_is() -> None:
    error = ZeroDivisionError("the test's own")

    async def test() -> None:
        async with open_harness(Beats("a", failure_policy=horus.Fatal(), on="go")) as h:
            h.fail("tick", ValueError)
            h.publish("go", 1)
            raise error

    with pytest.raises(ZeroDivisionError) as caught:
        await test()
    assert caught.value is error


@pytest.mark.parametrize("outcome", [pytest.skip, pytest.fail, pytest.xfail])
async def test_pytests_own_outcomes_come_out_as_they_are(outcome: Any) -> None:
    with pytest.raises(outcome.Exception):
        async with open_harness(Beats("a")):
            outcome("said so")


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    "kind", ["shields", "swallows", "spins", "swallows all", "swallows shielded"]
)
async def test_a_node_that_never_stops_fails_the_test_and_is_named(kind: str) -> None:
    class Endless(horus.AsyncNode):
        async def tick_async(self) -> None:
            if kind == "shields":
                with trio.CancelScope(shield=True):
                    await trio.sleep_forever()
            while kind == "swallows":
                with contextlib.suppress(trio.Cancelled):
                    await trio.sleep(1)
            while kind == "spins":
                await trio.lowlevel.checkpoint()
            while kind == "swallows all":
                with contextlib.suppress(BaseException):
                    await trio.sleep(1)
            while kind == "swallows shielded":
                with contextlib.suppress(BaseException), trio.CancelScope(shield=True):
                    await trio.sleep(1)

    with pytest.raises(HarnessError) as caught:
        async with open_harness(Endless("endless", rate=1), Beats("good")) as h:
            await h.advance(1)
    text = str(caught.value)
    if kind == "spins":
        assert "runs again and again at 0 s and never lets time pass" in text
    else:
        assert text.startswith("node 'endless' does not stop: it is")
        assert "let Cancelled through, and bound every shield" in text
    assert "test_harness_misuse.py:" in text
    assert "await trio.sleep" in text


async def test_a_test_that_waits_for_virtual_time_by_itself() -> None:
    with pytest.raises(HarnessError, match=r"use `await h\.advance\(seconds\)` in place of trio"):
        async with open_harness(Beats("a"), real_limit=0.1):
            await trio.sleep(1)


async def test_a_test_may_really_wait_for_something() -> None:
    async with open_harness(Beats("a"), real_limit=0.5) as h:
        for _ in range(4):
            await trio.to_thread.run_sync(time.sleep, 0.05)
        await h.tick()


async def test_a_limited_history() -> None:
    async with open_harness(Beats("a"), history=3) as h:
        results = await h.tick(5)
        assert [r.seq for r in results] == [3, 4, 5]
        assert [r.seq for r in h.results] == [3, 4, 5]
        assert len(h.sent("beats")) == 3
        assert [r.seq for r in await h.tick()] == [6]


async def test_an_interrupt_in_a_node_stops_the_robot() -> None:
    async with open_harness(Beats("a"), Beats("b")) as h:
        h.fail("tick", KeyboardInterrupt, node="a")
        await h.tick(node="a")
        assert h.report is not None
        assert "KeyboardInterrupt in node 'a'" in h.report.reason
