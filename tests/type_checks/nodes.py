"""Nodes and their options: names and values of options are checked wherever they are written."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, assert_type

import horus_trio as horus


class Blocking(horus.Node):
    def init(self) -> None:
        self.count = 0

    def tick(self) -> int:
        assert_type(self.send("counts", self.count), int)
        assert_type(self.has_msg("words"), bool)
        assert_type(self.recv_all("words"), list[Any])
        assert_type(self.now, float)
        assert_type(self.dt, float)
        assert_type(self.current_tick, horus.Tick | None)
        return self.count

    def on_error(self, error: BaseException) -> None:
        self.log.error("%r", error)


class OnTheLoop(horus.AsyncNode):
    def __init__(self, port: int) -> None:
        super().__init__("loop", rate=50, on=["words"])
        self.port = port

    async def tick_async(self) -> str:
        assert_type(await self.send_async("counts", 1), int)
        async for word in self.messages("words"):
            self.start_soon(self.keep_alive, word)
        return "done"

    async def keep_alive(self, word: str) -> None:
        await self.send_async("alive", word)


class AnAsyncTickIsATick(horus.Node):
    async def tick(self) -> None:
        await self.recv_async("words")


# Right


def options_are_keywords(scheduler: horus.Scheduler) -> None:
    horus.Node("a", tick=print, rate=10, phase="spread", subs="words", thread="own")
    horus.Node("p", tick=print, thread="process")
    horus.Node("b", tick=print, phase=0.1, tick_timeout=None, pubs=[horus.Pub("counts"), "x"])
    assert_type(scheduler.add(Blocking(), rate=10, name="c"), horus.Scheduler)
    scheduler.add(Blocking, failure_policy=horus.Restart(max_restarts=1), critical=True)
    scheduler.add(lambda: OnTheLoop(1), on_miss=horus.Miss.CATCH_UP, on="words")


def every_policy_is_a_policy() -> list[horus.FailurePolicy]:
    return [horus.Fatal(), horus.Ignore(), horus.Restart(within=None), horus.CircuitBreaker(3, 1)]


# Wrong


def there_is_no_such_option(scheduler: horus.Scheduler) -> None:
    horus.Node("a", tick=print, rat=10)  # type: ignore[call-arg]
    scheduler.add(Blocking(), dead_line=1.0)  # type: ignore[call-arg]
    horus.Restart(max_restart=3)  # type: ignore[call-arg]


def an_option_has_another_type(scheduler: horus.Scheduler) -> None:
    horus.Node("a", tick=print, rate="fast")  # type: ignore[arg-type]
    horus.Node("b", tick=print, thread="mine")  # type: ignore[arg-type]
    horus.Node("c", tick="tick")  # type: ignore[arg-type]
    scheduler.add(Blocking(), on_miss="skip")  # type: ignore[arg-type]
    scheduler.add(Blocking(), failure_policy=horus.Restart)  # type: ignore[arg-type]
    scheduler.add(Blocking(), subs=[1])  # type: ignore[list-item]


def what_is_added_is_no_node(scheduler: horus.Scheduler) -> None:
    scheduler.add("camera")  # type: ignore[arg-type]
    scheduler.add(print)  # type: ignore[arg-type]


def a_factory_takes_no_arguments(scheduler: horus.Scheduler) -> None:
    scheduler.add(OnTheLoop)  # type: ignore[arg-type]


class OnErrorTakesTheError(horus.Node):
    def on_error(self) -> None:  # type: ignore[override]
        pass


class TheAsyncTickIsAsync(horus.AsyncNode):
    def tick_async(self) -> int:  # type: ignore[override]
        return 1


async def a_background_task_is_a_function(node: OnTheLoop) -> None:
    node.start_soon(node.keep_alive("now"))  # type: ignore[arg-type]
    node.start_soon(print, "now")  # type: ignore[arg-type]


async def what_waits_is_awaited(node: OnTheLoop) -> None:
    node.send_async("counts", 1)  # type: ignore[unused-coroutine]
    node.recv_async("words")  # type: ignore[unused-coroutine]


def results_are_frozen(result: horus.AsyncResult, tick: horus.Tick) -> None:
    result.status = horus.TickStatus.OK  # type: ignore[misc]
    tick.seq = 2  # type: ignore[misc]
    horus.Tick(1, 0.5)  # type: ignore[call-arg]
