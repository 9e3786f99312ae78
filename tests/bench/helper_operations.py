"""What operations in the background cost above plain thread pools that do the same.

Everything is done as a ``def`` tick does it, in a thread. The loop that the helpers belong to runs
beside it and has nothing else to do; the pools of `concurrent.futures` have none.
"""

from __future__ import annotations

import concurrent.futures
import gc
import time
from collections.abc import Callable

import trio
from _compare import Target, compare, print_machine
from _quick import either

from horus_trio.helpers import AsyncAggregator, AsyncHelper

WORKERS = 4
ROUNDS = either(3_000, 50)
BATCH = 500
BATCHES = either(12, 1)
SENSORS = 8
REPETITIONS = either(15, 1)
TARGET = Target(at_most=1.5)


def operation(number: int) -> int:
    """Does nothing to speak of."""
    return number + 1


def per_call(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Microseconds of one, with a few before that do not count."""
    for _ in range(max(1, rounds // 10)):
        call()
    gc.collect()
    began = time.perf_counter()
    for _ in range(rounds):
        call()
    return (time.perf_counter() - began) / rounds * 1e6


def beside_the_loop(measure: Callable[[AsyncHelper], float]) -> float:
    async def main() -> float:
        async with AsyncHelper(workers=WORKERS, capacity=BATCH, results=BATCH) as helper:
            return await trio.to_thread.run_sync(measure, helper)

    return trio.run(main)


# One after the other


def pool_one() -> float:
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return per_call(lambda: pool.submit(operation, 1).result())


def helper_one() -> float:
    return beside_the_loop(
        lambda helper: per_call(lambda: helper.wait_blocking(helper.submit(operation, 1)).unwrap())
    )


# Many in flight


def per_operation(batch: Callable[[], int]) -> float:
    def checked() -> None:
        if batch() != sum(range(1, BATCH + 1)):
            raise SystemExit("a result is missing")

    return per_call(checked, BATCHES) / BATCH


def pool_many() -> float:
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:

        def batch() -> int:
            futures = [pool.submit(operation, number) for number in range(BATCH)]
            return sum(future.result() for future in futures)

        return per_operation(batch)


def helper_many() -> float:
    def measure(helper: AsyncHelper) -> float:
        def batch() -> int:
            ids = [helper.submit(operation, number) for number in range(BATCH)]
            return sum(helper.wait_blocking(one).unwrap() for one in ids)

        return per_operation(batch)

    return beside_the_loop(measure)


# Polled, as by ticks


def pool_polled() -> float:
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:

        def batch() -> int:
            pending = [pool.submit(operation, number) for number in range(BATCH)]
            total = 0
            while pending:
                time.sleep(0.0002)
                looked = [(future, future.done()) for future in pending]
                pending = [future for future, done in looked if not done]
                total += sum(future.result() for future, done in looked if done)
            return total

        return per_operation(batch)


def helper_polled() -> float:
    def measure(helper: AsyncHelper) -> float:
        def batch() -> int:
            for number in range(BATCH):
                helper.submit(operation, number)
            left, total = BATCH, 0
            while left:
                time.sleep(0.0002)
                results = helper.check_completed()
                left -= len(results)
                total += sum(result.unwrap() for result in results)
            return total

        return per_operation(batch)

    return beside_the_loop(measure)


# All, any, a quorum


def aggregator(measure: Callable[[AsyncAggregator], float]) -> float:
    async def main() -> float:
        async with AsyncAggregator(workers=SENSORS) as sensors:
            for number in range(SENSORS):
                sensors.add(f"sensor {number}", operation, number)
            return await trio.to_thread.run_sync(measure, sensors)

    return trio.run(main)


def pool_all() -> float:
    with concurrent.futures.ThreadPoolExecutor(SENSORS) as pool:

        def gather() -> None:
            futures = {pool.submit(operation, n): f"sensor {n}" for n in range(SENSORS)}
            done, _ = concurrent.futures.wait(futures)
            values = {futures[future]: future.result() for future in done}
            if len(values) != SENSORS:
                raise SystemExit("a result is missing")

        return per_call(gather, ROUNDS // 3)


def aggregator_all() -> float:
    def measure(sensors: AsyncAggregator) -> float:
        def gather() -> None:
            if len(sensors.wait_all_blocking().values) != SENSORS:
                raise SystemExit("a result is missing")

        return per_call(gather, ROUNDS // 3)

    return aggregator(measure)


def pool_any() -> float:
    with concurrent.futures.ThreadPoolExecutor(SENSORS) as pool:

        def gather() -> int:
            futures = {pool.submit(operation, n) for n in range(SENSORS)}
            done, rest = concurrent.futures.wait(
                futures, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in rest:
                future.cancel()
            return next(iter(done)).result()

        return per_call(gather, ROUNDS // 3)


def aggregator_any() -> float:
    return aggregator(
        lambda sensors: per_call(lambda: sensors.wait_any_blocking().unwrap(), ROUNDS // 3)
    )


def main() -> None:
    print_machine()
    compare(
        "one operation in the background, and its result",
        "us",
        {"ThreadPoolExecutor": pool_one, "AsyncHelper": helper_one},
        base="ThreadPoolExecutor",
        repetitions=REPETITIONS,
        targets={"AsyncHelper": TARGET},
    )
    compare(
        f"one of {BATCH} operations in flight, each waited for",
        "us",
        {"ThreadPoolExecutor": pool_many, "AsyncHelper": helper_many},
        base="ThreadPoolExecutor",
        repetitions=REPETITIONS,
        targets={"AsyncHelper": TARGET},
    )
    compare(
        f"one of {BATCH} operations in flight, polled for",
        "us",
        {"ThreadPoolExecutor": pool_polled, "AsyncHelper": helper_polled},
        base="ThreadPoolExecutor",
        repetitions=REPETITIONS,
        targets={"AsyncHelper": TARGET},
    )
    compare(
        f"all of {SENSORS} operations",
        "us",
        {"ThreadPoolExecutor, wait()": pool_all, "AsyncAggregator": aggregator_all},
        base="ThreadPoolExecutor, wait()",
        repetitions=REPETITIONS,
        targets={"AsyncAggregator": TARGET},
    )
    compare(
        f"any of {SENSORS} operations, and the rest cancelled",
        "us",
        {"ThreadPoolExecutor, wait()": pool_any, "AsyncAggregator": aggregator_any},
        base="ThreadPoolExecutor, wait()",
        repetitions=REPETITIONS,
        targets={"AsyncAggregator": TARGET},
    )


if __name__ == "__main__":
    main()
