"""What the batch processor and the rate limiter cost beside threads that do the same.

The batcher beside ours is a `queue.Queue` and a thread, the bucket a `threading.Lock` and a sum, as
one writes them; neither can retry, be flushed, or let anybody wait in turn.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
from collections.abc import Callable

import trio
from _compare import Target, compare, print_machine
from _quick import either

from horus_trio.helpers import BatchProcessor, RateLimiter

ITEMS = either(200_000, 2_000)
CALLS = either(300_000, 3_000)
WAITS = either(30_000, 300)
REPETITIONS = either(15, 1)

BATCH = 100
CAPACITY = 10_000
INTERVAL = 1.0


# Batches


class ThreadBatcher:
    """Gathers what comes through a queue, in a thread of its own."""

    def __init__(self, process: Callable[[list[int]], object]) -> None:
        self._process = process
        self._queue: queue.Queue[int | None] = queue.Queue(CAPACITY)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def add(self, item: int) -> None:
        self._queue.put(item)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        item: int | None = 0
        while item is not None:
            batch: list[int] = []
            ends = 0.0
            while len(batch) < BATCH:
                try:
                    wait = max(0.0, ends - time.monotonic()) if batch else None
                    item = self._queue.get(timeout=wait)
                except queue.Empty:
                    break
                if item is None:
                    break
                if not batch:
                    ends = time.monotonic() + INTERVAL
                batch.append(item)
            if batch:
                self._process(batch)


class Count:
    """Counts items, and that none is missing."""

    def __init__(self) -> None:
        self.items = 0

    def take(self, batch: list[int]) -> None:
        if batch[0] != self.items or not 0 < len(batch) <= BATCH:
            raise SystemExit("a batch is not what it should be")
        self.items += len(batch)

    async def take_async(self, batch: list[int]) -> None:
        self.take(batch)

    def each(self, began: float) -> float:
        """Microseconds of an item."""
        if self.items != ITEMS:
            raise SystemExit(f"{self.items} items of {ITEMS} were processed")
        return (time.perf_counter() - began) / ITEMS * 1e6


def thread_batches() -> float:
    gc.collect()
    count = Count()
    began = time.perf_counter()
    batcher = ThreadBatcher(count.take)
    for item in range(ITEMS):
        batcher.add(item)
    batcher.close()
    return count.each(began)


def ours(process: Callable[[list[int]], object]) -> BatchProcessor[int]:
    return BatchProcessor(
        process, batch_size=BATCH, capacity=CAPACITY, interval=INTERVAL, close_grace=60
    )


def batches_from_a_task() -> float:
    async def main() -> float:
        count = Count()
        began = time.perf_counter()
        async with ours(count.take_async) as processor:
            for item in range(ITEMS):
                try:
                    processor.add(item)
                except trio.WouldBlock:
                    await processor.add_async(item)
            await processor.flush()
            return count.each(began)

    gc.collect()
    return trio.run(main)


def batches_from_a_thread(*, blocking: bool = False, in_thread: bool = False) -> float:
    async def main() -> float:
        count = Count()

        def fill() -> None:
            for item in range(ITEMS):
                if blocking:
                    processor.add_blocking(item)
                    continue
                try:
                    processor.add(item)
                except trio.WouldBlock:
                    processor.add_blocking(item)
            processor.flush_blocking()

        began = time.perf_counter()
        async with ours(count.take if in_thread else count.take_async) as processor:
            await trio.to_thread.run_sync(fill)
            return count.each(began)

    gc.collect()
    return trio.run(main)


# Rates


class LockedBucket:
    """A token bucket as one writes it."""

    def __init__(self, rate: float, burst: float) -> None:
        self._lock = threading.Lock()
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._last = time.monotonic()

    def allow(self, n: int = 1) -> bool:
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
            self._last = now
            if self._tokens < n:
                return False
            self._tokens -= n
            return True

    async def acquire(self, n: int = 1) -> None:
        while not self.allow(n):  # noqa: ASYNC110 - as one writes it
            await trio.sleep((n - self._tokens) / self._rate)
        await trio.lowlevel.checkpoint()


PLENTY = 1e9
SCARCE = 1e-3


def polls(allow: Callable[[], bool], expected: bool) -> float:
    """Microseconds of a call."""
    gc.collect()
    if not expected:
        while allow():
            pass
    began = time.perf_counter()
    for _ in range(CALLS):
        if allow() is not expected:
            raise SystemExit("another answer was expected")
    return (time.perf_counter() - began) / CALLS * 1e6


def polls_opened(rate: float, expected: bool) -> float:
    async def main() -> float:
        async with RateLimiter(rate) as limiter:
            return polls(limiter.allow, expected)

    return trio.run(main)


async def waits(acquire: Callable[[], object]) -> float:
    """Microseconds of a call."""
    gc.collect()
    began = time.perf_counter()
    for _ in range(WAITS):
        await acquire()  # type: ignore[misc]
    return (time.perf_counter() - began) / WAITS * 1e6


def waits_opened() -> float:
    async def main() -> float:
        async with RateLimiter(PLENTY) as limiter:
            return await waits(limiter.acquire)

    return trio.run(main)


def main() -> None:
    print_machine()
    target = Target(at_most=1.5)
    compare(
        "an item added and processed, a hundred in a batch",
        "us",
        {
            "queue.Queue and a thread": thread_batches,
            "from a task": batches_from_a_task,
            "from a thread": batches_from_a_thread,
            "from a thread, def process": lambda: batches_from_a_thread(in_thread=True),
            "from a thread, add_blocking": lambda: batches_from_a_thread(blocking=True),
        },
        base="queue.Queue and a thread",
        repetitions=REPETITIONS,
        targets={
            "from a task": target,
            "from a thread": target,
            "from a thread, def process": target,
            "from a thread, add_blocking": target,
        },
    )
    compare(
        "allow() says yes",
        "us",
        {
            "a lock and a sum": lambda: polls(LockedBucket(PLENTY, 1e8).allow, True),
            "RateLimiter, opened": lambda: polls_opened(PLENTY, True),
            "RateLimiter, not opened": lambda: polls(RateLimiter(PLENTY).allow, True),
        },
        base="a lock and a sum",
        repetitions=REPETITIONS,
        targets={"RateLimiter, opened": target, "RateLimiter, not opened": target},
    )
    compare(
        "allow() says no",
        "us",
        {
            "a lock and a sum": lambda: polls(LockedBucket(SCARCE, 1).allow, False),
            "RateLimiter, opened": lambda: polls_opened(SCARCE, False),
            "RateLimiter, not opened": lambda: polls(RateLimiter(SCARCE).allow, False),
        },
        base="a lock and a sum",
        repetitions=REPETITIONS,
        targets={
            "RateLimiter, opened": target,
            "RateLimiter, not opened": Target(
                at_most=1.5,
                why_missed="it looks whether it has come into a Trio run, with another clock",
            ),
        },
    )
    compare(
        "acquire() that need not wait",
        "us",
        {
            "a lock and a sum": lambda: trio.run(waits, LockedBucket(PLENTY, 1e8).acquire),
            "RateLimiter": waits_opened,
        },
        base="a lock and a sum",
        repetitions=REPETITIONS,
        targets={"RateLimiter": target},
    )


if __name__ == "__main__":
    main()
