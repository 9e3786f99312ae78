"""`horus.Node` where the facade is stricter than HORUS, and clear about it; its async callbacks."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from horus_trio import ConfigurationError, RunFailed
from horus_trio.bridges import horus
from horus_trio.bridges.horus import Node, NodeInfo, Scheduler
from horus_trio.bridges.horus.callbacks import AsyncCallback

Require = Callable[[str, bool, str], None]


async def coroutine(node: Node, *args: object) -> None:
    await asyncio.sleep(0)


class Sensor:
    async def __call__(self, node: Node) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("what", ["tick", "init", "shutdown", "on_error"])
def test_callbacks_have_to_be_functions(what: str) -> None:
    options: dict[str, Any] = {what: 5}
    with pytest.raises(TypeError, match=rf"Node\('n'\): {what}=5, expected a"):
        Node("n", **options)


def test_nobody_awaits_on_error() -> None:
    with pytest.raises(TypeError, match="expected a plain function, `def`"):
        Node("n", on_error=coroutine)


def test_async_methods_of_a_subclass() -> None:
    class Sensor(Node):
        async def tick(self, info: Any = None) -> None:  # type: ignore[override]
            await asyncio.sleep(0)

    with pytest.raises(TypeError, match=r"Sensor\.tick is `async def`.* Node\(tick=…\)"):
        Sensor()


@pytest.mark.parametrize(
    "function", [coroutine, functools.partial(coroutine), Sensor()], ids=["def", "partial", "()"]
)
def test_all_kinds_of_coroutine_functions(function: Callable[..., Any]) -> None:
    node = Node(tick=function)
    assert isinstance(node.tick_fn, AsyncCallback)
    assert "AsyncCallback" in repr(node.tick_fn)
    node.tick()
    node._horus_close_runner()
    node._horus_close_runner()


def test_a_plain_function_that_returns_a_coroutine() -> None:
    node = Node("n", lambda node: coroutine(node), 100, failure_policy="fatal")
    with pytest.raises(RunFailed) as caught:
        horus.run(node, duration=1)
    assert "tick of node 'n' returned a coroutine; make it" in str(caught.value.exceptions[0])


async def yields_later(node: Node) -> AsyncIterator[int]:
    yield 1


def yields(node: Node) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("what", ["init", "tick", "shutdown"])
@pytest.mark.parametrize("function", [yields, yields_later])
def test_a_callback_with_yield(what: str, function: Callable[..., Any]) -> None:
    hooks: dict[str, Any] = {what: function}
    node = Node("n", **hooks)
    with pytest.raises(TypeError, match=f"{what} of node 'n' returned a generator.*`yield`"):
        getattr(node, what)()


def test_an_async_callback_by_hand_on_a_loop() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="running event loop"):
            Node(tick=coroutine).tick()

    asyncio.run(main())


def test_repr() -> None:
    assert repr(Node("cam")) == "<horus.Node 'cam'>"
    assert repr(horus.Sub("scan")) == "Sub('scan')"
    assert repr(horus.Pub("cmd", horus.CmdVel)) == "Pub('cmd', CmdVel)"


def test_node_info_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    info = NodeInfo("solo")
    assert repr(info) == "NodeInfo(name='solo', state='Uninitialized', ticks=0, errors=0)"
    info.request_stop()
    info.transition_to_error("broken")
    assert info.state is horus.NodeState.ERROR
    assert info.error_count() == 1
    assert info.avg_tick_duration_ms() == 0.0
    assert info.get_uptime() >= 0
    with caplog.at_level("DEBUG"):
        info.log_pub("a", "{}", 5)
        info.log_sub("b", "{}", 7)
    assert caplog.messages[-2:] == ["sent to a: {} (5 ns)", "received from b: {} (7 ns)"]


def test_clocks() -> None:
    seen: list[tuple[float, ...]] = []

    def look(node: Node) -> None:
        seen.append((horus.now(), horus.dt(), horus.elapsed(), horus.tick(), horus.rng_float()))
        seen.append((horus.budget_remaining(),))

    horus.run(Node("a", look, rate=50, budget=0.5), Node("b", look, on="never"), duration=0.2)
    (first, _, elapsed, tick, random), (budget,) = seen[:2]
    assert 0 < elapsed < 5
    assert (seen[0][1], tick) == (0.02, 0)
    assert 0 <= random < 1
    assert 0 < budget < 0.5
    assert seen[2][0] > first
    assert [entry[3] for entry in seen[::2]] == list(range(len(seen) // 2))
    assert (horus.dt(), horus.elapsed(), horus.tick()) == (0.0, 0.0, 0)
    assert horus.budget_remaining() == math.inf
    assert horus.timestamp_ns() == pytest.approx(time.time_ns(), rel=1e-6)
    assert horus.now() < horus.now()


def test_the_clocks_of_two_nodes_are_their_own() -> None:
    seen: dict[str, list[float]] = {"a": [], "b": []}

    def look(node: Node) -> None:
        seen[node.name].append(horus.dt())

    horus.run(Node("a", look, rate=50), Node("b", look, rate=100), duration=0.05)
    assert set(seen["a"]) == {0.02}
    assert set(seen["b"]) == {0.01}


# By hand


def test_declarations() -> None:
    node = Node(
        pubs={"a": horus.CmdVel, "b": None, "c": {"type": horus.Imu, "capacity": 8}},
        subs=["d", horus.Sub("e", horus.Imu, 16), horus.Pub("f"), horus.CmdVel],
    )
    assert node.name.startswith("node_")
    assert node.publishers() == ["a", "b", "c"]
    assert node.subscribers() == ["d", "e", "f", "cmd_vel"]
    assert Node(pubs="one").pub_topics == ["one"]
    with pytest.raises(TypeError, match="must be str, list, or dict, got tuple"):
        Node(subs=("a",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be str, Sub/Pub, or message type, got int"):
        Node(subs=[3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"rate must be positive \(got 0\)"):
        Node(rate=0)
    with pytest.raises(ValueError, match="mutually exclusive"):
        Node(tick=coroutine, compute=True)


def test_messages_wait_and_are_peeked_at() -> None:
    node = Node("reader", subs=["node"])
    topic = horus.Topic("node")
    assert (node.has_msg("node"), node.recv("node"), node.recv_all("node")) == (False, None, [])
    for n in range(3):
        topic.send({"n": n})
    assert node.has_msg("node")
    assert node.has_msg("node")
    assert node.recv("node") == {"n": 0}
    assert node.recv_all("node") == [{"n": 1}, {"n": 2}]
    assert node.recv("undeclared") is None
    assert node.subscribers() == ["node", "undeclared"]


def test_what_is_sent_becomes_what_the_topic_carries() -> None:
    node = Node("n", pubs={"typed": horus.CmdVel}, subs=[horus.Sub("typed", horus.CmdVel), "bare"])
    assert node.send("typed", {"linear": 1.0, "angular": 2.0})
    assert node.recv("typed") == horus.CmdVel(1.0, 2.0)
    for wrong, why in ((5, "'int' object"), ({"linear": 1}, "'dict' object .*'angular'")):
        with pytest.raises(TypeError, match=rf"^{why}"):
            node.send("typed", wrong)
    node.send("bare", horus.CmdVel(3.0, 4.0))
    assert node.recv("bare")["linear"] == 3.0
    with pytest.raises(TypeError):
        node.send("bare", {1, object()})
    with pytest.raises(TypeError):
        node.send("bare", object())
    node.send("new", {"x": 1})
    assert "new" in node.publishers()


def test_a_tick_by_hand_tells_and_raises() -> None:
    seen: list[Any] = []

    def fail(node: Node) -> None:
        raise ValueError("boom")

    def told(node: Node, error: Exception) -> None:
        seen.append((node.info, str(error)))

    node = Node("n", fail, on_error=told)
    info = NodeInfo("x")
    with pytest.raises(ValueError, match="boom"):
        node._internal_tick(info)
    assert seen == [(info, "boom")]
    assert node.info is None
    Node().tick(info)


def test_a_subclass_logs_and_stops_in_its_own_hooks(caplog: pytest.LogCaptureFixture) -> None:
    class Camera(Node):
        frames = 0

        def init(self, info: Any = None) -> None:
            self.log_info("open")

        def tick(self, info: Any = None) -> None:
            self.frames += 1
            if self.frames == 3:
                self.request_stop()

        def shutdown(self, info: Any = None) -> None:
            self.log_info("closed")

    camera = Camera("camera", rate=100)
    with caplog.at_level("INFO"):
        horus.run(camera, duration=20)
    assert camera.frames == 3
    of_node = [r.getMessage() for r in caplog.records if r.name == "horus_trio.node.camera"]
    assert [text for text in of_node if text in {"open", "closed"}] == ["open", "closed"]


def test_attributes_of_a_subclass_are_its_own() -> None:
    names = ["sent", "received", "record", "runner", "tell", "converted", "has_budget", "loop"]

    class Mine(Node):
        def __init__(self) -> None:
            super().__init__("mine", rate=50)
            for name in names:
                setattr(self, name, name)
                setattr(self, f"_{name}", name)

        def tick(self, info: Any = None) -> None:
            self.send("mine", {"n": 1})
            assert self.recv("mine") == {"n": 1}

    scheduler = Scheduler().add(Mine())
    scheduler.run(0.05)
    assert scheduler.get_node_stats("mine")["successful_ticks"] > 0


def test_logs_outside_callbacks_are_warned_about() -> None:
    node = Node("n")
    for call in (node.log_info, node.log_warning, node.log_error, node.log_debug):
        with pytest.warns(RuntimeWarning, match="called outside scheduler — message dropped"):
            call("text")
    with pytest.warns(RuntimeWarning, match="no effect there"):
        node.request_stop()


# With asyncio


@pytest.fixture
def needs_asyncio(require: Require) -> None:
    present = importlib.util.find_spec("trio_asyncio") is not None
    require("trio-asyncio", present, "pip install 'horus-trio[asyncio]'")


def test_a_missing_extra_is_said_when_the_node_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio_asyncio", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'horus-trio\[asyncio\]'"):
        Scheduler().add(Node("n", coroutine))


@pytest.mark.usefixtures("needs_asyncio")
def test_tasks_run_between_ticks() -> None:
    alive: list[float] = []
    kept: list[asyncio.Task[None]] = []
    threads: set[int] = set()

    async def keep_alive() -> None:
        while True:
            alive.append(horus.dt())
            await asyncio.sleep(0.01)

    async def init(node: Node) -> None:
        kept.append(asyncio.create_task(keep_alive()))

    def shutdown(node: Node) -> None:
        threads.add(threading.get_ident())
        assert node.info is not None
        assert node.info.state is horus.NodeState.STOPPING

    async def tick(node: Node) -> None:
        threads.add(threading.get_ident())
        await asyncio.sleep(0.001)

    horus.run(Node("a", tick, rate=10, init=init, shutdown=shutdown), duration=0.3)
    assert len(alive) > 5
    assert kept[0].cancelled()
    assert len(threads) == 2  # the plain function ran beside the loop


@pytest.mark.usefixtures("needs_asyncio")
def test_async_nodes_share_a_thread_and_have_loops_of_their_own() -> None:
    seen: dict[str, set[tuple[int, int]]] = {"a": set(), "b": set()}

    async def look(node: Node) -> None:
        seen[node.name].add((threading.get_ident(), id(asyncio.get_running_loop())))

    nodes = [Node(name, look, 50, init=look, shutdown=look) for name in seen]
    horus.run(*nodes, duration=0.1)
    ((one, first),), ((other, second),) = seen.values()
    assert one == other
    assert first != second


@pytest.mark.usefixtures("needs_asyncio")
def test_an_async_node_ticks_at_once() -> None:
    seldom = Node("a", coroutine, rate=0.1)
    scheduler = Scheduler().add(seldom)
    scheduler.run(0.05)
    assert scheduler.get_node_stats("a")["total_ticks"] == 1


@pytest.mark.usefixtures("needs_asyncio")
def test_on_error_is_told_what_an_async_tick_raised() -> None:
    told: list[Any] = []

    async def fail(node: Node) -> None:
        raise ValueError("boom")

    node = Node("a", fail, failure_policy="fatal", on_error=lambda *what: told.append(what))
    with pytest.raises(RunFailed) as caught:
        horus.run(node, duration=5)
    assert told == [(node, caught.value.exceptions[0])]
    assert node._horus_record is None


@pytest.mark.usefixtures("needs_asyncio")
def test_a_plain_tick_beside_an_async_init() -> None:
    seen: list[tuple[bool, int]] = []

    class Sub(Node):
        def tick(self, info: NodeInfo | None = None) -> None:
            assert info is not None
            seen.append((threading.current_thread() is threading.main_thread(), horus.tick()))

    horus.run(Sub("s", rate=50, init=coroutine), duration=0.1)
    assert len(seen) > 0
    assert seen == [(False, n) for n in range(len(seen))]


@pytest.mark.usefixtures("needs_asyncio")
def test_an_async_node_in_steps_and_then_in_a_run() -> None:
    log: list[str] = []

    def noted(what: str) -> Callable[[Node], Any]:
        async def callback(node: Node) -> None:
            log.append(what)
            await asyncio.sleep(0)

        return callback

    node = Node("a", noted("tick"), rate=50, init=noted("init"), shutdown=noted("shutdown"))
    scheduler = Scheduler().add(node)
    scheduler.tick_once()
    scheduler.tick_once()
    assert log == ["init", "tick", "tick"]
    scheduler.run(0.1)
    ticks = log[5:].count("tick")
    assert log[3:] == ["shutdown", "init", *["tick"] * ticks, "shutdown"]
    assert ticks > 0


@pytest.mark.usefixtures("needs_asyncio")
@pytest.mark.slow
def test_who_blocks_all_async_nodes_is_named() -> None:
    async def blocks(node: Node) -> None:
        time.sleep(0.9)  # noqa: ASYNC251 - the mistake

    scheduler = Scheduler().add(Node("bad", blocks, rate=1))
    scheduler.run(1.0)
    report = scheduler.engine.report
    assert report is not None
    assert any("node 'bad' blocked the loop" in warning for warning in report.warnings)


def test_a_node_hears_itself_on_a_topic_it_also_reads() -> None:
    talker = Node("talker", pubs=["test.itself"], subs=["test.itself"])
    listener = Node("listener", subs=["test.itself"])
    for number in range(3):
        talker.send("test.itself", number)
        assert listener.recv_all("test.itself") == [number]
    assert talker.recv_all("test.itself") == [0, 1, 2]


@pytest.mark.parametrize("rate", [math.nan, math.inf])
def test_a_rate_that_is_not_finite_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be finite"):
        Node(rate=rate)


@pytest.mark.parametrize(
    ("duration", "error"), [("x", TypeError), (-1, horus.Refused), (float("nan"), horus.Refused)]
)
def test_a_duration_that_makes_no_sense_is_refused(duration: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="uration"):
        horus.run(duration=duration)
