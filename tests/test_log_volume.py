"""How many lines a failing node writes to stderr: a real process, ten seconds of virtual time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

PROGRAM = """\
    import itertools
    import logging
    import sys

    import trio
    import trio.testing

    import horus_trio as horus
    from horus_trio import CircuitBreaker, Ignore, Miss, Restart

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    count = itertools.count(1)


    async def well(node):
        pass


    async def sends(node):
        node.send("scan", 1)


    async def fails(node):
        raise ConnectionError(f"no answer to request {next(count)}")


    async def dives(node):
        deep(0)


    def deep(n):
        deeper(n)


    def deeper(n):
        deep(n)


    async def alternates(node):
        errors = ValueError, KeyError, OSError, TypeError, TimeoutError
        raise errors[next(count) % 5]("one of five")


    async def invents(node):
        raise type(f"Error{next(count)}", (Exception,), {})("y\\n" * 100)


    async def fails_in_a_task(node):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, node)
            nursery.start_soon(dives, node)


    async def is_slow(node):
        await trio.sleep(0.01)


    async def on_error(node, error):
        raise RuntimeError(f"no comfort: {error}")


    def on_stale(topic):
        raise RuntimeError(f"stale: {next(count)}")


    def callback(result):
        if next(count) % 2:
            raise RuntimeError("every second time")


    def robot(tick, *, rate=100, on_result=None, **options):
        options.setdefault("failure_policy", Ignore())
        scheduler = horus.Scheduler(signals=False)
        scheduler.add(horus.Node("arm", tick=tick, rate=rate, **options))
        if on_result is not None:
            scheduler.on_result(on_result)
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(scheduler.run, 10, clock=clock)


    report = robot(CASE)
    node = report.statistics.nodes["arm"]
    print(node.errors, node.missed, node.observer_errors, report.statistics.callback_errors)
    """

RUNS_ON = "failure_policy=Restart(within=None, backoff=0, jitter=0)"
CASES = {
    # what the robot is: at least so many errors, misses, errors of observers, of callbacks
    "fails": (1000, 0, 0, 0),
    f"fails, {RUNS_ON}": (900, 0, 0, 0),
    "fails, failure_policy=CircuitBreaker(max_failures=5, cooldown=0.01)": (400, 0, 0, 0),
    "fails, failure_policy=CircuitBreaker(max_failures=5, cooldown=1)": (10, 0, 0, 0),
    "fails, on_error=on_error": (1000, 0, 1000, 0),
    "dives": (1000, 0, 0, 0),
    "dives, on_error=on_error": (1000, 0, 1000, 0),
    "alternates": (1000, 0, 0, 0),
    f"alternates, {RUNS_ON}": (900, 0, 0, 0),
    "invents": (1000, 0, 0, 0),
    "invents, on_error=on_error": (1000, 0, 1000, 0),
    "fails_in_a_task": (1000, 0, 0, 0),
    "sends, rate=50, subs=[horus.Sub('scan', max_age=0.01, on_stale=on_stale)]": (0, 0, 200, 0),
    "well, on_result=callback": (0, 0, 0, 500),
    "is_slow, rate=1000, on_miss=Miss.WARN, deadline=0.005": (0, 8000, 0, 0),
}


def run(case: str) -> tuple[list[int], Sequence[str]]:
    program = textwrap.dedent(PROGRAM).replace("CASE", case)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    return [int(number) for number in ended.stdout.split()], ended.stderr.splitlines()


@pytest.mark.slow
def test_ten_seconds_of_failing_at_100_hz_are_less_than_100_lines() -> None:
    with ThreadPoolExecutor(2) as pool:
        for case, (counts, lines) in zip(CASES, pool.map(run, CASES), strict=True):
            print(case, counts, len(lines))
            assert all(got >= least for got, least in zip(counts, CASES[case], strict=True)), case
            assert 2 <= len(lines) < 100, case
            assert "Traceback (most recent call last)" in "".join(lines) or "is_slow" in case, case
            assert any(" more times in the last " in line for line in lines), case
