"""What is better than in HORUS: each intended difference, and bad input."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import trio

import horus_trio
from horus_trio import AlreadyRunning, ConfigurationError, RunFailed
from horus_trio.bridges import horus
from horus_trio.bridges.horus import (
    HorusNotFoundError,
    Node,
    OutOfScope,
    Refused,
    Scheduler,
    SchedulerConfig,
)
from horus_trio.policies import EndRun, Rebuild, Restart

log: list[Any] = []


@pytest.fixture(autouse=True)
def empty() -> None:
    log.clear()


def noted(what: str) -> Callable[[Node], None]:
    """A callback that notes itself, its node and its thread."""

    def callback(node: Node) -> None:
        log.append((what, node.name, threading.get_ident()))

    return callback


def node(name: str = "a", **options: Any) -> Node:
    hooks = {what: noted(what) for what in ("init", "tick", "shutdown")}
    return Node(name, **{"rate": 100, **hooks, **options})


def hooks() -> list[tuple[str, str]]:
    return [entry[:2] for entry in log]


def released(scheduler: Scheduler, name: str = "a") -> int:
    """Grid points of the latest run: a busy machine misses some."""
    return scheduler.engine.statistics().nodes[name].ticks_released


def boom(node: Node) -> None:
    raise ValueError("boom")


# Failures


def test_a_fatal_failure_raises() -> None:
    scheduler = Scheduler(name="robot").add(node(tick=boom, failure_policy="fatal"))
    with pytest.raises(RunFailed, match="node 'a' failed") as caught:
        scheduler.run(5)
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert error.__notes__ == ["in node 'a', tick 1, failure 1"]
    assert caught.value.report is scheduler.engine.report
    assert hooks() == [("init", "a"), ("shutdown", "a")]


def test_a_fatal_failure_raises_from_tick_for() -> None:
    with pytest.raises(RunFailed) as caught:
        Scheduler().add(node(tick=boom, failure_policy="fatal")).tick_for(5)
    assert isinstance(caught.value.exceptions[0], ValueError)


def test_five_restarts_in_a_minute() -> None:
    policy = horus.translation._POLICIES["restart"]
    assert isinstance(policy, Restart)
    assert (policy.max_restarts, policy.within) == (5, 60.0)
    state, now = policy.start(), 0.0
    for _ in range(50):  # seldom enough, that is for ever
        state, decision = policy.failed(state, now, 0.5)
        assert isinstance(decision, Rebuild)
        now += 12.1
    decisions = []
    for _ in range(6):  # and these are too many
        state, decision = policy.failed(state, now, 0.5)
        decisions.append(type(decision))
    assert EndRun in decisions


def test_used_up_restarts_are_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = horus.translation.RestartOrStop(max_restarts=2, backoff=0.01)
    monkeypatch.setitem(horus.translation._POLICIES, "restart", quick)
    with pytest.raises(RunFailed) as caught:
        horus.run(node(tick=boom, failure_policy="restart"), node("b"), duration=5)
    assert len(caught.value.exceptions) == 1
    of_a = [what for what, name in hooks() if name == "a"]
    assert of_a == ["init", "shutdown"] * 3


def test_a_node_that_is_never_initialised_raises_at_the_end() -> None:
    scheduler = Scheduler().add(node(init=boom)).add(node("b"))
    with pytest.raises(RunFailed, match="never initialised: 'a'") as caught:
        scheduler.run(0.1)
    assert isinstance(caught.value.exceptions[0], ValueError)
    assert ("tick", "b") in hooks()
    assert ("shutdown", "a") not in hooks()


def test_a_node_that_is_initialised_at_last_is_no_failure() -> None:
    attempts: list[int] = []

    def init(node: Node) -> None:
        attempts.append(len(attempts))
        if len(attempts) < 3:
            raise OSError("no camera yet")

    horus.run(node(init=init, failure_policy="restart"), duration=0.6)
    assert attempts == [0, 1, 2]
    assert ("tick", "a") in hooks()


def test_an_exit_in_init_is_a_failure() -> None:
    def leave(node: Node) -> None:
        raise SystemExit(3)

    with pytest.raises(RunFailed) as caught:
        horus.run(node(init=leave), duration=0.05)
    assert isinstance(caught.value.exceptions[0], horus_trio.NodeExited)


def test_an_error_of_on_error_is_a_note() -> None:
    def worse(node: Node, error: Exception) -> None:
        raise KeyError("worse")

    with pytest.raises(RunFailed) as caught:
        horus.run(node(tick=boom, on_error=worse, failure_policy="fatal"), duration=5)
    notes = caught.value.exceptions[0].__notes__
    assert "on_error raised, too: KeyError('worse')" in notes


# Running


def test_running_again() -> None:
    scheduler = Scheduler().add(node(rate=50))
    for _ in range(2):
        log.clear()
        scheduler.run(0.1)
        ticks = hooks().count(("tick", "a"))
        assert hooks() == [("init", "a"), *[("tick", "a")] * ticks, ("shutdown", "a")]
        assert (ticks > 0, released(scheduler)) == (True, 5)


def test_no_time_at_all() -> None:
    Scheduler().add(node()).run(0)
    assert hooks() == [("init", "a"), ("shutdown", "a")]


def test_turns_and_threads() -> None:
    scheduler = Scheduler()
    for name, order in (("c", 2), ("a", 1), ("b", 1)):
        scheduler.add(node(name, order=order))
    scheduler.run(0.05)
    assert [name for what, name in hooks() if what == "init"] == ["a", "b", "c"]
    assert [name for what, name in hooks() if what == "shutdown"] == ["c", "b", "a"]
    threads = {name: {thread for _, n, thread in log if n == name} for name in "abc"}
    assert all(len(own) == 1 for own in threads.values())
    assert len(set.union(*threads.values())) == 3


def test_determinism_keeps_rates() -> None:
    clocks: list[tuple[float, ...]] = []

    def tick(node: Node) -> None:
        noted("tick")(node)
        clocks.append((horus.now(), horus.elapsed(), horus.budget_remaining(), horus.rng_float()))

    scheduler = Scheduler(deterministic=True).add(node("a", rate=50, tick=tick))
    scheduler.add(node("b", rate=100))
    scheduler.run(0.1)
    assert (released(scheduler, "a"), released(scheduler, "b")) == (5, 10)
    times = [n * 0.02 for n in range(len(clocks))]
    assert [clock[:3] for clock in clocks] == [pytest.approx((t, t, 0.016)) for t in times]
    assert len({clock[3] for clock in clocks}) == len(clocks) > 0


def test_the_watchdog_gives_ticks_up() -> None:
    freed, refused = threading.Event(), list[horus_trio.TickAbandoned]()

    def hang(node: Node) -> None:
        freed.wait()
        try:
            node.send("late", {"n": 1})
        except horus_trio.TickAbandoned as error:
            refused.append(error)

    scheduler = Scheduler(watchdog_ms=50)
    scheduler.add(node("hung", tick=hang)).add(node("seldom", rate=2)).add(node("own", watchdog=5))
    threading.Timer(0.3, freed.set).start()
    scheduler.run(0.5)
    safety = scheduler.safety_stats()
    assert safety is not None
    assert safety["watchdog_expirations"] >= 1
    assert safety["state"] == "Normal"
    assert isinstance(refused[0], horus_trio.TickAbandoned)
    assert ("tick", "seldom") in hooks()


def test_a_tick_that_is_given_up_has_failed() -> None:
    freed = threading.Event()
    threading.Timer(0.3, freed.set).start()
    hung = node(tick=lambda node: freed.wait(), watchdog=0.05, failure_policy="fatal")
    with pytest.raises(RunFailed) as caught:
        horus.run(hung, duration=5)
    assert isinstance(caught.value.exceptions[0], horus_trio.TickTimedOut)


def test_who_says_nothing_is_given_up_after_half_a_minute() -> None:
    limits: list[float | None] = []

    def look(node: Node) -> None:
        run: Any = scheduler.engine._run_state
        limits.append(run.executor.runners["a"]._worker.tick_limit)

    scheduler = Scheduler().add(node(tick=look))
    scheduler.run(0.02)
    assert set(limits) == {30.0}


def test_nothing_is_published_after_the_run() -> None:
    done, ended = threading.Event(), threading.Event()
    refused: list[horus_trio.TickAbandoned] = []

    def hang(node: Node) -> None:
        done.wait()
        try:
            node.send("motor", {"speed": 1})
        except horus_trio.TickAbandoned as error:
            refused.append(error)
        ended.set()

    scheduler = Scheduler().add(node(tick=hang))
    scheduler.engine._change_options("a", {"shutdown_timeout": 0.05})
    scheduler.run(0.05)
    done.set()
    assert ended.wait(5)
    assert isinstance(refused[0], horus_trio.TickAbandoned)


def test_while_it_runs() -> None:
    scheduler = Scheduler().add(node("a"))
    seen: dict[str, Any] = {}

    def look() -> None:
        while not (scheduler.status() == "running" and log):
            time.sleep(0.005)
        seen["status"] = scheduler.status()
        scheduler.add(node("late"))
        seen["names"] = scheduler.get_node_names()
        scheduler.set_node_rate("a", 50)
        while not any(name == "late" for _, name in hooks()):
            time.sleep(0.005)
        while scheduler.get_node_stats("a")["total_ticks"] == 0:
            assert scheduler.status() == "running"
            time.sleep(0.005)
        seen["stats"] = scheduler.get_node_stats("a")
        seen["removed"] = [scheduler.remove_node("late"), scheduler.remove_node("late")]
        while ("shutdown", "late") not in hooks():
            time.sleep(0.005)
        seen["current"] = scheduler.current_tick()
        with pytest.raises(AlreadyRunning):
            scheduler.tick_once()
        with pytest.raises(AlreadyRunning):
            scheduler.run(1)
        with pytest.raises(AlreadyRunning):
            scheduler.add_critical_node("a", 100)
        scheduler.stop()

    thread = threading.Thread(target=look)
    thread.start()
    assert scheduler.status() == "idle"
    scheduler.run(20)
    thread.join()
    assert scheduler.status() == "stopped"
    assert seen["status"] == "running"
    assert seen["names"] == ["a", "late"]
    assert seen["stats"]["total_ticks"] > 0
    assert seen["stats"]["rate_hz"] == 50.0
    assert seen["removed"] == [True, False]
    assert seen["current"] > 0


def test_statistics_count() -> None:
    def source(node: Node) -> None:
        node.send("numbers", {"n": 1})

    def sink(node: Node) -> None:
        node.recv_all("numbers")

    scheduler = Scheduler().add(Node("source", source, rate=50))
    scheduler.add(Node("sink", sink, on="numbers", subs=["numbers"]))
    before = scheduler.get_node_stats("source")
    assert before["min_tick_duration_ms"] == before["uptime_seconds"] == 0.0
    scheduler.run(0.1)
    sent, read = scheduler.get_all_nodes()
    assert (sent["rate_hz"], sent["messages_sent"]) == (50.0, sent["total_ticks"])
    assert read["total_ticks"] > 0
    assert 0 < read["messages_received"] <= sent["messages_sent"]
    hub = scheduler.engine.statistics().topics["numbers"]
    assert hub.sent == sent["messages_sent"] > 0


def test_nodes_that_tick_on_the_same_topic() -> None:
    got: dict[str, list[int]] = {"a": [], "b": []}

    def burst(node: Node) -> None:
        for n in range(3):
            node.send("Pose", {"n": n})

    def take(node: Node) -> None:
        got[node.name].append(node.recv("Pose")["n"])

    scheduler = Scheduler().add(Node("burst", burst, rate=20, pubs="Pose"))
    scheduler.add(Node("a", take, on="Pose", subs="Pose"))
    scheduler.add(Node("b", take, on="Pose", subs="Pose"))
    scheduler.run(0.24)
    for numbers in got.values():
        assert len(numbers) >= 3
        assert numbers == ([0, 1, 2] * 5)[: len(numbers)]


def test_chance_is_chance_unless_it_is_deterministic() -> None:
    rolls: list[float] = []
    for _ in range(2):
        horus.run(Node("dice", lambda node: rolls.append(horus.rng_float()), 50), duration=0.03)
    assert len(set(rolls)) == len(rolls) >= 2


def test_what_a_node_knows_of_itself() -> None:
    seen: list[Any] = []

    def look(node: Node) -> None:
        assert node.info is not None
        seen.append((node.info.state.value, node.info.tick_count(), node.info.failed_ticks()))
        if node.info.tick_count() == 1:
            raise ValueError("once")
        if node.info.tick_count() == 2:
            node.request_stop()

    horus.run(Node("a", look, 50, init=look, shutdown=look), duration=10)
    assert seen[0] == ("initializing", 0, 0)
    assert seen[1:4] == [("running", 0, 0), ("running", 1, 0), ("running", 2, 1)]
    assert seen[-1][0] == "stopping"


def test_critical_nodes_and_budgets() -> None:
    safe: list[str] = []

    class Arm(Node):
        def enter_safe_state(self) -> None:
            safe.append(self.name)

    freed = threading.Event()
    threading.Timer(0.3, freed.set).start()
    scheduler = Scheduler().add(Arm("arm", lambda node: freed.wait(), 100))
    scheduler.add_critical_node("arm", 50)
    scheduler.set_tick_budget("arm", 100)
    with pytest.raises(RunFailed) as caught:
        scheduler.run(5)
    assert isinstance(caught.value.exceptions[0], horus_trio.TickTimedOut)
    assert safe == ["arm"]
    assert scheduler._records["arm"].budget == pytest.approx(1e-4)


@pytest.mark.parametrize("on_miss", [None, "warn", "skip"])
def test_misses_do_not_slow_a_node_down(on_miss: str | None) -> None:
    scheduler = Scheduler().add(node(tick=lambda node: time.sleep(0.012), on_miss=on_miss))
    scheduler.run(0.3)
    safety = scheduler.safety_stats()
    assert safety is not None
    assert safety["degrade_activations"] == 0
    ticks = scheduler.get_node_stats("a")["total_ticks"]
    assert safety["deadline_misses"] == ticks
    statistics = scheduler.engine.statistics().nodes["a"]
    assert statistics.rate == 100
    assert ticks + statistics.missed == statistics.ticks_released == 30


# By hand


@pytest.mark.parametrize("deterministic", [False, True])
def test_steps(deterministic: bool) -> None:
    scheduler = Scheduler(deterministic=deterministic)
    scheduler.add(node("b", order=2)).add(node("a", order=1))
    scheduler.tick_once()
    scheduler.tick_once(["b"])
    assert hooks() == [
        ("init", "a"), ("init", "b"), ("tick", "a"), ("tick", "b"), ("tick", "b"),
    ]  # fmt: skip
    assert {thread for *_, thread in log} == {threading.get_ident()}
    assert scheduler.current_tick() == 2
    scheduler.stop()
    assert hooks()[-2:] == [("shutdown", "b"), ("shutdown", "a")]
    log.clear()
    with Scheduler() as other:
        other.add(node("a")).tick_once()
    assert hooks() == [("init", "a"), ("tick", "a"), ("shutdown", "a")]


def test_a_run_goes_on_where_steps_ended() -> None:
    scheduler = Scheduler().add(node(rate=50))
    scheduler.tick_once()
    scheduler.run(0.06)
    ticks = hooks().count(("tick", "a"))
    assert hooks() == [("init", "a"), *[("tick", "a")] * ticks, ("shutdown", "a")]
    assert (ticks > 1, released(scheduler)) == (True, 3)


def test_failures_in_steps(caplog: pytest.LogCaptureFixture) -> None:
    def fail(node: Node) -> None:
        log.append(("tick", node.name, 0))
        raise ValueError("boom")

    scheduler = Scheduler().add(node("ignore", tick=fail, shutdown=boom))
    scheduler.add(node("restart", tick=fail, failure_policy="restart"))
    scheduler.add(node("skip", tick=fail, failure_policy="skip"))
    scheduler.add(node("unready", init=boom))
    for _ in range(7):
        scheduler.tick_once()
    ticks = [name for what, name in hooks() if what == "tick"]
    assert ticks.count("ignore") == 7
    assert ticks.count("skip") == 5
    assert ticks.count("restart") == 1  # the next one after 0.1 s
    assert ticks.count("unready") == 0
    assert ("shutdown", "restart") in hooks()
    scheduler.stop()
    assert hooks()[-1] == ("shutdown", "skip")
    assert "node 'ignore': shutdown failed" in caplog.text


def test_a_fatal_failure_in_a_step() -> None:
    scheduler = Scheduler().add(node(tick=boom, failure_policy="fatal"))
    with pytest.raises(RunFailed) as caught:
        scheduler.tick_once()
    assert caught.value.exceptions[0].__notes__ == ["in node 'a', failure 1"]
    scheduler.stop()


def test_a_node_that_leaves_between_steps_is_shut_down() -> None:
    scheduler = Scheduler().add(node())
    scheduler.tick_once()
    assert scheduler.remove_node("a")
    assert hooks()[-1] == ("shutdown", "a")
    assert not scheduler.has_node("a")


def test_some_nodes_for_a_while() -> None:
    scheduler = Scheduler().add(node("a")).add(node("b"))
    scheduler.tick_for(0.05, ["b"])
    assert ("tick", "b") in hooks()
    assert ("tick", "a") not in hooks()
    assert ("init", "a") in hooks()
    log.clear()
    scheduler.tick_for(0.05)
    assert ("tick", "a") in hooks()


# Bad input


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.get_node_stats("b"),
        lambda s: s.set_node_rate("b", 1),
        lambda s: s.set_tick_budget("b", 1),
        lambda s: s.add_critical_node("b", 1),
        lambda s: s.tick_once(["b"]),
        lambda s: s.tick_for(1, ["b"]),
    ],
)
def test_a_name_of_no_node(call: Callable[[Scheduler], object]) -> None:
    with pytest.raises(HorusNotFoundError, match="Node 'b' not found"):
        call(Scheduler().add(node()))


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.run(-1),
        lambda s: s.tick_for(0),
        lambda s: s.set_node_rate("a", 0),
        lambda s: s.set_node_rate("a", 10_001),
        lambda s: s.set_tick_budget("a", 0),
        lambda s: s.add_critical_node("a", 0),
        lambda s: s.add(node("b", failure_policy="never")),
        lambda s: s.add(node("", rate=1)),
        lambda s: s.add(node("b", on_miss="never")),
        lambda s: s.add(node("b", budget=0.1, compute=True)),
    ],
)
def test_values_that_make_no_sense(call: Callable[[Scheduler], object]) -> None:
    with pytest.raises(Refused) as caught:
        call(Scheduler().add(node()))
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(("what", "most", "more"), [("budget", 1.0, 300), ("deadline", 5.0, 900)])
def test_microseconds_that_are_taken_for_seconds(what: str, most: float, more: float) -> None:
    scheduler = Scheduler().add(node("a", **{what: most}))
    with pytest.raises(ValueError, match=rf"{what}={more} is unusually large.*{more} \* us"):
        scheduler.add(node("b", **{what: more}))
    assert not scheduler.has_node("b")


def test_values_of_wrong_types() -> None:
    with pytest.raises(TypeError, match=r"budget='x'"):
        Scheduler().add(node(budget="x"))
    with pytest.raises(TypeError, match=r"Expected horus\.Node instance, got int"):
        Scheduler().add(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"name=5"):
        Scheduler().add(Node(5))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"on=5"):
        Scheduler().add(node(on=5))
    with pytest.raises(ConfigurationError, match=r"order=1\.5"):
        Scheduler().add(node(order=1.5))
    with pytest.raises(ValueError, match="tick_rate"):
        Scheduler(tick_rate=0)


def test_names_are_unique() -> None:
    scheduler = Scheduler().add(node())
    with pytest.raises(ConfigurationError, match="a node named 'a' already"):
        scheduler.add(node())


def test_a_node_runs_in_one_scheduler_at_a_time() -> None:
    shared = node()
    one, other = Scheduler().add(shared), Scheduler().add(shared)
    one.tick_once()
    with pytest.raises(RunFailed) as caught:
        other.run(0.05)
    assert isinstance(caught.value.exceptions[0], AlreadyRunning)
    one.stop()
    other.run(0.05)


def test_a_run_inside_a_node() -> None:
    refused: list[str] = []

    def nest(node: Node) -> None:
        calls: list[Callable[[], object]] = [horus.run, Scheduler().tick_once]
        for call in calls:
            with pytest.raises(Refused) as caught:
                call()
            refused.append(str(caught.value))

    horus.run(Node("outer", nest, rate=2), duration=0.3)
    assert "Scheduler.run() was called in node 'outer'" in refused[0]
    assert "Scheduler.tick_once() was called in node 'outer'" in refused[1]
    refused.clear()
    native = horus_trio.Node("native", tick=nest, rate=2)
    horus_trio.run(native, duration=0.3)
    assert "was called in node 'native'" in refused[0]


def test_a_run_on_a_loop() -> None:
    scheduler = Scheduler().add(node())

    async def on_trio() -> None:
        with pytest.raises(Refused, match=r"await scheduler\.engine\.run"):
            scheduler.run(1)
        await scheduler.engine.run(0.02)
        await trio.to_thread.run_sync(scheduler.run, 0.02)

    async def on_asyncio() -> None:
        with pytest.raises(Refused, match=r"await asyncio\.to_thread"):
            scheduler.run(1)
        await asyncio.to_thread(scheduler.run, 0.02)

    trio.run(on_trio)
    asyncio.run(on_asyncio())
    assert hooks().count(("init", "a")) == 3


def test_what_has_no_effect_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = Scheduler(
        rt=True, blackbox_mb=1, recording=True, cores=[0], max_deadline_misses=3, verbose=True,
        telemetry="http://127.0.0.1:9", net=True,
    )  # fmt: skip
    scheduler.add(node(priority=50, core=1))
    with caplog.at_level(logging.WARNING):
        scheduler.run(0)
        scheduler.run(0)
    degradations = scheduler.degradations()
    assert len(degradations) == 10
    assert [r.getMessage() for r in caplog.records if "no effect" in r.getMessage()] == degradations
    assert "Scheduler(rt=True) has no effect: there are no real-time threads" in degradations[0]
    assert not scheduler.has_full_rt()
    assert scheduler.capabilities()["preempt_rt"] is False
    assert Scheduler().degradations() == []


def test_recordings() -> None:
    scheduler = Scheduler(recording=True)
    assert not scheduler.is_recording()
    assert not scheduler.is_replaying()
    assert scheduler.stop_recording() == scheduler.list_recordings() == []
    assert not scheduler.delete_recording("x")
    calls: list[Callable[[], object]] = [
        lambda: Scheduler.replay_from("x"),
        lambda: scheduler.add_replay("x"),
        lambda: scheduler.start_at_tick(1),
        lambda: scheduler.stop_at_tick(1),
        lambda: scheduler.set_replay_speed(2.0),
        lambda: scheduler.set_replay_override("a", "b", b""),
    ]
    for call in calls:
        with pytest.raises(OutOfScope, match="nothing is recorded or replayed"):
            call()


def test_topics_are_those_of_the_process() -> None:
    topic = horus.Topic("shared")
    node = Node("a", lambda node: node.send("shared", {"n": 1}), rate=50)
    scheduler = Scheduler().add(node)
    scheduler.run(0.05)
    received = 0
    while topic.recv() is not None:
        received += 1
    assert received == scheduler.get_node_stats("a")["messages_sent"] > 0


def test_logs_are_shown_unless_logging_is_set_up(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(node: Node) -> None:
        node.log_info("seen")
        node.log_debug("hidden")
        node.log_warning("a warning")
        node.log_error("an error")

    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    horus.run(Node("cam", init=say), duration=0)
    err = capfd.readouterr().err
    assert err.splitlines()[:3] == [
        "[INFO] [cam] seen", "[WARNING] [cam] a warning", "[ERROR] [cam] an error",
    ]  # fmt: skip
    monkeypatch.setenv("HORUS_LOG_LEVEL", "debug")
    horus.run(Node("cam", init=say), duration=0)
    assert "[DEBUG] [cam] hidden" in capfd.readouterr().err
    assert logging.getLogger("horus_trio").handlers == []
    own = logging.handlers.BufferingHandler(capacity=100)
    monkeypatch.setattr(logging.getLogger(), "handlers", [own])
    horus.run(Node("cam", init=say), duration=0)
    assert capfd.readouterr().err == ""
    of_node = [record for record in own.buffer if record.name == "horus_trio.node.cam"]
    assert "an error" in [record.getMessage() for record in of_node]


def test_who_stops_it_is_in_the_report() -> None:
    scheduler = Scheduler(name="robot")
    scheduler.add(Node("a", lambda node: node.request_stop(), rate=50))
    scheduler.run(5)
    assert scheduler.engine.report is not None
    assert scheduler.engine.report.reason == "a node requested it"
    assert scheduler.scheduler_name() == "robot"
    assert (scheduler.get_node_count(), scheduler.get_node_info("a")) == (1, 0)
    assert scheduler.get_node_info("b") is None
    assert Scheduler().safety_stats() is None
    assert repr(scheduler) == "<horus.Scheduler 'robot', 1 node(s)>"


def test_a_stop_before_the_first_run_counts_once() -> None:
    scheduler = Scheduler().add(node(rate=50))
    scheduler.stop()
    scheduler.run(5)
    assert hooks() == [("init", "a"), ("shutdown", "a")]
    scheduler.run(0.03)
    assert released(scheduler) == 2
    scheduler.stop()
    scheduler.run(0.03)
    assert released(scheduler) == 2


def test_a_stop_while_the_run_begins() -> None:
    for delay in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008):
        scheduler = Scheduler().add(node())
        thread = threading.Thread(target=scheduler.run)
        thread.start()
        time.sleep(delay)
        scheduler.stop()
        thread.join(10)
        assert not thread.is_alive()
        assert hooks().count(("init", "a")) == hooks().count(("shutdown", "a"))


def test_a_stop_in_init() -> None:
    def init(node: Node) -> None:
        scheduler.stop()

    scheduler = Scheduler().add(node(init=init))
    scheduler.run(10)
    assert hooks().count(("tick", "a")) < 100
    assert hooks()[-1] == ("shutdown", "a")


def test_steps_until_a_node_requests_the_stop() -> None:
    def tick(node: Node) -> None:
        noted("tick")(node)
        if len(log) == 4:
            node.request_stop()

    scheduler = Scheduler().add(node(tick=tick))
    assert scheduler.is_running()
    while scheduler.is_running():
        scheduler.tick_once()
    assert hooks() == [("init", "a"), *[("tick", "a")] * 3]
    assert scheduler.status() == "stopped"
    scheduler.stop()
    assert hooks()[-1] == ("shutdown", "a")


def test_hooks_have_the_time_they_need() -> None:
    scheduler = Scheduler().add(node())
    options = scheduler.engine._member("a").options
    assert (options.init_timeout, options.shutdown_timeout) == (600.0, 3.0)


def test_no_warning_is_left_to_others() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        horus.run(node(), duration=0.02)


def test_a_configuration_stands_for_its_arguments() -> None:
    config = SchedulerConfig.with_watchdog().rate(50.0)
    config.watchdog_timeout_ms = 250
    scheduler = Scheduler(config, name="rover")
    assert (scheduler.engine.settings.tick_rate, scheduler.scheduler_name()) == (50.0, "rover")
    scheduler.add(Node("slow", tick=lambda node: time.sleep(0.5), rate=10))
    assert scheduler.engine._member("slow").options.tick_timeout == 0.25
    assert scheduler.degradations() == []
    config.recording_enabled = True
    assert "recording" in Scheduler(config=config).degradations()[0]
    with pytest.raises(TypeError, match="expected a SchedulerConfig"):
        Scheduler(50.0)  # type: ignore[arg-type]
