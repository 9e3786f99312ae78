"""Batches go by size and by time, in order; what fails is tried again; and nothing is ever lost."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest
import trio
import trio.testing
from helpers.patience import eventually
from trio.testing import MockClock, wait_all_tasks_blocked

import horus_trio as horus
from horus_trio import (
    AsyncCallInThread,
    AsyncNode,
    ConfigurationError,
    Node,
    Overflow,
    TickAbandoned,
)
from horus_trio.helpers import BatchProcessor
from horus_trio.helpers.dead_letters import append_lines
from horus_trio.messages import Fence, current_fence
from horus_trio.testing import cancel_everywhere, open_harness


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "horus_trio.helpers")


def is_lawful(processor: BatchProcessor[Any]) -> bool:
    s = processor.statistics()
    return (
        s.added == (s.processed + s.dead + s.dropped + s.returned + s.unprocessed + s.waiting)
        and s.unprocessed + s.waiting <= s.capacity + 100
    )


class Writer:
    """Takes batches, and does with the n-th what the script says."""

    def __init__(self, *script: str | float) -> None:
        self.script = list(script)
        self.batches: list[tuple[float, list[int]]] = []
        self.calls: list[tuple[float, list[int]]] = []
        self.at_work = self.most_at_work = 0

    async def write(self, batch: list[int]) -> None:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            self.calls.append((trio.current_time(), batch))
            step = self.script.pop(0) if self.script else ""
            if step == "hang":
                await trio.sleep_forever()
            elif step == "fail":
                raise OSError("disk full")
            elif step == "exit":
                raise SystemExit(3)
            elif step:
                await trio.sleep(float(step))
            self.batches.append((trio.current_time(), list(batch)))
            batch.clear()  # its own
        finally:
            self.at_work -= 1

    @property
    def items(self) -> list[int]:
        assert self.most_at_work <= 1
        return [item for _, batch in self.batches for item in batch]


# When a batch goes


async def test_a_batch_goes_when_it_is_complete_or_when_its_oldest_item_is_old(
    autojump_clock: MockClock,
) -> None:
    writer = Writer()
    async with BatchProcessor(writer.write, batch_size=3, interval=2) as processor:
        for item in range(7):
            assert processor.add(item)
        await trio.sleep(0.5)
        assert writer.batches == [(0, [0, 1, 2]), (0, [3, 4, 5])]
        processor.add(7)
        await trio.sleep(3)
        assert writer.batches[2:] == [(2, [6, 7])]
        processor.add(8)
        await trio.sleep(1)
        processor.add(9)
        processor.add(10)
        await trio.sleep(0.25)
        assert writer.batches[3:] == [(4.5, [8, 9, 10])]
        await trio.sleep(100)
    assert len(writer.batches) == 4
    assert is_lawful(processor)


async def test_nothing_polls(autojump_clock: MockClock) -> None:
    class Counts(trio.abc.Instrument):
        steps = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.steps += 1

    counts = Counts()
    async with BatchProcessor(Writer().write, interval=1000) as processor:
        processor.add(1)
        await trio.sleep(1)
        trio.lowlevel.add_instrument(counts)
        await trio.sleep(900)
        trio.lowlevel.remove_instrument(counts)
        assert counts.steps < 5


async def test_an_item_that_comes_during_a_batch_ages_from_when_it_came(
    autojump_clock: MockClock,
) -> None:
    writer = Writer(5)
    async with BatchProcessor(writer.write, batch_size=2, interval=3) as processor:
        processor.add(0)
        processor.add(1)
        await trio.sleep(4)
        processor.add(2)
        await trio.sleep(10)
    assert writer.batches == [(5, [0, 1]), (7, [2])]


async def test_the_list_is_each_attempts_own(autojump_clock: MockClock) -> None:
    calls = list[list[int]]()

    async def write(batch: list[int]) -> None:
        calls.append(list(batch))
        batch.clear()
        if len(calls) == 1:
            raise OSError

    async with BatchProcessor(write) as processor:
        processor.add(1)
    assert calls == [[1], [1]]


# Flush


async def test_a_flush_returns_when_all_that_was_added_before_is_settled(
    autojump_clock: MockClock,
) -> None:
    writer = Writer(1, 1, 1)
    async with BatchProcessor(writer.write, batch_size=2, interval=100) as processor:
        await processor.flush()
        assert trio.current_time() == 0
        for item in range(3):
            processor.add(item)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(processor.flush)
            await trio.sleep(0.5)
            processor.add(9)
            await processor.flush()
            assert writer.batches == [(1, [0, 1]), (2, [2, 9])]
        assert trio.current_time() == 2


async def test_a_flush_does_not_wait_for_what_comes_later(autojump_clock: MockClock) -> None:
    writer = Writer(1, 1, 1, 1)
    async with BatchProcessor(writer.write, batch_size=1, close_grace=9) as processor:
        processor.add(0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(processor.flush)
            await wait_all_tasks_blocked()
            processor.add(1)
            processor.add(2)
        assert writer.items == [0]
    assert writer.items == [0, 1, 2]


async def test_a_flush_does_not_wait_for_what_is_dropped(autojump_clock: MockClock) -> None:
    writer = Writer(1, 1)
    async with BatchProcessor(
        writer.write, batch_size=2, capacity=2, overflow=Overflow.DROP_OLDEST, close_grace=9
    ) as processor:
        processor.add(0)
        processor.add(1)
        await trio.sleep(0.5)
        processor.add(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(processor.flush)
            await wait_all_tasks_blocked()
            for item in range(3, 7):
                processor.add(item)
        assert trio.current_time() == 1
        assert writer.items == [0, 1]
        await processor.flush()
        assert writer.items == [0, 1, 5, 6]


async def test_what_was_handed_to_a_cancelled_adder_is_given_back(
    autojump_clock: MockClock,
) -> None:
    writer = Writer(1)
    async with BatchProcessor(writer.write, batch_size=1, capacity=1) as processor:
        processor.add(0)
        await trio.sleep(0.5)
        processor.add(1)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                async def cancel() -> None:
                    await wait_all_tasks_blocked()
                    scope.cancel()
                    with processor._lock:  # as if there were room at this very moment
                        processor._backlog.drop_oldest()
                        waiters = processor._let_in()
                    for waiter in waiters:
                        waiter.wake()

                nursery.start_soon(cancel)
                await processor.add_async(2)
        assert scope.cancelled_caught
        assert processor._backlog._reserved == 0
        assert processor.add(3)
        with pytest.raises(trio.WouldBlock):
            processor.add(4)


async def test_a_thread_flushes() -> None:
    got = list[list[int]]()
    async with BatchProcessor(got.append, interval=100) as processor:

        def work() -> None:
            processor.add(1)
            processor.add_blocking(2)
            processor.flush_blocking()
            assert got == [[1, 2]]
            processor.flush_blocking(timeout=0)

        await trio.to_thread.run_sync(work)
        with pytest.raises(AsyncCallInThread, match=r"await processor.flush\(\)"):
            processor.flush_blocking()
        with pytest.raises(AsyncCallInThread, match=r"await processor.add_async\(…\)"):
            processor.add_blocking(1)


# Failing


async def test_a_failing_batch_is_tried_again_with_growing_pauses(
    autojump_clock: MockClock,
) -> None:
    writer = Writer("fail", "exit", "fail", "fail")
    async with BatchProcessor(
        writer.write, batch_size=2, retries=4, backoff=1, max_backoff=3, close_grace=100
    ) as processor:
        for item in range(4):
            processor.add(item)
        await processor.flush()
        assert [at for at, _ in writer.calls] == [0, 1, 3, 6, 9, 9]
        assert writer.items == [0, 1, 2, 3]
        statistics = processor.statistics()
        assert (statistics.failures, statistics.batches, statistics.processed) == (4, 2, 4)
        assert statistics.last_error == "OSError: disk full"


async def test_what_fails_for_good_goes_to_the_dead_letters(autojump_clock: MockClock) -> None:
    dead = list[tuple[list[int], str]]()

    async def bury(batch: list[int], error: BaseException) -> None:
        dead.append((batch, str(error)))

    for dead_letter in (bury, lambda batch, error: dead.append((batch, str(error)))):
        dead.clear()
        writer = Writer("fail", "fail")
        async with BatchProcessor(
            writer.write, batch_size=2, retries=1, backoff=0, dead_letter=dead_letter
        ) as processor:
            for item in range(4):
                processor.add(item)
            await processor.flush()
            assert dead == [([0, 1], "disk full")]
            assert writer.items == [2, 3]
            assert processor.statistics().dead == 2
            assert is_lawful(processor)


async def test_without_dead_letters_they_are_kept(autojump_clock: MockClock) -> None:
    writer = Writer("fail", "", "fail")
    async with BatchProcessor(writer.write, batch_size=2, capacity=4, retries=0) as processor:
        for item in range(4):
            processor.add(item)
        await processor.flush()
        assert processor.statistics().unprocessed == 2
        processor.add(4)
        processor.add(5)
        await processor.flush()
        # Kept items take room: it stays bounded.
        assert processor.statistics().unprocessed == 4
        with pytest.raises(trio.WouldBlock):
            processor.add(6)
        assert repr(processor) == "<BatchProcessor 'batches', open, 0 waiting, 4 unprocessed>"
        assert processor.take_unprocessed() == [0, 1, 4, 5]
        assert processor.take_unprocessed() == []
        assert processor.add(6)
        assert is_lawful(processor)
    assert writer.items == [2, 3, 6]


async def test_dead_letters_that_fail_lose_nothing(autojump_clock: MockClock) -> None:
    def bury(batch: list[int], error: BaseException) -> None:
        batch.clear()
        raise OSError("no room for the dead")

    async with BatchProcessor(
        Writer("fail", "fail").write, batch_size=2, retries=1, dead_letter=bury
    ) as processor:
        processor.add(0)
        processor.add(1)
        await processor.flush()
        assert processor.take_unprocessed() == [0, 1]
        statistics = processor.statistics()
        assert (statistics.failures, statistics.dead, statistics.returned) == (3, 0, 2)
        assert is_lawful(processor)


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


class Broken:
    def __repr__(self) -> str:
        raise ValueError("no text")


async def test_dead_letters_in_a_file_are_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_text('{"torn": ')
    items: list[Any] = [1, "ü\n\ud800", {"a": [None]}, Odd(), {1: 2}, {(1, 2): 3}, Broken()]
    items += [math.nan, b"x"]

    def write(batch: list[Any]) -> None:
        raise OSError("disk full\nreally")

    async with BatchProcessor(write, retries=0, interval=0.001, dead_letter=path) as processor:
        for item in items:
            processor.add(item)
        await processor.flush()
        assert processor.statistics().dead == len(items)
        processor.add(5)
    torn, *lines = path.read_text().splitlines()
    assert torn == '{"torn": '
    found = [json.loads(line) for line in lines]
    assert {line.pop("error") for line in found} == {"OSError: disk full"}
    assert found == [
        {"item": 1},
        {"item": "ü\n\ud800"},
        {"item": {"a": [None]}},
        {"repr": "<odd>"},
        {"item": {"1": 2}},
        {"repr": "{(1, 2): 3}"},
        {"repr": "<a Broken whose repr raises ValueError: no text>"},
        {"repr": "nan"},
        {"repr": "b'x'"},
        {"item": 5},
    ]


async def test_dead_letters_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[str]()
    monkeypatch.setattr(
        os,
        "fsync",
        lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").read_text()),
    )
    append_lines(str(tmp_path / "dead"), [1, 2], ValueError())
    assert synced == ['{"item": 1, "error": "ValueError"}\n{"item": 2, "error": "ValueError"}\n']


async def test_a_file_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    def write(batch: list[int]) -> None:
        raise OSError("disk full")

    async with BatchProcessor(write, retries=0, dead_letter=tmp_path) as processor:
        processor.add(1)
        await processor.flush()
        assert processor.take_unprocessed() == [1]
        assert str(processor.statistics().last_error).startswith("IsADirectoryError")


# Slow, and never returning


async def test_an_async_function_is_cancelled_at_its_limit(autojump_clock: MockClock) -> None:
    writer = Writer("hang", 0.5)
    async with BatchProcessor(
        writer.write, interval=1, process_timeout=2, backoff=1, name="rows"
    ) as processor:
        processor.add(1)
        await trio.sleep(10)
        assert writer.batches == [(4.5, [1])]
        statistics = processor.statistics()
        assert (statistics.timeouts, statistics.failures) == (1, 1)
        assert statistics.last_error == "TimedOut: process has not returned within 2 s"


async def test_a_thread_that_hangs_is_left_behind_and_the_next_attempt_succeeds() -> None:
    release = threading.Event()
    calls = list[list[int]]()

    def write(batch: list[int]) -> None:
        calls.append(batch)
        if len(calls) == 1:
            release.wait(30)

    try:
        async with BatchProcessor(
            write, batch_size=1, process_timeout=0.05, backoff=0.001
        ) as processor:
            processor.add(1)
            processor.add(2)
            await processor.flush()
            statistics = processor.statistics()
            assert (statistics.processed, statistics.timeouts) == (2, 1)
            assert statistics.threads_left_behind == 1
            release.set()
            await eventually(lambda: processor.statistics().threads_left_behind == 0)
        assert calls == [[1], [1], [2]]
    finally:
        release.set()


async def test_a_thread_that_returns_before_the_next_attempt_counts() -> None:
    calls = list[list[int]]()

    def write(batch: list[int]) -> None:
        calls.append(batch)
        time.sleep(0.2)

    async with BatchProcessor(write, process_timeout=0.01, backoff=0.8) as processor:
        processor.add(1)
        with trio.fail_after(20):
            await processor.flush()
        assert processor.statistics().processed == 1
        assert is_lawful(processor)
    assert calls == [[1]]


async def test_threads_that_never_return_are_bounded_and_wedge_nothing() -> None:
    release = threading.Event()
    threads = set[int]()
    dead = list[int]()

    def write(batch: list[int]) -> None:
        threads.add(threading.get_ident())
        release.wait(60)

    async def bury(batch: list[int], error: BaseException) -> None:
        dead.extend(batch)

    async with BatchProcessor(
        write, batch_size=1, retries=0, process_timeout=0.1, dead_letter=bury
    ) as processor:
        try:
            for item in range(20):
                processor.add(item)
            with trio.fail_after(30):
                await processor.flush()
            assert dead == list(range(20))
            assert len(threads) == processor.statistics().threads_left_behind == 8
            assert "8 threads hang in it" in str(processor.statistics().last_error)
        finally:
            release.set()
        await eventually(lambda: processor.statistics().threads_left_behind == 0)
        processor.add(20)
        await processor.flush()
        assert processor.statistics().processed == 1


def test_threads_left_behind_in_an_earlier_run_do_not_count_for_ever() -> None:
    release = threading.Event()

    def write(batch: list[int]) -> None:
        release.wait(60)

    processor = BatchProcessor(write, interval=0.001, close_grace=0)

    async def main(item: int) -> None:
        async with processor:
            processor.add(item)
            await trio.sleep(0.05)

    try:
        for item in range(3):
            trio.run(main, item)
        assert processor.statistics().threads_left_behind == 3
    finally:
        release.set()
    for _ in range(2000):
        if processor.statistics().threads_left_behind == 0:
            break
        time.sleep(0.005)
    assert processor.statistics().threads_left_behind == 0
    assert processor.take_unprocessed() == [0, 1, 2]


async def test_a_def_that_returns_an_awaitable_fails_with_the_remedy() -> None:
    async def write(batch: list[int]) -> None:
        raise AssertionError

    async with BatchProcessor[int](lambda batch: write(batch), retries=0) as processor:
        processor.add(1)
        await processor.flush()
        assert "write it as `async def`" in str(processor.statistics().last_error)
        assert processor.take_unprocessed() == [1]


async def test_what_is_async_is_awaited_in_whatever_dress(autojump_clock: MockClock) -> None:
    class Callee:
        async def __call__(self, batch: list[int]) -> None:
            await writer.write(batch)

    writer = Writer()
    for function in (functools.partial(Writer.write, writer), Callee()):
        async with BatchProcessor[int](function) as processor:
            processor.add(1)
    assert writer.items == [1, 1]


async def test_an_async_function_without_a_checkpoint_does_not_hold_the_loop(
    autojump_clock: MockClock,
) -> None:
    async def write(batch: list[int]) -> None:
        processor.add(1)

    async with BatchProcessor(write, batch_size=1, close_grace=1) as processor:
        processor.add(1)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert processor.statistics().batches > 10


# Full


async def test_a_full_one_refuses(autojump_clock: MockClock) -> None:
    async with BatchProcessor(Writer(5).write, batch_size=2, capacity=2) as processor:
        processor.add(0)
        processor.add(1)
        await trio.sleep(1)  # they are under way
        processor.add(2)
        processor.add(3)
        with pytest.raises(trio.WouldBlock, match="'batches' is full with 2 items: wait with"):
            processor.add(4)
        assert is_lawful(processor)
        assert processor.statistics().added == 4


async def test_it_drops_the_oldest_or_the_newest(autojump_clock: MockClock) -> None:
    for overflow, left in (
        (Overflow.DROP_OLDEST, [0, 1, 3, 4]),
        (Overflow.DROP_NEWEST, [0, 1, 2, 3]),
    ):
        writer = Writer(5)
        async with BatchProcessor(
            writer.write, batch_size=2, capacity=2, overflow=overflow, close_grace=10
        ) as processor:
            processor.add(0)
            processor.add(1)
            await trio.sleep(1)
            assert processor.add(2)
            assert processor.add(3)
            assert processor.add(4) == (overflow is Overflow.DROP_OLDEST)
            await processor.flush()
            assert writer.items == left
            assert processor.statistics().dropped == 1
            assert processor.statistics().added == 5
            assert is_lawful(processor)


async def test_who_waits_for_room_gets_it_in_turn(autojump_clock: MockClock) -> None:
    writer = Writer(1, 1, 1, 1)
    async with BatchProcessor(writer.write, batch_size=1, capacity=1, close_grace=9) as processor:
        processor.add(0)
        await trio.sleep(0.5)
        async with trio.open_nursery() as nursery:
            for item in (1, 2, 3):
                nursery.start_soon(processor.add_async, item)
                await wait_all_tasks_blocked()
        assert trio.current_time() == 2
    assert writer.batches == [(1, [0]), (2, [1]), (3, [2]), (4, [3])]


async def test_a_cancelled_adder_has_added_nothing(autojump_clock: MockClock) -> None:
    writer = Writer(1, 1)
    async with BatchProcessor(writer.write, batch_size=1, capacity=1) as processor:
        processor.add(0)
        await trio.sleep(0.5)
        processor.add(1)
        with trio.move_on_after(0.2):
            await processor.add_async(2)
        assert processor.statistics().added == 2
        await processor.flush()
        assert processor.add(3)
    assert writer.items == [0, 1, 3]


async def test_a_thread_waits_for_room() -> None:
    go = threading.Event()
    got = list[int]()

    def write(batch: list[int]) -> None:
        go.wait(30)
        got.extend(batch)

    async with BatchProcessor(write, batch_size=1, capacity=1) as processor:
        processor.add(0)
        await eventually(lambda: processor.statistics().waiting == 1)

        def work() -> None:
            processor.add_blocking(1)
            with pytest.raises(TimeoutError, match=r"add_blocking\(\) waited for 0.01 s"):
                processor.add_blocking(2, timeout=0.01)
            threading.Timer(0.05, go.set).start()
            processor.add_blocking(3)

        await trio.to_thread.run_sync(work)
    assert got == [0, 1, 3]


# Closing


async def test_closing_processes_what_is_there(autojump_clock: MockClock) -> None:
    writer = Writer(1, 1)
    async with BatchProcessor(writer.write, batch_size=2, close_grace=5) as processor:
        for item in range(3):
            processor.add(item)
    assert writer.items == [0, 1, 2]
    assert trio.current_time() == 2
    assert processor.take_unprocessed() == []
    for call in (processor.add, processor.add_blocking):
        with pytest.raises(trio.ClosedResourceError, match="is not open"):
            await trio.to_thread.run_sync(call, 1)
    await refused(functools.partial(processor.add_async, 1), "is not open")
    await refused(processor.flush, "is not open")


async def test_cancelled_it_does_the_same(autojump_clock: MockClock) -> None:
    writer = Writer(1, 1)
    with trio.CancelScope() as scope:
        async with BatchProcessor(writer.write, batch_size=2, close_grace=5) as processor:
            for item in range(3):
                processor.add(item)
            scope.cancel()
    assert writer.items == [0, 1, 2]


async def test_what_is_left_after_the_grace_is_kept_and_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer("", "hang")
    async with trio.open_nursery() as nursery:
        async with BatchProcessor(writer.write, batch_size=2, close_grace=3) as processor:
            for item in range(7):
                processor.add(item)
            nursery.start_soon(refused, processor.flush, "was closed before all was processed")
            await wait_all_tasks_blocked()
        assert trio.current_time() == 3
    assert "'batches' was closed with 5 items unprocessed" in caplog.text
    assert repr(processor) == "<BatchProcessor 'batches', closed, 0 waiting, 5 unprocessed>"
    assert is_lawful(processor)
    assert processor.take_unprocessed() == [2, 3, 4, 5, 6]
    assert is_lawful(processor)


async def refused(call: Callable[[], Awaitable[object]], message: str) -> None:
    with pytest.raises(trio.ClosedResourceError, match=message):
        await call()


async def test_without_grace_nothing_is_begun(autojump_clock: MockClock) -> None:
    writer = Writer(1)
    async with BatchProcessor(writer.write, close_grace=0) as processor:
        processor.add(1)
    assert writer.items == []
    assert processor.take_unprocessed() == [1]


async def test_what_was_left_comes_first_when_it_is_opened_again(
    autojump_clock: MockClock,
) -> None:
    writer = Writer("hang")
    processor = BatchProcessor(writer.write, batch_size=2, close_grace=1)
    async with processor:
        for item in range(3):
            processor.add(item)
    assert processor.statistics().unprocessed == 3
    async with processor:
        processor.add(3)
        await processor.flush()
        assert is_lawful(processor)
    assert writer.items == [0, 1, 2, 3]
    assert processor.statistics().added == processor.statistics().processed == 4


async def test_who_waits_for_room_is_told(autojump_clock: MockClock) -> None:
    async with (
        trio.open_nursery() as nursery,
        BatchProcessor(Writer("hang").write, batch_size=1, capacity=1, close_grace=0) as processor,
    ):
        processor.add(0)
        await trio.sleep(0.5)
        processor.add(1)
        nursery.start_soon(refused, functools.partial(processor.add_async, 2), "is not open")
        await wait_all_tasks_blocked()
    assert processor.take_unprocessed() == [0, 1]
    assert is_lawful(processor)


async def test_closing_tries_once_more_without_the_pause(autojump_clock: MockClock) -> None:
    writer = Writer("fail")
    async with BatchProcessor(writer.write, batch_size=1, backoff=60, max_backoff=60) as processor:
        processor.add(1)
        await trio.sleep(1)
    assert writer.batches == [(1, [1])]


async def test_a_function_that_fails_while_it_is_cancelled_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async def write(batch: list[int]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("torn")

    async with BatchProcessor(write, batch_size=1, close_grace=1) as processor:
        processor.add(1)
        await trio.sleep(1)
    assert processor.take_unprocessed() == [1]


async def test_a_thread_that_hangs_at_the_end_is_left_behind() -> None:
    release = threading.Event()

    def write(batch: list[int]) -> None:
        release.wait(30)

    try:
        with trio.fail_after(20):
            async with BatchProcessor(write, batch_size=1, close_grace=0.05) as processor:
                processor.add(1)
                await trio.sleep(0.05)
        assert processor.take_unprocessed() == [1]
        assert processor.statistics().threads_left_behind == 1
    finally:
        release.set()
    await eventually(lambda: processor.statistics().threads_left_behind == 0)


async def test_a_keyboard_interrupt_ends_the_block_and_loses_nothing() -> None:
    async def write(batch: list[int]) -> None:
        raise KeyboardInterrupt

    processor = BatchProcessor(write, batch_size=1)
    with pytest.RaisesGroup(KeyboardInterrupt):
        async with processor:
            processor.add(1)
            processor.add(2)
            await trio.sleep_forever()
    assert processor.take_unprocessed() == [1, 2]


# Abandoned ticks


async def test_an_abandoned_tick_adds_nothing() -> None:
    fence = Fence("node")
    ended = list[str]()
    async with BatchProcessor(
        Writer("hang", "hang").write, batch_size=1, capacity=1, close_grace=0
    ) as processor:
        processor.add(0)
        await eventually(lambda: len(processor._backlog) == 0)
        processor.add(1)

        async def in_task(call: Callable[[], Awaitable[object]]) -> None:
            current_fence.set(fence)
            with pytest.raises(TickAbandoned):
                await call()
            ended.append("task")

        def in_thread(call: Callable[[], object]) -> None:
            current_fence.set(fence)
            with pytest.raises(TickAbandoned):
                call()
            ended.append("thread")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_task, functools.partial(processor.add_async, 2))
            nursery.start_soon(in_task, processor.flush)
            for call in (functools.partial(processor.add_blocking, 2), processor.flush_blocking):
                nursery.start_soon(trio.to_thread.run_sync, in_thread, call)
            await eventually(lambda: len(processor._adders) + len(processor._flushers) == 4)
            fence.close()
        assert sorted(ended) == ["task", "task", "thread", "thread"]
        await trio.to_thread.run_sync(in_thread, functools.partial(processor.add, 2))
    assert processor.take_unprocessed() == [0, 1]
    assert is_lawful(processor)


# Cancelled everywhere


@pytest.mark.parametrize("what", ["add_async", "flush", "open"])
async def test_its_awaits_are_swept(what: str, autojump_clock: MockClock) -> None:
    class Box:
        def __init__(self) -> None:
            self.writer = Writer(0.5, 0.5)
            self.processor = BatchProcessor(
                self.writer.write, batch_size=1, capacity=1, close_grace=50
            )

        async def __aenter__(self) -> Self:
            if what != "open":
                await self.processor.__aenter__()
                self.processor.add(0)
                await trio.sleep(0.25)
                self.processor.add(1)
            return self

        async def __aexit__(self, *exc_info: object) -> None:
            await self.processor.__aexit__(None, None, None)

    async def use(box: Box) -> None:
        if what == "open":
            async with box.processor as processor:
                processor.add(0)
                await processor.flush()
        elif what == "flush":
            await box.processor.flush()
        else:
            await box.processor.add_async(2)

    def lawful(box: Box) -> bool:
        assert is_lawful(box.processor)
        assert box.processor._backlog._reserved == 0
        return True

    sweep = await cancel_everywhere(Box, use, observe=lawful)
    assert sweep.checkpoints >= 1


# Given to nodes


async def test_nodes_share_one_and_the_last_one_closes_it() -> None:
    writer = Writer()
    processor: BatchProcessor[int] = BatchProcessor(writer.write, batch_size=1000, interval=0.5)

    class InThread(Node):
        rate = 10

        def tick(self) -> None:
            processor.add(1)

    class OnLoop(AsyncNode):
        rate = 10

        async def tick_async(self) -> None:
            await processor.add_async(2)

        async def shutdown(self) -> None:
            processor.add(3)

    async with open_harness(
        InThread("thread", helpers=[processor]), OnLoop("loop", helpers=[processor])
    ) as h:
        await h.advance(2.25)
        assert [at for at, _ in writer.batches] == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=0.11)
        assert processor.statistics().processed > 20
    assert writer.items.count(1) >= 20
    assert writer.items[-1] == 3
    assert processor.take_unprocessed() == []


async def test_what_a_node_leaves_is_to_be_had_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    processor: BatchProcessor[int] = BatchProcessor(
        Writer("hang").write, batch_size=1, close_grace=1, name="rows"
    )

    numbers = itertools.count()

    class Node(AsyncNode):
        rate = 10

        async def tick_async(self) -> None:
            processor.add(next(numbers))

    async with open_harness(Node("node", helpers=[processor])) as h:
        await h.advance(0.55)
    left = processor.take_unprocessed()
    assert left == sorted(left)
    assert len(left) >= 5
    assert "'rows' was closed with" in caplog.text
    assert h.report is not None
    assert not h.report.hook_errors


async def test_a_restart_loses_nothing() -> None:
    writer = Writer()
    processor: BatchProcessor[int] = BatchProcessor(writer.write, batch_size=50)
    numbers = iter(range(1000))

    class Fails(AsyncNode):
        rate = 10

        async def tick_async(self) -> None:
            number = next(numbers)
            processor.add(number)
            if number % 7 == 3:
                raise ValueError

    async with open_harness(
        Fails(
            "node",
            helpers=[processor],
            failure_policy=horus.Restart(max_restarts=100, backoff=0.1, jitter=0),
        )
    ) as h:
        await h.advance(5)
    assert writer.items == list(range(len(writer.items)))
    assert len(writer.items) == processor.statistics().added > 20


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"process": 3}, "process=3, expected a function"),
        ({"batch_size": 0}, "batch_size=0, expected a whole number, 1 or more"),
        ({"batch_size": True}, "batch_size=True"),
        ({"batch_size": 1.5}, "batch_size=1.5"),
        ({"batch_size": "7"}, "batch_size='7'"),
        ({"interval": 0}, "interval=0, expected a finite number of seconds above 0"),
        ({"interval": math.nan}, "interval=nan"),
        ({"interval": math.inf}, "interval=inf"),
        ({"interval": -1}, "interval=-1"),
        ({"capacity": 0}, "capacity=0"),
        ({"capacity": 99}, "capacity=99, expected at least batch_size=100"),
        ({"overflow": Overflow.LATEST}, "overflow=Overflow.LATEST, expected Overflow.BLOCK, DROP"),
        ({"overflow": "block"}, "overflow='block'"),
        ({"retries": -1}, "retries=-1, expected a whole number, 0 or more"),
        ({"backoff": -1}, "backoff=-1"),
        ({"max_backoff": math.nan}, "max_backoff=nan"),
        ({"process_timeout": 0}, "process_timeout=0"),
        ({"process_timeout": math.inf}, "process_timeout=inf"),
        ({"close_grace": math.nan}, "close_grace=nan"),
        ({"dead_letter": 3}, "dead_letter=3, expected a function of the items and the error, or"),
        ({"dead_letter": ""}, "dead_letter=''"),
        ({"dead_letter": b"x"}, "dead_letter=b'x'"),
        ({"name": ""}, "name=''"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    options = {"process": print} | options
    with pytest.raises(ConfigurationError) as caught:
        BatchProcessor(options.pop("process"), **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("seconds", [-1, math.nan, True, "1"])
async def test_bad_time_outs(seconds: Any) -> None:
    async with BatchProcessor[int](print) as processor:
        for call in (
            functools.partial(processor.add_blocking, 1, seconds),
            functools.partial(processor.flush_blocking, seconds),
        ):
            with pytest.raises(ConfigurationError, match="timeout="):
                await trio.to_thread.run_sync(call)
