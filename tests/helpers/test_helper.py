"""The life that all helpers share, alone and as what a node has been given."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus
from horus_trio import AlreadyRunning, AsyncNode, ConfigurationError, Node, NodeState, Restart
from horus_trio.helpers import Helper
from horus_trio.testing import cancel_everywhere, open_harness

Diary = list[str]


class Kept(Helper):
    """Writes down what becomes of it."""

    def __init__(self, name: str, diary: Diary) -> None:
        super().__init__(name)
        self.diary = diary
        self.fails: str = ""
        self.takes = 0.0
        self.crash: trio.Event | None = None

    async def _opened(self, nursery: trio.Nursery) -> None:
        self.crash = trio.Event()
        self.diary.append(f"open {self.name}")
        if self.fails == "opening":
            raise ConnectionError("nobody there")
        if self.takes:
            await trio.sleep(self.takes)
        nursery.start_soon(self._work, self.crash)

    async def _work(self, crash: trio.Event) -> None:
        await crash.wait()
        raise OSError("burnt out")

    async def _closing(self) -> None:
        self.diary.append(f"close {self.name}")
        if self.fails == "closing":
            raise ConnectionError("cannot say goodbye")
        if self.takes:
            await trio.sleep(self.takes)


class Keeper(AsyncNode):
    def __init__(self, name: str, diary: Diary, *things: Any, **options: Any) -> None:
        super().__init__(name, rate=10, helpers=things, **options)
        self.diary = diary

    async def init(self) -> None:
        self.diary.append(f"init {self.name}")

    async def tick_async(self) -> None:
        pass

    async def shutdown(self) -> None:
        self.diary.append(f"shutdown {self.name}")


async def test_it_is_open_inside_the_block_and_may_be_opened_again() -> None:
    diary: Diary = []
    helper = Kept("a", diary)
    assert repr(helper) == "<Kept 'a', closed>"
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError, match=r"use `async with`, or give it to a"):
            helper._check_open()
        async with helper as opened:
            assert opened is helper
            assert helper.is_open
            assert repr(helper) == "<Kept 'a', open>"
            helper._check_open()
            with pytest.raises(AlreadyRunning, match="is open already; give the same one to"):
                await helper.__aenter__()
        assert not helper.is_open
    assert diary == ["open a", "close a"] * 2
    await helper.__aexit__(None, None, None)


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Kept("a", []):
            raise ZeroDivisionError


async def test_a_crash_of_a_task_ends_the_block() -> None:
    helper = Kept("a", [])
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="burnt out")):
        async with helper:
            assert helper.crash is not None
            helper.crash.set()
            await trio.sleep_forever()
    assert not helper.is_open
    async with helper:
        pass


@pytest.mark.parametrize("fails", ["opening", "closing"])
async def test_a_failure_leaves_it_closed(fails: str) -> None:
    helper = Kept("a", [])
    helper.fails = fails
    with pytest.RaisesGroup(ConnectionError):
        async with helper:
            pass
    assert not helper.is_open
    helper.fails = ""
    async with helper:
        pass


async def test_wherever_it_is_cancelled_it_is_closed_and_opens_again() -> None:
    async def use(box: list[Kept]) -> None:
        [helper] = box
        try:
            async with helper:
                await trio.lowlevel.checkpoint()
        finally:
            assert not helper.is_open

    sweep = await cancel_everywhere(lambda: [Kept("a", [])], use)
    print(sweep)


@pytest.mark.parametrize("name", ["", "two\nlines", 3, None])
def test_a_helper_has_a_printable_name(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a printable, non-empty str"):
        Kept(name, [])


# Given to a node


async def test_a_node_has_its_helpers_open_from_before_init_until_after_shutdown() -> None:
    diary: Diary = []
    a, b = Kept("a", diary), Kept("b", diary)
    async with open_harness(Keeper("node", diary, a, b)) as h:
        await h.advance(0.5)
        assert a.is_open
        assert b.is_open
    assert diary == [
        "open a",
        "open b",
        "init node",
        "shutdown node",
        "close b",
        "close a",
    ]


async def test_nodes_share_what_they_are_both_given() -> None:
    diary: Diary = []
    a = Kept("a", diary)
    async with open_harness(Keeper("one", diary, a), Keeper("two", diary, a)) as h:
        await h.advance(0.5)
        h.scheduler.remove("one")
        await h.settle()
        assert a.is_open
        h.scheduler.remove("two")
        await h.settle()
        assert not a.is_open
        late = Keeper("late", diary, a)
        h.scheduler.add(late)
        await h.advance(0.5)
        assert a.is_open
    assert [line for line in diary if line.endswith(" a")] == ["open a", "close a"] * 2


async def test_a_restart_opens_them_anew() -> None:
    diary: Diary = []

    class Once(Keeper):
        async def tick_async(self) -> None:
            if self.diary.count("init node") == 1:
                raise ValueError("the first time")

    async with open_harness(
        Once("node", diary, Kept("a", diary), failure_policy=Restart(backoff=0.1, jitter=0))
    ) as h:
        await h.advance(1)
        assert diary == ["open a", "init node", "shutdown node", "close a", "open a", "init node"]


async def test_one_that_cannot_be_opened_fails_the_node_and_the_others_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary: Diary = []
    a, b = Kept("a", diary), Kept("b", diary)
    b.fails = "opening"
    node = Keeper("node", diary, a, b, failure_policy=Restart(backoff=1, jitter=0))
    async with open_harness(node) as h:
        assert diary == ["open a", "open b", "close b", "close a"]
        assert "nobody there" in str(h.scheduler.statistics().nodes["node"].last_error)
        assert h.node_statistics("node").failures == 1
        b.fails = ""
        await h.advance(1.5)
        assert diary[4:] == ["open a", "open b", "init node"]
    assert [record.getMessage().partition("\n")[0] for record in caplog.records] == [
        "node 'node' failed in init"
    ]


async def test_one_that_takes_too_long_to_open_is_given_up() -> None:
    diary: Diary = []
    a = Kept("a", diary)
    a.takes = 5
    node = Keeper("node", diary, a, init_timeout=1, failure_policy=horus.Fatal())
    with pytest.raises(horus.RunFailed, match="node") as caught:
        async with open_harness(node) as h:
            await h.advance(2)
    assert "the helpers of node 'node' were not open within its init_timeout of 1 s" in str(
        caught.value.exceptions[0]
    )
    assert not a.is_open


async def test_one_that_takes_too_long_to_close_is_cancelled_and_said() -> None:
    diary: Diary = []
    a, b = Kept("a", diary), Kept("b", diary)
    node = Keeper("node", diary, b, a, shutdown_timeout=0.5)
    async with open_harness(node) as h:
        await h.advance(0.2)
        a.takes = 5
    assert diary[-2:] == ["close a", "close b"]
    assert h.report is not None
    assert "<Kept 'a', closed> did not close in time" in str(h.report.hook_errors)


async def test_an_error_in_closing_is_in_the_report() -> None:
    a = Kept("a", [])
    a.fails = "closing"
    async with open_harness(Keeper("node", [], a)) as h:
        await h.advance(0.2)
    assert h.report is not None
    assert "cannot say goodbye" in str(h.report.hook_errors)
    assert h.report.statistics.nodes["node"].failures == 0


async def test_a_crash_of_a_helper_is_its_nodes_failure_and_nobody_elses() -> None:
    diary: Diary = []
    a = Kept("a", diary)
    node = Keeper("node", diary, a, failure_policy=Restart(backoff=0.1, jitter=0))
    async with open_harness(node, Keeper("other", diary)) as h:
        await h.advance(0.5)
        assert a.crash is not None
        a.crash.set()
        await h.advance(1)
        statistics = h.scheduler.statistics().nodes
        assert statistics["node"].restarts == 1
        assert "burnt out" in str(statistics["node"].last_error)
        assert statistics["other"].restarts == statistics["other"].errors == 0
        assert a.is_open


async def test_a_stop_does_not_wait_for_an_opening(autojump_clock: MockClock) -> None:
    a = Kept("a", [])
    a.takes = 1000
    scheduler = horus.Scheduler()
    scheduler.add(Keeper("node", [], a, init_timeout=2000))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(1)
        assert scheduler.statistics().nodes["node"].state is NodeState.STARTING
        scheduler.stop()
    assert trio.current_time() - began < 2.5
    assert not a.is_open


async def test_a_forced_stop_does_not_wait_for_a_closing(autojump_clock: MockClock) -> None:
    a = Kept("a", [])
    scheduler = horus.Scheduler()
    scheduler.add(Keeper("node", [], a, shutdown_timeout=500))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(1)
        a.takes = 1000
        scheduler.stop()
        await trio.sleep(1)
        assert not a.is_open
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began < 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"helpers": 3}, "helpers=3, expected a list of helpers"),
        ({"helpers": [3]}, "helpers has 3, expected a list of helpers"),
        ({"helpers": Kept("a", [])}, "helpers=<Kept 'a', closed>, expected a list of helpers"),
        ({"helpers": (kept := Kept("a", []), kept)}, "helpers has <Kept 'a', closed> twice"),
        ({"helpers": [Kept("a", [])], "thread": "process"}, "leave one of the two out"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    def tick(node: Node) -> None:
        pass

    with pytest.raises(ConfigurationError) as caught:
        horus.Scheduler().add(Node("node", tick=tick), **options)
    assert message in str(caught.value)


async def test_while_the_run_is_cancelled_nodes_still_have_their_helpers(
    autojump_clock: MockClock,
) -> None:
    diary: Diary = []

    class Slow(Keeper):
        async def shutdown(self) -> None:
            await trio.sleep(0.5)
            await super().shutdown()

    scheduler = horus.Scheduler(signals=False).add(Slow("node", diary, Kept("a", diary)))
    with trio.move_on_after(0.25):
        await scheduler.run()
    assert diary == ["open a", "init node", "shutdown node", "close a"]
