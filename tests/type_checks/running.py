"""Every spelling of `run` has the type of what it gives."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never, assert_type

import outcome
import trio

import horus_trio as horus

# Right


def outside_a_trio_run(scheduler: horus.Scheduler, node: horus.Node) -> None:
    report: horus.RunReport = scheduler.run(2)
    report = horus.run(node, node, duration=1.5, tick_rate=50)
    assert_type(trio.run(scheduler.run), horus.RunReport)
    assert_type(trio.run(scheduler.run, 2.0), horus.RunReport)
    assert_type(report.reason, str)
    assert_type(scheduler.report, horus.RunReport | None)


async def inside_a_trio_run(scheduler: horus.Scheduler) -> None:
    assert_type(await scheduler.run(duration=2), horus.RunReport)
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        nursery.start_soon(scheduler.run, 2)


async def under_the_names_of_horus(node: horus.Node) -> None:
    scheduler = horus.AsyncScheduler(50, on_result=print)
    assert_type(scheduler.add_async(node, rate=5), horus.AsyncScheduler)
    assert_type(await scheduler.run_async(), horus.RunReport)


def in_the_background(nodes: list[horus.Node]) -> None:
    with horus.background(nodes, tick_rate=50) as scheduler:
        assert_type(scheduler, horus.Scheduler)
        assert_type(scheduler.statistics(), horus.SchedulerStatistics)
        assert_type(scheduler.statistics().nodes, Mapping[str, horus.NodeStatistics])


async def results(scheduler: horus.Scheduler) -> None:
    async with scheduler.open_results() as channel:
        assert_type(channel, horus.Subscription[horus.AsyncResult])
        async for result in channel:
            assert_type(result.outcome, outcome.Outcome[Any])
            assert_type(describe(result.status), str)


def describe(status: horus.TickStatus) -> str:
    match status:
        case horus.TickStatus.OK:
            return "well"
        case horus.TickStatus.ERROR | horus.TickStatus.TIMED_OUT | horus.TickStatus.ABANDONED:
            return "badly"
        case horus.TickStatus.CANCELLED:
            return "not at all"
        case unknown:
            assert_never(unknown)


async def without_a_scheduler(node: horus.Node) -> None:
    async with horus.open_executor() as executor:
        assert_type(executor, horus.AsyncIOExecutor)
        await executor.spawn_node(node, thread="own")
        assert_type(executor.tick(node), bool)
        assert_type(await executor.results.receive(), horus.AsyncResult)


def a_failed_run_has_its_exceptions() -> None:
    try:
        report: horus.RunReport = horus.run()
        del report
    except horus.RunFailed as failed:
        assert_type(failed.exceptions, tuple[Exception | ExceptionGroup[Exception], ...])


# Wrong


def a_setting_has_another_type() -> None:
    horus.Scheduler(tick_rate="fast")  # type: ignore[arg-type]
    horus.Scheduler(limiter=4)  # type: ignore[arg-type]
    horus.Scheduler(tick_rat=50)  # type: ignore[call-arg]


def a_duration_is_a_number(scheduler: horus.Scheduler) -> None:
    report: horus.RunReport = scheduler.run("2 s")  # type: ignore[arg-type]
    del report


def a_callback_takes_a_result(scheduler: horus.Scheduler) -> None:
    def of_two(result: horus.AsyncResult, more: int) -> None: ...
    def of_another(result: int) -> None: ...

    scheduler.on_result(of_two)  # type: ignore[arg-type]
    scheduler.on_result(of_another)  # type: ignore[arg-type]


async def a_run_in_a_trio_run_is_awaited(scheduler: horus.AsyncScheduler) -> None:
    scheduler.run_async()  # type: ignore[unused-coroutine]


def a_report_is_frozen(report: horus.RunReport) -> None:
    report.reason = ""  # type: ignore[misc]
