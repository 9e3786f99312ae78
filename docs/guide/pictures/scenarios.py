"""What the pictures of the guide show: one small robot for each policy, miss policy and time-out.

A robot is made of actors: nodes whose hooks do nothing but take a while, and whose ticks follow a
script. Each scenario is an async function that runs its robot and returns what happened.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio
from recording import Recorder, Recording, record

import horus_trio as horus
from horus_trio import Miss
from horus_trio.testing import blocking_delay

__all__ = ["SCENARIOS", "STOP", "Scenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One picture.

    Attributes:
        name: Of the file.
        title: The option that is shown, as it is written.
        caption: What it does, in some words.
        run: Runs the robot.
    """

    name: str
    title: str
    caption: str
    run: Callable[[], Awaitable[Recording]]


def pause(
    recorder: Recorder, hook: str, seconds: float
) -> Callable[[horus.Node], Awaitable[None]] | None:
    """A hook that takes so many seconds, or none if it takes no time."""
    if not seconds:
        return None

    async def take_a_while(node: horus.Node) -> None:
        with recorder.during(node, hook):
            await trio.sleep(seconds)

    return take_a_while


def actor(
    recorder: Recorder,
    name: str,
    script: str = "",
    *,
    work: float = 0.08,
    long: float = 1.3,
    init: float = 0.0,
    shutdown: float = 0.0,
    enter_safe_state: float = 0.0,
    **options: Any,
) -> horus.Node:
    """A node that plays a script, then goes on without a fault.

    Arguments:
        recorder: Takes down its hooks.
        name: Its name.
        script: A character a tick: ``.`` goes well, ``x`` raises, ``L`` takes long.
        work: Seconds a tick takes.
        long: Seconds a long tick takes.
        init, shutdown, enter_safe_state: Seconds the hook takes; 0: there is none.
        options: Of the node.
    """
    steps = itertools.chain(script, itertools.repeat("."))

    async def tick(node: horus.Node) -> None:
        step = next(steps)
        await trio.sleep(long if step == "L" else work)
        if step == "x":
            raise ConnectionError("the device does not answer")

    return horus.Node(
        name,
        tick=tick,
        init=pause(recorder, "init", init),
        shutdown=pause(recorder, "shutdown", shutdown),
        enter_safe_state=pause(recorder, "enter_safe_state", enter_safe_state),
        **options,
    )


# Failure policies


async def restart() -> Recording:
    recorder = Recorder()
    camera = actor(
        recorder,
        "camera",
        "...xx",
        rate=5,
        init=0.3,
        shutdown=0.2,
        failure_policy=horus.Restart(backoff=0.5, jitter=0),
    )
    return await record(recorder, [camera], seconds=5.0)


async def exhausted() -> Recording:
    recorder = Recorder()
    lidar = actor(
        recorder,
        "lidar",
        "..xxx",
        rate=5,
        init=0.2,
        shutdown=0.1,
        enter_safe_state=0.2,
        failure_policy=horus.Restart(max_restarts=2, within=10, backoff=0.3, jitter=0),
    )
    lamp = actor(recorder, "lamp", rate=2.5, phase=0.1)
    return await record(recorder, [lidar, lamp], seconds=4.0)


async def breaker() -> Recording:
    recorder = Recorder()
    gps = actor(
        recorder, "gps", "..xxxx", rate=5, failure_policy=horus.CircuitBreaker(3, cooldown=1.0)
    )
    return await record(recorder, [gps], seconds=4.0)


async def ignore() -> Recording:
    recorder = Recorder()
    sonar = actor(recorder, "sonar", "..x...xx", rate=5, failure_policy=horus.Ignore())
    return await record(recorder, [sonar], seconds=3.0)


async def fatal() -> Recording:
    recorder = Recorder()
    arm = actor(
        recorder,
        "arm",
        "...x",
        rate=5,
        shutdown=0.2,
        enter_safe_state=0.3,
        failure_policy=horus.Fatal(),
    )
    lamp = actor(recorder, "lamp", rate=2.5, phase=0.1, shutdown=0.2)
    return await record(recorder, [arm, lamp], seconds=2.0)


# Miss policies: always the same robot, whose second tick takes longer than two periods


async def missing(policy: Miss, **hooks: float) -> Recording:
    recorder = Recorder()
    control = actor(recorder, "control", ".L", rate=2, work=0.15, on_miss=policy, **hooks)
    return await record(recorder, [control], seconds=3.75, log=policy is Miss.WARN)


async def skip() -> Recording:
    return await missing(Miss.SKIP)


async def warn() -> Recording:
    return await missing(Miss.WARN)


