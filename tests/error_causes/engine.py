"""Causes of the errors of the engine itself."""

from __future__ import annotations

import sys
import threading
import types
from pathlib import Path
from typing import Any
from unittest import mock

import process_nodes
import trio
from error_causes.table import SOON, causes, failure_of, on_virtual_time, raised, raised_by

import horus_trio as horus


async def forever(node: horus.Node) -> None:
    await trio.sleep_forever()


async def nothing(node: horus.Node) -> None:
    await trio.lowlevel.checkpoint()


@causes(horus.HorusError)
def _(folder: Path) -> BaseException:
    async def reset() -> horus.HorusError:
        class Arm(horus.AsyncNode):
            async def tick_async(self) -> None:
                await trio.lowlevel.checkpoint()

            async def enter_safe_state(self) -> None:
                await trio.sleep(1)

        scheduler = horus.Scheduler(tick_rate=10).add(Arm("arm"), critical=True)
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            scheduler.emergency_stop("a person in the cell")
            error = raised(horus.HorusError, scheduler.reset_emergency)
            scheduler.stop()
        return error

    return on_virtual_time(reset)


@causes(horus.ConfigurationError)
def _(folder: Path) -> BaseException:
    node = horus.Node("camera", tick=nothing)
    return raised(horus.ConfigurationError, lambda: horus.Scheduler().add(node, rate=0))


class Camera(horus.Node):
    def __init__(self) -> None:
        self.frames = 0

    def tick(self) -> None: ...


@causes(horus.NodeError)
def _(folder: Path) -> BaseException:
    return raised(horus.NodeError, lambda: horus.Scheduler().add(Camera()))


@causes(horus.UnknownNode)
def _(folder: Path) -> BaseException:
    scheduler = horus.Scheduler().add(horus.Node("camera", tick=nothing))
    return raised(horus.UnknownNode, lambda: scheduler.pause("camrea"))


@causes(horus.UnknownTopic)
def _(folder: Path) -> BaseException:
    topics = horus.Topics()
    topics.hub("cmd_vel")
    return raised(horus.UnknownTopic, lambda: topics.find("cmdvel"))


@causes(horus.MessageTypeError)
def _(folder: Path) -> BaseException:
    hub: horus.Hub[Any] = horus.Hub("pose", dict)
    return raised(horus.MessageTypeError, lambda: hub.send([1.0, 2.0]))


@causes(horus.MessageChanged)
def _(folder: Path) -> BaseException:
    flags = types.SimpleNamespace(dev_mode=True)  # as under python -X dev
    with mock.patch.object(sys, "flags", flags):
        hub: horus.Hub[Any] = horus.Hub("pose")
    pose = {"x": 1.0}
    hub.send(pose)
    pose["x"] = 2.0
    return raised(horus.MessageChanged, lambda: hub.send(pose))


@causes(horus.AlreadyRunning)
def _(folder: Path) -> BaseException:
    async def run_twice() -> horus.AlreadyRunning:
        scheduler = horus.Scheduler().add(horus.Node("camera", tick=nothing))
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            error = await raised_by(horus.AlreadyRunning, scheduler.run)
            scheduler.stop()
        return error

    return on_virtual_time(run_twice)


@causes(horus.NotRunning)
def _(folder: Path) -> BaseException:
    node = horus.Node("camera", tick=nothing)
    return raised(horus.NotRunning, lambda: node.send("frames", 1))


@causes(horus.AsyncCallInThread)
def _(folder: Path) -> BaseException:
    class Control(horus.Node):
        def tick(self) -> Any:
            return self.recv_async("frames")

    return failure_of(Control("control", subs="frames"), virtual=False)


@causes(horus.TickAbandoned)
def _(folder: Path) -> BaseException:
    left, told = threading.Event(), threading.Event()
    refused: list[BaseException] = []

    class Camera(horus.Node):
        def tick(self) -> None:
            left.wait(SOON)
            refused.append(raised(horus.TickAbandoned, lambda: self.send("frames", 1)))
            told.set()
            self.request_stop()

    scheduler = horus.Scheduler(tick_rate=10).add(
        Camera("camera"), tick_timeout=0.02, failure_policy=horus.Ignore()
    )
    scheduler.on_result(lambda result: left.set())
    scheduler.run(SOON)
    return refused[0]


@causes(horus.TickCancelled)
def _(folder: Path) -> BaseException:
    results: list[horus.AsyncResult] = []

    async def run() -> horus.RunReport:
        scheduler = horus.Scheduler(tick_rate=10).add(horus.Node("arm", tick=forever))
        scheduler.on_result(results.append)
        return await scheduler.run(1)

    on_virtual_time(run)
    error = results[0].error
    assert error is not None
    return error


@causes(horus.TickTimedOut)
def _(folder: Path) -> BaseException:
    return failure_of(horus.Node("camera", tick=forever, tick_timeout=0.2))


@causes(horus.HookTimedOut)
def _(folder: Path) -> BaseException:
    class Camera(horus.AsyncNode):
        async def init(self) -> None:
            await trio.sleep_forever()

        async def tick_async(self) -> None: ...

    return failure_of(Camera("camera", init_timeout=2))


@causes(horus.WorkerFailed)
def _(folder: Path) -> BaseException:
    worker = process_nodes.Worker(process_nodes.exit_hard, "planner")
    return failure_of(worker, virtual=False)


@causes(horus.NodeExited)
def _(folder: Path) -> BaseException:
    async def leave(node: horus.Node) -> None:
        raise SystemExit(3)

    return failure_of(horus.Node("camera", tick=leave))


@causes(horus.RunFailed)
def _(folder: Path) -> BaseException:
    async def fail(node: horus.Node) -> None:
        raise OSError("no lidar on port 7")

    async def run() -> horus.RunFailed:
        node = horus.Node("lidar", tick=fail, failure_policy=horus.Fatal())
        return await raised_by(horus.RunFailed, lambda: horus.Scheduler().add(node).run(1))

    return on_virtual_time(run)
