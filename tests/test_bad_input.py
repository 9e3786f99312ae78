"""Bad input is a clear error that names the value and the remedy, and never a hang."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio as horus

Options = dict[str, Any]

NONSENSE = [0, -1, math.nan, math.inf, -math.inf, "10", True, [1]]


def idle(node: horus.Node) -> None:
    """A tick."""


class Quiet(horus.AsyncNode):
    """A node that is well."""

    async def tick_async(self) -> None:
        """Nothing to do."""


def says(*parts: object) -> str:
    """A pattern for a message with these parts, in this order."""
    return ".*".join(re.escape(str(part)) for part in parts)


def run_here(scheduler: horus.Scheduler, duration: float | None = None) -> horus.RunReport:
    """Run under a virtual clock; the test fails when a minute of it has passed."""

    async def main() -> horus.RunReport:
        with trio.fail_after(60):
            return await scheduler.run(duration)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# Names


def test_a_name_is_given_once() -> None:
    scheduler = horus.Scheduler().add(Quiet("arm"))
    with pytest.raises(horus.ConfigurationError, match=says("'arm'", "another name=")):
        scheduler.add(Quiet("arm"))
    assert run_here(scheduler, 0).ok


async def test_a_name_is_given_once_while_running(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler().add(Quiet("arm"))
    with trio.fail_after(60):
        await nursery.start(scheduler.run)
        with pytest.raises(horus.ConfigurationError, match=says("'arm'", "another name=")):
            scheduler.add(Quiet("arm"))
        scheduler.stop()


def test_unnamed_nodes_are_numbered_around_given_names() -> None:
    scheduler = horus.Scheduler().add(Quiet("Quiet-1")).add(Quiet()).add(Quiet)
    assert list(scheduler.statistics().nodes) == ["Quiet-1", "Quiet-2", "Quiet-3"]


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "\u202e", 5, b"arm", ["arm"]])
@pytest.mark.parametrize("where", ["constructor", "class", "add"])
def test_a_name_is_printable(name: Any, where: str) -> None:
    with pytest.raises(
        horus.ConfigurationError,
        match=says(f"name={name!r}", "expected a printable, non-empty str"),
    ):
        add_with("name", name, where)


@pytest.mark.parametrize("name", ["Kamera-Süd", "カメラ", "a b", "arm/left"])
def test_a_printable_name_is_fine(name: str) -> None:
    assert run_here(horus.Scheduler().add(Quiet(name)), 0).statistics.nodes.keys() == {name}


# Options


@pytest.mark.parametrize("option", ["rate", "deadline", "tick_timeout"])
@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize("where", ["constructor", "class", "add"])
def test_an_optional_number_is_finite_and_above_zero(option: str, value: Any, where: str) -> None:
    with pytest.raises(
        horus.ConfigurationError, match=says(f"{option}={value!r}, expected", "above 0", "or None")
    ):
        add_with(option, value, where)


@pytest.mark.parametrize("option", ["init_timeout", "shutdown_timeout"])
@pytest.mark.parametrize("value", [*NONSENSE, None])
def test_a_limit_is_finite_and_above_zero(option: str, value: Any) -> None:
    with pytest.raises(
        horus.ConfigurationError,
        match=says(f"{option}={value!r}, expected a finite number of seconds above 0"),
    ):
        add_with(option, value, "add")


def add_with(option: str, value: Any, where: str) -> None:
    options: Options = {option: value}
    if where == "constructor":
        horus.Scheduler().add(Quiet(**options))
    elif where == "add":
        horus.Scheduler().add(Quiet(), **options)
    else:
        horus.Scheduler().add(type("Odd", (Quiet,), options)())


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("rate", 1e300, "at most 1e+06"),
        ("phase", -0.1, "0 or more"),
        ("phase", math.nan, "0 or more"),
        ("phase", None, "0 or more"),
        ("phase", "even", "0 or more"),
        ("order", 1.5, "a whole number"),
        ("order", math.inf, "a whole number"),
        ("order", False, "a whole number"),
        ("tick_timeout", "never", "or None"),
        ("on_miss", "skip", "Miss.SKIP"),
        ("failure_policy", horus.Restart, "(an instance)"),
        ("failure_policy", None, "Restart(…)"),
        ("failure_policy", "restart", "Restart(…)"),
        ("critical", 1, "True or False"),
        ("thread", "mine", "'pool', 'own' or 'process'"),
        ("thread", None, "'pool', 'own' or 'process'"),
        ("limiter", 4, "a trio.CapacityLimiter, or None"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_when_added(
    option: str, value: Any, expected: str
) -> None:
    with pytest.raises(
        horus.ConfigurationError, match=says("Quiet", f"{option}={value!r}", "expected", expected)
    ):
        add_with(option, value, "add")


@pytest.mark.parametrize("option", ["on", "subs", "pubs"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "=5, expected topic names or horus_trio."),
        (0, "=0, expected topic names or horus_trio."),
        ([5], " has 5, expected topic names or horus_trio."),
        ([None], " has None, expected topic names"),
        (["a", "b", "a"], " names topic 'a' twice"),
        ("", "'': expected a printable, non-empty str"),
        (["a\n"], r"'a\n': expected a printable, non-empty str"),
    ],
)
def test_topics_are_named_properly(option: str, value: Any, message: str) -> None:
    with pytest.raises(horus.ConfigurationError, match=says(message)):
        add_with(option, value, "add")


def test_a_publication_is_no_subscription() -> None:
    with pytest.raises(horus.ConfigurationError, match=says("subs has Pub(", "horus_trio.Sub(…)")):
        add_with("subs", [horus.Pub("a")], "add")


@pytest.mark.parametrize("where", ["constructor", "add"])
def test_an_unknown_option_is_answered_with_the_nearest(where: str) -> None:
    with pytest.raises(
        horus.ConfigurationError, match=says("no option 'tick_time_out'", "'tick_timeout'?")
    ):
        add_with("tick_time_out", 1.0, where)


def test_an_unknown_option_far_from_all_lists_some() -> None:
    with pytest.raises(
        horus.ConfigurationError, match=says("no option 'zzz'", "there are 'critical'")
    ):
        add_with("zzz", 1, "add")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: horus.Sub("x", capacity=0), "capacity is 0, expected 1 or more"),
        (lambda: horus.Sub("x", capacity=1.5), "capacity is 1.5, expected a whole number"),  # type: ignore[arg-type]
        (lambda: horus.Sub("x", capacity=True), "capacity is True, expected a whole number"),
        (
            lambda: horus.Sub("x", overflow="latest"),  # type: ignore[arg-type]
            "overflow is 'latest', expected a horus_trio.Ov",
        ),
        (lambda: horus.Sub("x", max_age=0), "max_age is 0, expected a finite number of seconds"),
        (lambda: horus.Sub("x", max_age=math.nan), "max_age is nan, expected a finite"),
        (lambda: horus.Sub("x", max_age="1"), "max_age is '1', expected a finite"),  # type: ignore[arg-type]
        (lambda: horus.Sub("x", on_stale=5), "on_stale is 5, expected a function"),  # type: ignore[arg-type]
        (
            lambda: horus.Sub("x", type="Frame"),  # type: ignore[arg-type]
            "Sub('x'): type is 'Frame', expected a class or None",
        ),
        (lambda: horus.Pub("x", type=5), "Pub('x'): type is 5, expected a class or None"),  # type: ignore[arg-type]
        (lambda: horus.Pub(""), "topic name '': expected a printable"),
        (lambda: horus.Sub(None), "topic name None: expected a printable"),  # type: ignore[arg-type]
    ],
)
def test_a_declaration_is_refused_where_it_is_written(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(horus.ConfigurationError, match=says(message)):
        make()


# The scheduler's own values


@pytest.mark.parametrize("option", ["tick_rate", "stop_timeout", "stall_after", "switch_interval"])
@pytest.mark.parametrize("value", NONSENSE)
def test_a_setting_is_finite_and_above_zero(option: str, value: Any) -> None:
    options: Options = {option: value}
    with pytest.raises(
        horus.ConfigurationError, match=says(f"{option}={value!r}", "expected a finite number of")
    ):
        horus.Scheduler(**options)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("tick_rate", 1e18, "at most 1e+06 Hz"),
        ("name", "", "a printable, non-empty str"),
        ("name", "a\tb", "a printable, non-empty str"),
        ("name", 5, "a printable, non-empty str"),
        ("limiter", 4, "a trio.CapacityLimiter, or None for one of 4"),
        ("max_abandoned", -1, "a whole number, 0 or more"),
        ("max_abandoned", 1.5, "a whole number, 0 or more"),
        ("max_abandoned", True, "a whole number, 0 or more"),
        ("max_abandoned", math.inf, "a whole number, 0 or more"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(option: str, value: Any, expected: str) -> None:
    options: Options = {option: value}
    with pytest.raises(
        horus.ConfigurationError, match=says(f"{option}={value!r}: expected", expected)
    ):
        horus.Scheduler(**options)


@pytest.mark.parametrize("duration", [-1, -1e-9, math.nan, math.inf, "3", True, [3]])
def test_a_duration_is_finite_and_not_negative(duration: Any) -> None:
    scheduler = horus.Scheduler().add(Quiet())
    expected = says(f"duration={duration!r}", "0 or more, or None to run until stopped")
    with pytest.raises(horus.ConfigurationError, match=expected):
        scheduler.run(duration)
    with pytest.raises(horus.ConfigurationError, match=expected):
        run_here(scheduler, duration)
    with pytest.raises(horus.ConfigurationError, match=expected):
        horus.run(Quiet(), duration=duration)
    assert run_here(scheduler, 0).ok  # it is as good as before


def test_settings_at_their_bounds_are_fine() -> None:
    assert horus.Scheduler(1e6, max_abandoned=0).settings.max_abandoned == 0
    tiny = horus.Scheduler(1e-9, stop_timeout=1e-9, stall_after=1e-9, switch_interval=1e-9)
    assert tiny.settings.tick_rate == 1e-9


@pytest.mark.parametrize("duration", [0, 0.0, -0.0])
def test_no_duration_initialises_and_shuts_down(duration: float) -> None:
    calls: list[str] = []

    class Counts(Quiet):
        async def init(self) -> None:
            calls.append("init")

        async def tick_async(self) -> None:
            calls.append("tick")

        async def shutdown(self) -> None:
            calls.append("shutdown")

    report = run_here(horus.Scheduler().add(Counts()), duration)
    assert calls == ["init", "shutdown"]
    assert report.ok
    assert report.duration == 0.0


@pytest.mark.parametrize("hz", NONSENSE)
def test_set_rate_takes_a_rate(hz: Any) -> None:
    scheduler = horus.Scheduler().add(Quiet("arm"))
    with pytest.raises(horus.ConfigurationError, match=says(f"set_rate={hz!r}", "Hz above 0")):
        scheduler.set_rate("arm", hz)


def test_a_robot_without_nodes_says_so() -> None:
    report = run_here(horus.Scheduler(), 1)
    assert "the scheduler has no nodes; add(…) some" in report.warnings


# What is no node


@pytest.mark.parametrize("thing", [5, None, "camera", [Quiet]])
def test_what_is_no_node_is_refused(thing: Any) -> None:
    with pytest.raises(horus.NodeError, match=says(repr(thing), "makes one")):
        horus.Scheduler().add(thing)
    with pytest.raises(horus.NodeError, match="makes one"):
        horus.run(thing)


def test_background_refuses_what_is_no_node() -> None:
    with pytest.raises(horus.NodeError, match=says("add(5)", "makes one")), horus.background(5):  # type: ignore[arg-type]
        pytest.fail("entered")


@pytest.mark.parametrize("made", [5, None, "camera"])
def test_a_factory_makes_nodes(made: Any) -> None:
    with pytest.raises(horus.NodeError, match=says("function that makes one", f"got {made!r}")):
        horus.Scheduler().add(lambda: made)


def test_a_factory_that_later_makes_something_else_fails_the_restart() -> None:
    class Fails(Quiet):
        async def tick_async(self) -> None:
            raise ValueError("no")

    made: list[Any] = [None, Fails()]
    scheduler = horus.Scheduler().add(
        lambda: made.pop(), critical=True, failure_policy=horus.Restart(1)
    )
    with pytest.raises(horus.RunFailed) as caught:
        run_here(scheduler)
    assert [type(error) for error in caught.value.exceptions] == [horus.NodeError]


@pytest.mark.parametrize("tick", [5, "tick", [idle]])
@pytest.mark.parametrize("hook", ["tick", "init", "shutdown", "on_error", "enter_safe_state"])
def test_a_hook_is_a_function(hook: str, tick: Any) -> None:
    options: Options = {hook: tick}
    with pytest.raises(
        horus.NodeError, match=says("'arm'", f"{hook}={tick!r}", "function that takes the node")
    ):
        horus.Node("arm", **options)


@pytest.mark.parametrize("base", [horus.Node, horus.AsyncNode])
def test_a_hook_that_is_an_attribute_is_a_function_too(base: type[horus.Node]) -> None:
    odd = type("Odd", (base,), {"tick": 5})
    with pytest.raises(horus.NodeError, match=says("Odd.tick is 5, expected a function or method")):
        horus.Scheduler().add(odd)


def test_a_node_has_a_tick() -> None:
    with pytest.raises(horus.NodeError, match=says("Node has no tick", "pass tick=function")):
        horus.Scheduler().add(horus.Node("arm"))
    with pytest.raises(horus.NodeError, match=says("has no tick", "async def tick_async(self)")):
        horus.Scheduler().add(horus.AsyncNode("arm"))


def test_a_tick_is_given_once() -> None:
    with pytest.raises(horus.NodeError, match=says("Quiet has both tick and tick_async; keep one")):
        horus.Scheduler().add(Quiet(tick=idle))

    class Ticks(horus.Node):
        def tick(self) -> None:
            """Nothing to do."""

    with pytest.raises(horus.NodeError, match=says("Ticks tick: given twice", "keep one")):
        horus.Scheduler().add(Ticks(tick=idle))

    class Both(Quiet):
        async def tick(self) -> None:
            """Nothing to do."""

    with pytest.raises(horus.NodeError, match=says("Both has both tick and tick_async; keep one")):
        horus.Scheduler().add(Both())


def test_an_init_is_given_once() -> None:
    class Opens(Quiet):
        def init(self) -> None:
            """Nothing to do."""

    with pytest.raises(horus.NodeError, match=says("Opens init: given twice", "init=…; keep one")):
        horus.Scheduler().add(Opens(init=idle))


def test_an_async_node_does_not_tick_in_a_thread() -> None:
    class Blocks(horus.AsyncNode):
        def tick(self) -> None:
            """Nothing to do."""

    with pytest.raises(
        horus.NodeError, match=says("Blocks.tick is a plain def", "`async def tick`")
    ):
        horus.Scheduler().add(Blocks())

    class BlocksToo(horus.AsyncNode):
        def tick_async(self) -> None:  # type: ignore[override]
            """Nothing to do."""

    with pytest.raises(horus.NodeError, match=says("plain def", "`async def tick_async`")):
        horus.Scheduler().add(BlocksToo())


def test_a_subclass_calls_the_base_constructor() -> None:
    class Forgot(Quiet):
        def __init__(self) -> None:
            self.port = "/dev/null"

    for add in (lambda: Forgot(), lambda: Forgot):
        with pytest.raises(
            horus.NodeError,
            match=says("Forgot.__init__", "super().__init__(); make that its first"),
        ):
            horus.Scheduler().add(add())
    assert "Forgot" in repr(Forgot())


async def test_the_executor_refuses_a_subclass_that_forgot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Forgot(Quiet):
        def __init__(self) -> None:
            pass

    async with horus.open_executor() as executor:
        with pytest.raises(horus.NodeError, match=says("super().__init__()")):
            await executor.spawn_node(Forgot())


def test_a_coroutine_out_of_a_plain_tick_is_a_failure_that_says_so() -> None:
    async def work() -> None:
        """Never awaited."""

    class Forgets(horus.Node):
        def tick(self) -> Any:
            return work()

    with pytest.raises(horus.RunFailed) as caught:
        horus.run(Forgets("arm", failure_policy=horus.Fatal()))
    (error,) = caught.value.exceptions
    assert isinstance(error, horus.NodeError)
    assert re.search(says("arm.tick returned a coroutine", "async def"), str(error))


# Who runs what


def test_a_node_is_in_one_scheduler() -> None:
    node = Quiet("arm")
    first = horus.Scheduler().add(node)
    with pytest.raises(horus.AlreadyRunning, match=says("'arm'", "another scheduler", "remove it")):
        horus.Scheduler().add(node)
    with pytest.raises(horus.AlreadyRunning, match=says("'arm'", "this scheduler", "make another")):
        first.add(node)
    first.remove("arm")
    horus.Scheduler().add(node)


def test_a_refused_node_is_free() -> None:
    node = Quiet("arm")
    with pytest.raises(horus.ConfigurationError):
        horus.Scheduler().add(node, rate=0)
    with pytest.raises(horus.ConfigurationError):
        horus.Scheduler().add(Quiet("arm")).add(node)
    with pytest.raises(horus.NodeError):
        horus.run(node, 5)  # type: ignore[arg-type]
    with pytest.raises(horus.NodeError), horus.background([node, 5]):  # type: ignore[list-item]
        pytest.fail("entered")
    horus.Scheduler().add(node)


async def test_a_node_in_an_executor_cannot_run_in_a_scheduler(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Quiet("arm")
    scheduler = horus.Scheduler().add(node)
    with trio.fail_after(60):
        async with horus.open_executor() as executor:
            await executor.spawn_node(node)
            with pytest.raises(horus.AlreadyRunning, match=says("'again'", "one node, one run")):
                await executor.spawn_node(node, name="again")
            with pytest.raises(horus.AlreadyRunning, match=says("'arm'", "one node, one run")):
                await scheduler.run(0)
        assert (await scheduler.run(0)).ok


async def test_a_scheduler_runs_once_at_a_time(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler(name="robot").add(Quiet())
    expected = says("'robot' runs already; make another one")
    with trio.fail_after(60):
        await nursery.start(scheduler.run)
        with pytest.raises(horus.AlreadyRunning, match=expected):
            await scheduler.run()
        with pytest.raises(horus.AlreadyRunning, match=expected):
            scheduler.run(0)
        with pytest.raises(horus.AlreadyRunning, match=expected):
            await trio.to_thread.run_sync(scheduler.run)
        assert scheduler.statistics().running
        scheduler.stop()


async def test_two_coroutines_of_one_scheduler_run_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    scheduler = horus.Scheduler().add(Quiet())
    second = scheduler.run(1)
    with trio.fail_after(60):
        await nursery.start(scheduler.run)
        with pytest.raises(horus.AlreadyRunning):
            await second
        scheduler.stop()


def test_inside_asyncio_the_bridge_is_named() -> None:
    scheduler = horus.Scheduler().add(Quiet())

    async def main() -> None:
        with pytest.raises(horus.NotRunning, match=says("asyncio", "horus_trio.background(nodes)")):
            scheduler.run()
        with pytest.raises(horus.NotRunning, match="asyncio"):
            horus.run(Quiet())

    asyncio.run(main())
    assert run_here(scheduler, 0).ok


def test_def_hooks_under_an_autojump_clock_are_refused_with_the_remedy() -> None:
    scheduler = horus.Scheduler().add(horus.Node("arm", tick=idle))
    with pytest.raises(
        horus.ConfigurationError, match=says("'arm'", "virtual time", "make them async")
    ):
        run_here(scheduler, 1)


def test_a_background_scheduler_keeps_its_own_options() -> None:
    with (
        pytest.raises(horus.ConfigurationError, match=says("tick_rate", "pass them to Scheduler")),
        horus.background(horus.Scheduler(), tick_rate=5),
    ):
        pytest.fail("entered")


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="tickrate"):
        horus.run(Quiet(), tickrate=5)


# Unknown names


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.remove("camra"),
        lambda s: s.pause("camra"),
        lambda s: s.resume("camra"),
        lambda s: s.set_rate("camra", 5),
    ],
)
def test_an_unknown_node_is_answered_with_the_nearest(
    ask: Callable[[horus.Scheduler], None],
) -> None:
    scheduler = horus.Scheduler().add(Quiet("camera")).add(Quiet("arm"))
    with pytest.raises(horus.UnknownNode, match=says("'camra'", "did you mean 'camera'?")):
        ask(scheduler)
    with (
        horus.background(scheduler),  # and from a foreign thread
        pytest.raises(horus.UnknownNode, match=says("'camra'", "did you mean 'camera'?")),
    ):
        ask(scheduler)


def test_an_unknown_node_far_from_all_lists_them() -> None:
    scheduler = horus.Scheduler()
    with pytest.raises(horus.UnknownNode, match=says("'x'; there are none yet")):
        scheduler.pause("x")
    for n in range(9):
        scheduler.add(Quiet(f"node {n}"))
    with pytest.raises(horus.UnknownNode, match=says("'x'; there are 'node 0', ", "'node 7', …")):
        scheduler.pause("x")


async def test_waiting_for_a_node_needs_one_and_a_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scheduler = horus.Scheduler().add(Quiet("arm"))
    with trio.fail_after(60):
        with pytest.raises(horus.UnknownNode, match=says("'amr'", "'arm'?")):
            await scheduler.started("amr")
        with pytest.raises(horus.NotRunning, match=says("'arm'", "does not run")):
            await scheduler.started("arm")


async def test_the_executor_answers_an_unknown_node_with_the_nearest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with horus.open_executor() as executor:
        await executor.spawn_node(Quiet("camera"))
        for unknown in ("camra", Quiet("camra")):
            with pytest.raises(horus.UnknownNode, match=says("camra", "did you mean 'camera'?")):
                executor.tick(unknown)
        with pytest.raises(horus.UnknownNode, match="camera"):
            executor.tick(Quiet("camera"))  # another one of that name


def test_an_unknown_topic_is_answered_with_the_nearest() -> None:
    topics = horus.Topics()
    topics.hub("camera_out")
    with pytest.raises(horus.UnknownTopic, match=says("'camera_ot'", "'camera_out'?")):
        topics.find("camera_ot")


@pytest.mark.parametrize("topic", ["", "a\n", None, 5])
def test_a_topic_has_a_printable_name(topic: Any) -> None:
    expected = says(f"topic name {topic!r}: expected a printable, non-empty str")
    with pytest.raises(horus.ConfigurationError, match=expected):
        horus.Scheduler().topic(topic)
    assert fails_with(lambda node: node.send(topic, 1)) == horus.ConfigurationError
    assert fails_with(lambda node: node.recv(topic)) == horus.ConfigurationError


def fails_with(use: Callable[[horus.Node], object]) -> type[BaseException]:
    """What a node that does this in its tick fails with."""

    async def tick(node: horus.Node) -> None:
        use(node)

    scheduler = horus.Scheduler().add(horus.Node(tick=tick, failure_policy=horus.Fatal()))
    with pytest.raises(horus.RunFailed) as caught:
        run_here(scheduler)
    return type(caught.value.exceptions[0])


# Inside a node


@pytest.mark.parametrize(
    ("use", "instead"),
    [
        (lambda node: node.send_async("a", 1), "send()"),
        (lambda node: node.recv_async("a"), "recv()"),
        (lambda node: node.messages("a"), "recv_all()"),
    ],
)
def test_async_topic_calls_raise_at_the_call_in_a_def_tick(
    use: Callable[[horus.Node], object], instead: str
) -> None:
    scheduler = horus.Scheduler().add(horus.Node("arm", tick=use, failure_policy=horus.Fatal()))
    with pytest.raises(horus.RunFailed) as caught:
        scheduler.run()
    (error,) = caught.value.exceptions
    assert isinstance(error, horus.AsyncCallInThread)
    assert re.search(says("'arm'", "awaited on the Trio loop", f"use {instead} here"), str(error))


def test_a_message_has_the_declared_type() -> None:
    async def tick(node: horus.Node) -> None:
        node.send("speed", "fast")

    scheduler = horus.Scheduler().add(
        horus.Node(tick=tick, pubs=horus.Pub("speed", type=float), failure_policy=horus.Fatal())
    )
    with pytest.raises(horus.RunFailed) as caught:
        run_here(scheduler)
    (error,) = caught.value.exceptions
    assert isinstance(error, horus.MessageTypeError)
    assert re.search(says("'speed' carries float, got str: 'fast'; send a float"), str(error))
    with pytest.raises(horus.MessageTypeError, match=says("'speed' carries float", "got int: 1")):
        scheduler.topic("speed").send(1)


def test_a_huge_message_of_the_wrong_type_is_cut_in_the_error() -> None:
    hub = horus.Hub("speed", message_type=float)
    with pytest.raises(horus.MessageTypeError) as caught:
        hub.send("x" * 10_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("max_age", [-1, math.nan])
def test_an_age_is_not_negative(max_age: float) -> None:
    node, topics = Quiet("arm"), horus.Topics()
    node.connect(topics)
    with pytest.raises(horus.ConfigurationError, match=says(f"max_age={max_age!r}", "0 or more")):
        node.latest("a", max_age=max_age)
    node.disconnect()


@pytest.mark.parametrize(
    "use",
    [
        lambda node: node.send("a", 1),
        lambda node: node.recv("a"),
        lambda node: node.recv_all("a"),
        lambda node: node.latest("a"),
        lambda node: node.age("a"),
        lambda node: node.has_msg("a"),
        lambda node: node.now,
        lambda node: node.dt,
        lambda node: node.current_tick,
        lambda node: node.start_soon(trio.sleep, 1),
        lambda node: node.request_stop(),
    ],
)
def test_outside_a_run_a_node_says_that_it_is_in_none(
    use: Callable[[horus.Node], object],
) -> None:
    with pytest.raises(horus.NotRunning, match=says("'arm'", "in no run")):
        use(Quiet("arm"))


async def test_outside_a_run_the_async_calls_say_so_too() -> None:
    uses: list[Callable[[horus.Node], object]] = [
        lambda node: node.send_async("a", 1),
        lambda node: node.recv_async("a"),
    ]
    for use in uses:
        with pytest.raises(horus.NotRunning, match=says("'arm'", "in no run")):
            use(Quiet("arm"))


def test_a_background_task_is_an_async_function() -> None:
    with pytest.raises(horus.NodeError, match=says("start_soon(5)", "async function")):
        Quiet().start_soon(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [lambda: None, trio.current_time])
def test_a_background_task_that_is_no_async_function_fails_its_node_alone(
    wrong: Callable[[], Any],
) -> None:
    async def tick(node: horus.Node) -> None:
        node.start_soon(wrong)

    scheduler = horus.Scheduler(tick_rate=10).add(Quiet("well"))
    scheduler.add(horus.Node("odd", tick=tick, failure_policy=horus.Restart(1)))
    report = run_here(scheduler, 2)
    assert [failure.node for failure in report.failed] == ["odd"]
    assert "TypeError" in report.failed[0].error
    assert report.statistics.nodes["well"].ok == 20


# Hooks that fail


class Trouble(horus.AsyncNode):
    """Raises in one of its hooks."""

    def __init__(self, where: str, error: BaseException, **options: Any) -> None:
        super().__init__("trouble", **options)
        self.where = where
        self.error = error
        self.calls: list[str] = []

    def _step(self, name: str) -> None:
        self.calls.append(name)
        if name == self.where:
            raise self.error

    async def init(self) -> None:
        self._step("init")

    async def tick_async(self) -> None:
        self._step("tick")

    async def shutdown(self) -> None:
        self._step("shutdown")

    async def enter_safe_state(self) -> None:
        self._step("enter_safe_state")


def test_an_init_that_raises_is_tried_again_and_then_fails() -> None:
    node = Trouble("init", OSError("no camera"), failure_policy=horus.Restart(2))
    report = run_here(horus.Scheduler(tick_rate=10).add(node).add(Quiet("well")), 5)
    assert node.calls == ["init", "init", "init"]  # no shutdown: it was never initialised
    assert [failure.node for failure in report.failed] == ["trouble"]
    assert "no camera" in report.failed[0].error
    assert "init, failure 3 of 2 in 60 s" in report.failed[0].error
    assert report.statistics.nodes["well"].ok == 50


def test_a_fatal_init_ends_the_run() -> None:
    error = OSError("no camera")
    node = Trouble("init", error, failure_policy=horus.Fatal())
    with pytest.raises(horus.RunFailed) as caught:
        run_here(horus.Scheduler().add(node))
    assert caught.value.exceptions == (error,)
    assert error.__notes__ == ["in node 'trouble', init, failure 1"]


@pytest.mark.parametrize("policy", [horus.Ignore(), horus.CircuitBreaker(1, cooldown=2.0)])
def test_no_policy_ticks_a_node_that_was_not_initialised(policy: horus.FailurePolicy) -> None:
    node = Trouble("init", OSError("no camera"), failure_policy=policy)
    report = run_here(horus.Scheduler().add(node).add(Quiet()), 10)
    assert set(node.calls) == {"init"}
    assert 5 <= len(node.calls) <= 11
    assert report.failed == ()


def test_an_init_that_hangs_is_given_up() -> None:
    class Hangs(Quiet):
        async def init(self) -> None:
            await trio.sleep_forever()

    scheduler = horus.Scheduler().add(Quiet("well"))
    scheduler.add(Hangs("hangs", init_timeout=2, failure_policy=horus.Restart(0)))
    report = run_here(scheduler, 1)
    assert "HookTimedOut: init of node 'hangs' took longer than 2 s" in report.failed[0].error
    assert report.statistics.nodes["well"].ok == 100


def test_a_def_init_that_hangs_is_left_behind_and_named() -> None:
    release = threading.Event()

    class Hangs(horus.Node):
        def init(self) -> None:
            release.wait(20)

        def tick(self) -> None:
            """Never called."""

    scheduler = horus.Scheduler(stop_timeout=1).add(
        Hangs("hangs", init_timeout=0.05, shutdown_timeout=0.05, failure_policy=horus.Fatal())
    )
    release_soon = threading.Timer(0.6, release.set)
    release_soon.start()
    try:
        with pytest.raises(horus.RunFailed, match="hangs") as caught:
            scheduler.run()
    finally:
        release.set()
        release_soon.join()
    assert [type(error) for error in caught.value.exceptions] == [horus.HookTimedOut]


async def test_an_init_that_is_cancelled_is_cleaned_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    unwound = []

    class Slow(Quiet):
        async def init(self) -> None:
            try:
                await trio.sleep(1000)
            finally:
                unwound.append(trio.current_time())

        async def shutdown(self) -> None:
            unwound.append(math.inf)  # must not be called

    scheduler = horus.Scheduler().add(Slow("slow", init_timeout=2000))
    with trio.move_on_after(5) as scope:
        await scheduler.run()
    assert scope.cancelled_caught
    assert unwound == [5.5]  # half a second of grace
    assert scheduler.statistics().nodes["slow"].state is horus.NodeState.STOPPED


@pytest.mark.parametrize("where", ["init", "tick"])
def test_system_exit_is_a_failure(where: str) -> None:
    node = Trouble(where, SystemExit(3), failure_policy=horus.Restart(1), critical=True)
    with pytest.raises(horus.RunFailed) as caught:
        run_here(horus.Scheduler().add(node).add(Quiet()))
    (error,) = caught.value.exceptions
    assert isinstance(error, horus.NodeExited)
    assert isinstance(error.__cause__, SystemExit)
    assert "node 'trouble' raised SystemExit(3)" in str(error)


@pytest.mark.parametrize("where", ["init", "tick"])
def test_system_exit_in_a_group_is_a_failure_of_its_own(where: str) -> None:
    group = BaseExceptionGroup("two", [SystemExit(3), ValueError("x")])
    node = Trouble(where, group, failure_policy=horus.Fatal())
    with pytest.raises(horus.RunFailed) as caught:
        run_here(horus.Scheduler().add(node))
    assert [type(e) for e in caught.value.exceptions] == [horus.NodeExited, ValueError]
    assert all("in node 'trouble'" in e.__notes__[0] for e in caught.value.exceptions)


def test_system_exit_in_a_background_task_is_a_failure() -> None:
    async def leave() -> None:
        raise BaseExceptionGroup("one", [SystemExit(3)])

    async def init(node: horus.Node) -> None:
        node.start_soon(leave)

    async def tick(node: horus.Node) -> None:
        """Nothing to do."""

    node = horus.Node("arm", tick=tick, init=init, failure_policy=horus.Fatal())
    with pytest.raises(horus.RunFailed) as caught:
        run_here(horus.Scheduler().add(node))
    assert [type(e) for e in caught.value.exceptions] == [horus.NodeExited]


@pytest.mark.parametrize("where", ["init", "tick"])
def test_keyboard_interrupt_is_a_stop_request(where: str) -> None:
    node = Trouble(where, KeyboardInterrupt())
    report = run_here(horus.Scheduler().add(node).add(Quiet("well")))
    assert report.reason == "KeyboardInterrupt in node 'trouble'"
    assert report.failed == ()
    assert report.statistics.nodes["well"].state is horus.NodeState.STOPPED


def test_keyboard_interrupt_in_a_group_is_a_stop_request() -> None:
    node = Trouble("tick", BaseExceptionGroup("two", [KeyboardInterrupt(), ValueError()]))
    report = run_here(horus.Scheduler().add(node))
    assert report.reason == "KeyboardInterrupt in node 'trouble'"


def test_keyboard_interrupt_in_a_background_task_is_a_stop_request() -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    async def tick(node: horus.Node) -> None:
        node.start_soon(interrupt)

    report = run_here(horus.Scheduler().add(horus.Node("arm", tick=tick)))
    assert report.reason == "KeyboardInterrupt in node 'arm'"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), ValueError("x")])
def test_a_shutdown_that_raises_is_reported_and_hides_nothing(error: BaseException) -> None:
    node = Trouble("shutdown", error)
    report = run_here(horus.Scheduler(tick_rate=10).add(node).add(Quiet("well")), 1)
    assert not report.ok
    (text,) = report.hook_errors
    assert text.startswith("shutdown of node 'trouble': ")
    assert type(error).__name__ in text
    assert report.statistics.nodes["well"].ok == 10
    assert report.statistics.nodes["trouble"].ok == 10


def test_an_on_error_that_raises_changes_nothing() -> None:
    async def on_error(node: horus.Node, error: BaseException) -> None:
        raise RuntimeError("in on_error")

    async def tick(node: horus.Node) -> None:
        raise ValueError("in tick")

    scheduler = horus.Scheduler(tick_rate=10).add(
        horus.Node("arm", tick=tick, on_error=on_error, failure_policy=horus.Ignore())
    )
    report = run_here(scheduler, 1)
    assert report.statistics.nodes["arm"].errors == 10
    assert report.statistics.nodes["arm"].observer_errors == 10
    assert "on_error of node 'arm'" in report.hook_errors[0]
    assert "in on_error" in report.hook_errors[0]


def test_a_safe_state_that_raises_does_not_hide_the_failure() -> None:
    node = Trouble("enter_safe_state", RuntimeError("stuck valve"), failure_policy=horus.Fatal())
    node.where = "tick"
    node.error = ValueError("first")

    async def unsafe() -> None:
        raise RuntimeError("stuck valve")

    node.enter_safe_state = unsafe  # type: ignore[method-assign]
    with pytest.raises(horus.RunFailed) as caught:
        run_here(horus.Scheduler().add(node))
    assert caught.value.exceptions == (node.error,)
    assert "stuck valve" in caught.value.report.hook_errors[0]


# Observers that fail


@pytest.mark.parametrize("callback", [None, 5, "print"])
def test_a_result_callback_is_a_function(callback: Any) -> None:
    with pytest.raises(
        horus.ConfigurationError, match=says(f"on_result({callback!r})", "plain function")
    ):
        horus.Scheduler().on_result(callback)


def test_a_result_callback_is_not_async() -> None:
    async def callback(result: horus.AsyncResult) -> None:
        """Nobody would await it."""

    with pytest.raises(horus.ConfigurationError, match=says("plain function", "open_results()")):
        horus.Scheduler().on_result(callback)


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, None])
async def test_a_result_channel_holds_something(capacity: Any) -> None:
    with pytest.raises(
        horus.ConfigurationError, match=says(f"capacity is {capacity!r}", "above 0")
    ):
        async with horus.Scheduler().open_results(capacity):
            pytest.fail("entered")


def test_a_stop_request_from_a_callback_is_heeded() -> None:
    scheduler = horus.Scheduler().add(Quiet())
    scheduler.on_result(lambda result: scheduler.stop("seen enough"))
    assert run_here(scheduler).reason == "seen enough"


def test_a_log_handler_that_raises_does_not_silence_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[str] = []

    class Breaks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            raise ValueError("handler")

    async def tick(node: horus.Node) -> None:
        seq = node.current_tick.seq if node.current_tick else 0
        node.log.warning("tick %d", seq)

    handler = Breaks()
    logger = logging.getLogger("horus_trio.node.arm")
    logger.addHandler(handler)
    try:
        report = run_here(horus.Scheduler(tick_rate=10).add(horus.Node("arm", tick=tick)), 1)
    finally:
        logger.removeHandler(handler)
    assert report.ok
    assert seen == [f"tick {n}" for n in range(1, 11)]
    assert "ValueError: handler" in capsys.readouterr().err