async def catch_up() -> Recording:
    return await missing(Miss.CATCH_UP)


async def safe_mode() -> Recording:
    return await missing(Miss.SAFE_MODE, enter_safe_state=0.1)


async def stop() -> Recording:
    return await missing(Miss.STOP, shutdown=0.2)


# Time-outs: the second tick hangs


async def timed_out() -> Recording:
    recorder = Recorder()
    hangs = iter([False, True])

    async def tick(node: horus.Node) -> None:
        recorder.send(node, "motor", "go")
        try:
            await trio.sleep(60 if next(hangs, False) else 0.2)
        finally:
            recorder.send(node, "motor", "stop")

    wheel = horus.Node("wheel", tick=tick, rate=2, tick_timeout=0.7, failure_policy=horus.Ignore())
    return await record(recorder, [wheel], seconds=3.0, topic="motor")


async def abandoned() -> Recording:
    recorder = Recorder()
    hangs = iter([False, True])

    def tick(node: horus.Node) -> None:
        with recorder.during(node, "thread"):
            blocking_delay(1.6 if next(hangs, False) else 0.2)
            recorder.send(node, "motor", "go")

    wheel = horus.Node("wheel", tick=tick, rate=2, tick_timeout=0.7, failure_policy=horus.Ignore())
    return await record(recorder, [wheel], seconds=3.5, topic="motor")


# A stop: one node asks for it while the others are in the middle of something


async def stopping() -> Recording:
    recorder = Recorder()
    ticks = itertools.count(1)

    async def look(node: horus.Node) -> None:
        await trio.sleep(0.05)
        if next(ticks) == 3:
            node.request_stop("the operator")

    def film(node: horus.Node) -> None:
        with recorder.during(node, "thread"):
            blocking_delay(0.8)

    panel = horus.Node("panel", tick=look, rate=2, order=3)
    drive = actor(recorder, "drive", rate=5, order=2, shutdown=0.3)
    arm = actor(recorder, "arm", "..L", long=9.0, rate=2.5, order=1, shutdown=0.2)
    camera = horus.Node(
        "camera", tick=film, rate=1, phase=0.6, shutdown=pause(recorder, "shutdown", 0.3)
    )
    return await record(recorder, [panel, drive, arm, camera], seconds=2.5)


SCENARIOS = (
    Scenario(
        name="restart",
        title="Restart(backoff=0.5, jitter=0)",
        caption="shut down, wait, initialise, tick on; the wait doubles",
        run=restart,
    ),
    Scenario(
        name="breaker",
        title="CircuitBreaker(max_failures=3, cooldown=1.0)",
        caption="rest after three failures in a row; then one tick is a probe",
        run=breaker,
    ),
    Scenario(
        name="ignore",
        title="Ignore()",
        caption="tick on",
        run=ignore,
    ),
    Scenario(
        name="fatal",
        title="Fatal()",
        caption="the node becomes safe and shuts down, and the run ends",
        run=fatal,
    ),
    Scenario(
        name="exhausted",
        title="Restart(max_restarts=2, within=10, backoff=0.3, jitter=0)",
        caption="the third failure is final; the sibling runs on",
        run=exhausted,
    ),
    Scenario(
        name="miss-skip",
        title="on_miss=Miss.SKIP",
        caption="a miss is counted",
        run=skip,
    ),
    Scenario(
        name="miss-warn",
        title="on_miss=Miss.WARN",
        caption="it is counted, and logged at most once in ten seconds",
        run=warn,
    ),
    Scenario(
        name="miss-catch-up",
        title="on_miss=Miss.CATCH_UP",
        caption="what was missed runs as soon as it can",
        run=catch_up,
    ),
    Scenario(
        name="miss-safe-mode",
        title="on_miss=Miss.SAFE_MODE",
        caption="each miss makes the node safe",
        run=safe_mode,
    ),
    Scenario(
        name="miss-stop",
        title="on_miss=Miss.STOP",
        caption="the first miss ends the run",
        run=stop,
    ),
    Scenario(
        name="timed-out",
        title="async def tick, tick_timeout=0.7",
        caption="cancelled at its await; its finally still sends",
        run=timed_out,
    ),
    Scenario(
        name="abandoned",
        title="def tick, tick_timeout=0.7",
        caption="its thread is left behind, and can no longer send",
        run=abandoned,
    ),
)

STOP = Scenario(
    name="stopping",
    title="A stop of nodes whose order is 3, 2, 1 and 0",
    caption="all are told at once; shutdowns follow in turn",
    run=stopping,
)
"""Of the design's pages."""
