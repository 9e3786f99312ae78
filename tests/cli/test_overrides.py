"""``--set``: what it understands, what it changes, and what it refuses."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import trio

import horus_trio as horus
from horus_trio.cli.errors import CommandFailed
from horus_trio.cli.overrides import apply, parse_override


class Camera(horus.Node):
    rate = 30

    def tick(self) -> None:
        pass


class Looped(horus.AsyncNode):
    async def tick_async(self) -> None:
        pass


class Idle(horus.Node):
    def tick(self) -> None:
        pass


def robot() -> horus.Scheduler:
    scheduler = horus.Scheduler()
    return scheduler.add(Camera("camera")).add(Idle("arm.left idle")).add(Looped("looped"))


@pytest.mark.parametrize(
    ("text", "node", "option", "value"),
    [
        ("camera.rate=15", "camera", "rate", 15),
        ("camera.tick_timeout=0.5", "camera", "tick_timeout", 0.5),
        ("camera.tick_timeout=none", "camera", "tick_timeout", None),
        ("camera.critical=true", "camera", "critical", True),
        ("camera.critical=False", "camera", "critical", False),
        ("camera.thread=own", "camera", "thread", "own"),
        ("camera.thread='own'", "camera", "thread", "own"),
        ("camera.order=-2", "camera", "order", -2),
        ("arm.left idle.rate = 5", "arm.left idle", "rate", 5),
        ("camera.on=['a', 'b']", "camera", "on", ["a", "b"]),
        ("camera.on=front/image", "camera", "on", "front/image"),
        ("camera.on_miss=Miss.WARN", "camera", "on_miss", horus.Miss.WARN),
        ("camera.failure_policy=Fatal()", "camera", "failure_policy", horus.Fatal()),
        (
            "camera.failure_policy=Restart(max_restarts=2, within=None)",
            "camera",
            "failure_policy",
            horus.Restart(max_restarts=2, within=None),
        ),
        (
            "camera.subs=[Sub('a', capacity=3, overflow=Overflow.LATEST), 'b']",
            "camera",
            "subs",
            [horus.Sub("a", capacity=3, overflow=horus.Overflow.LATEST), "b"],
        ),
    ],
)
def test_a_value_is_understood(text: str, node: str, option: str, value: Any) -> None:
    override = parse_override(text)
    assert (override.node, override.option, override.value) == (node, option, value)
    apply(robot().add(Idle("other")), [override])  # the options themselves agree


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("camera.rate", "'camera.rate': expected NODE.OPTION=VALUE"),
        ("rate=15", "'rate=15': expected NODE.OPTION=VALUE"),
        (".rate=15", "expected NODE.OPTION=VALUE"),
        ("camera.=15", "expected NODE.OPTION=VALUE"),
        ("camera.x=open('/etc/passwd')", "is no value; expected a literal, CircuitBreaker, Fatal"),
        ("camera.x=__import__('os').system('true')", "is no value"),
        ("camera.x=[y for y in (1,)]", "is no value"),
        ("camera.x=Restart(2, max_restarts=1)", "multiple values"),
        ("camera.x=Restart(max_restart=1)", "unexpected keyword argument 'max_restart'"),
        ("camera.x=Restart(max_restarts=-1)", "Restart(max_restarts=-1): expected 0 or more"),
        ("camera.x=Miss.NEVER", "no Miss.NEVER; there are SKIP, WARN"),
        ("camera.x=2**80", "'2 ** 80' is no value"),
    ],
)
def test_what_is_no_value_is_refused(text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        parse_override(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("camra.rate=15", "--set camra.rate=15: no node 'camra'; did you mean 'camera'?"),
        ("camera.rat=15", "camera: no option 'rat'; did you mean 'rate'?"),
        ("camera.rate=fast", "camera: rate='fast', expected a number of Hz above 0"),
        ("camera.rate=-1", "camera: rate=-1, expected a number of Hz"),
        ("camera.critical=1", "camera: critical=1, expected True or False"),
        ("camera.on_miss=never", "camera: on_miss='never', expected a horus_trio.Miss"),
        ("camera.failure_policy=Fatal", "camera: failure_policy='Fatal', expected Restart(…)"),
        ("camera.limiter=-1", "camera: limiter=-1, expected a trio.CapacityLimiter"),
        ("looped.thread=process", "node 'looped' has thread='process' and an async tick"),
        ("camera.name=other", "camera: a node that was added keeps its name"),
        ("scheduler.tick_rat=5", "no option 'tick_rat'; did you mean 'tick_rate'?"),
        ("scheduler.tick_rate=0", "tick_rate=0: expected a finite number of Hz above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(text: str, said: str) -> None:
    scheduler = robot()
    before = scheduler.settings, scheduler._members["camera"].options
    with pytest.raises(CommandFailed) as refused:
        apply(scheduler, [parse_override(text)])
    assert said in str(refused.value)
    assert refused.value.code == 2
    assert before == (scheduler.settings, scheduler._members["camera"].options)


def test_options_of_nodes_and_of_the_scheduler_are_changed() -> None:
    scheduler = robot()
    texts = [
        "camera.rate=15",
        "camera.on_miss=catch_up",
        "camera.limiter=2",
        "scheduler.tick_rate=50",
        "scheduler.stop_timeout=1",
        "scheduler.name=rover",
        "scheduler.limiter=8",
    ]
    apply(scheduler, map(parse_override, texts))
    nodes = scheduler.statistics().nodes
    assert nodes["camera"].rate == 15
    assert nodes["arm.left idle"].rate == 50  # it has none of its own
    options = scheduler._members["camera"].options
    assert options.on_miss is horus.Miss.CATCH_UP
    assert isinstance(options.limiter, trio.CapacityLimiter)
    assert options.limiter.total_tokens == 2
    assert scheduler.settings.stop_timeout == 1
    assert scheduler.name == scheduler.statistics().name == "rover"
    assert scheduler.settings.limiter is not None
    assert scheduler.settings.limiter.total_tokens == 8


async def test_a_run_has_the_changed_rate(autojump_clock: trio.testing.MockClock) -> None:
    class Counter(horus.AsyncNode):
        rate = 100

        async def tick_async(self) -> None:
            pass

    scheduler = horus.Scheduler().add(Counter("counter"))
    apply(scheduler, [parse_override("counter.rate=15")])
    report = await scheduler.run(2)
    assert report.statistics.nodes["counter"].ok == 30


async def test_nothing_is_changed_while_it_runs(autojump_clock: trio.testing.MockClock) -> None:
    scheduler = horus.Scheduler()
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        for text in ("camera.rate=1", "scheduler.tick_rate=1"):
            scheduler._members.setdefault("camera", robot()._members["camera"])
            with pytest.raises(CommandFailed, match="fixed"):
                apply(scheduler, [parse_override(text)])
        scheduler._members.clear()
        scheduler.stop()
