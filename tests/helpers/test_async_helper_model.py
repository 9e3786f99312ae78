"""`AsyncHelper` against a model, over generated histories: submits, delays, faults, cancellations.

The model is a few lists and a clock. It knows nothing of tasks and threads, so the histories are
of ``async`` operations on virtual time; a second test has real threads, and the laws alone.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from horus_trio.helpers import AsyncHelper, OperationRefused, OperationStatus, UnknownOperation

COMPLETED, FAILED = OperationStatus.COMPLETED, OperationStatus.FAILED
TIMED_OUT, CANCELLED = OperationStatus.TIMED_OUT, OperationStatus.CANCELLED
DROPPED = OperationStatus.DROPPED


@dataclass(frozen=True)
class Submit:
    """Takes so many seconds, and then fails or not."""

    name: str
    seconds: int
    fails: bool
    timeout: int | None


@dataclass(frozen=True)
class Cancel:
    name: str


@dataclass(frozen=True)
class Check:
    name: str | None


@dataclass(frozen=True)
class WaitFor:
    """Waits for one, so many seconds at most."""

    name: str
    patience: int


NAMES = st.sampled_from("abcdefgh")
STEPS = st.one_of(
    st.builds(Submit, NAMES, st.integers(1, 5), st.booleans(), st.none() | st.integers(1, 4)),
    st.builds(Submit, NAMES, st.integers(1, 5), st.booleans(), st.none() | st.integers(1, 4)),
    st.builds(Cancel, NAMES),
    st.builds(Check, st.none() | NAMES),
    st.builds(WaitFor, NAMES, st.integers(0, 4)),
)
HISTORIES = st.lists(st.tuples(st.integers(0, 2), STEPS), max_size=25)


@dataclass
class Model:
    """What is to be expected.

    Steps are on whole seconds. Operations take, and time out after, such odd fractions of a second
    besides that no two end at one instant, and none when a step is made.
    """

    workers: int
    capacity: int
    drop_oldest: bool
    bound: int
    now: float = 0.0
    queue: list[tuple[Submit, float, float | None]] = field(default_factory=list)
    running: list[tuple[float, str, OperationStatus, float]] = field(default_factory=list)
    done: dict[str, tuple[OperationStatus, float]] = field(default_factory=dict)
    counts: dict[OperationStatus, int] = field(
        default_factory=lambda: dict.fromkeys(OperationStatus, 0)
    )
    submitted: int = 0
    refused: int = 0
    collected: int = 0
    discarded: int = 0

    def pending(self) -> set[str]:
        return {entry[0].name for entry in self.queue} | {name for _, name, _, _ in self.running}

    def advance(self, until: float) -> None:
        while self.running and (first := min(self.running))[0] <= until:
            self.now, name, status, duration = first
            self.running.remove(first)
            self.end(name, status, duration)
            self.dispatch()
        self.now = until

    def dispatch(self) -> None:
        while self.queue and len(self.running) < self.workers:
            submit, seconds, timeout = self.queue.pop(0)
            status = FAILED if submit.fails else COMPLETED
            if timeout is not None and timeout < seconds:
                status, seconds = TIMED_OUT, timeout
            self.running.append((self.now + seconds, submit.name, status, seconds))

    def end(self, name: str, status: OperationStatus, duration: float) -> None:
        self.counts[status] += 1
        self.done[name] = status, duration
        if len(self.done) > self.bound:
            del self.done[next(iter(self.done))]
            self.discarded += 1

    def submit(self, submit: Submit, seconds: float, timeout: float | None) -> str:
        if submit.name in self.pending() or submit.name in self.done:
            return "in use"
        if len(self.running) >= self.workers and len(self.queue) >= self.capacity:
            if not self.drop_oldest:
                self.refused += 1
                return "full"
            self.end(self.queue.pop(0)[0].name, DROPPED, 0.0)
        self.submitted += 1
        self.queue.append((submit, seconds, timeout))
        self.dispatch()
        return "taken"

    def cancel(self, name: str) -> bool:
        for entry in self.queue:
            if entry[0].name == name:
                self.queue.remove(entry)
                self.end(name, CANCELLED, 0.0)
                return True
        for running in self.running:
            if running[1] == name:
                self.running.remove(running)
                self.end(name, CANCELLED, self.now - (running[0] - running[3]))
                self.dispatch()
                return True
        return False

    def collect(self, name: str) -> tuple[OperationStatus, float]:
        self.collected += 1
        return self.done.pop(name)


async def work(seconds: float, fails: bool) -> float:
    await trio.sleep(seconds)
    if fails:
        raise ValueError(seconds)
    return seconds


async def settle() -> None:
    """Let what has been cancelled unwind, at this instant."""
    await trio.testing.wait_all_tasks_blocked()


@settings(max_examples=120, deadline=None)
@given(
    history=HISTORIES,
    workers=st.integers(1, 3),
    capacity=st.integers(1, 3),
    drop_oldest=st.booleans(),
    bound=st.integers(1, 4),
    grace=st.integers(0, 6),
)
def test_it_does_what_a_model_does(
    history: list[tuple[int, Submit | Cancel | Check | WaitFor]],
    workers: int,
    capacity: int,
    drop_oldest: bool,
    bound: int,
    grace: int,
) -> None:
    model = Model(workers, capacity, drop_oldest, bound)
    helper = AsyncHelper(
        workers=workers,
        capacity=capacity,
        drop_oldest=drop_oldest,
        results=bound,
        grace=grace + 0.5,
    )
    odd = (math.sqrt(p) % 1 for p in range(2, 1000) if all(p % d for d in range(2, p)))

    def agree() -> None:
        now = helper.statistics()
        assert now.submitted == model.submitted
        assert {
            COMPLETED: now.completed,
            FAILED: now.failed,
            TIMED_OUT: now.timed_out,
            CANCELLED: now.cancelled,
            DROPPED: now.dropped,
        } == model.counts
        assert now.pending == helper.pending_count() == len(model.queue) + len(model.running)
        assert now.running == len(model.running)
        assert now.refused == model.refused
        assert (now.collected, now.uncollected) == (model.collected, len(model.done))
        assert now.discarded == model.discarded
        for name in "abcdefgh":
            assert helper.is_pending(name) == (name in model.pending())

    async def step(what: Submit | Cancel | Check | WaitFor) -> None:
        if isinstance(what, Submit):
            seconds = what.seconds + next(odd)
            timeout = None if what.timeout is None else what.timeout + next(odd)
            expected = model.submit(what, seconds, timeout)
            try:
                helper.submit(
                    work,
                    seconds,
                    what.fails,
                    operation_id=what.name,
                    operation_timeout=timeout,
                )
            except ValueError:
                assert expected == "in use"
            except OperationRefused:
                assert expected == "full"
            else:
                assert expected == "taken"
        elif isinstance(what, Cancel):
            assert helper.cancel(what.name) == model.cancel(what.name)
        elif isinstance(what, WaitFor):
            before = model.now
            known = what.name in model.done or what.name in model.pending()
            with trio.move_on_after(what.patience + 0.25) as scope:
                try:
                    result = await helper.wait(what.name)
                except UnknownOperation:
                    assert not known
                    return
            assert known
            if scope.cancelled_caught:
                model.advance(trio.current_time())
                end = trio.current_time()
                assert end == pytest.approx(before + what.patience + 0.25)
                assert what.name in model.pending()
                await trio.sleep_until(math.ceil(end))
                model.advance(math.ceil(end))
            else:
                end = trio.current_time()
                model.advance(end)
                # It may be collected though its result was discarded at this very instant.
                if what.name in model.done:
                    status, duration = model.collect(what.name)
                    assert result.status is status
                    assert result.duration == pytest.approx(duration)
                await trio.sleep_until(math.ceil(end))
                model.advance(math.ceil(end))
        elif what.name is None:
            results = helper.check_completed()
            assert [(result.id, result.status) for result in results] == [
                (name, status) for name, (status, _) in model.done.items()
            ]
            for result in results:
                assert result.duration == pytest.approx(model.collect(result.id)[1])
                assert result.success == (result.status is COMPLETED)
        else:
            known = what.name in model.done or what.name in model.pending()
            try:
                one = helper.check_completed(what.name)
            except UnknownOperation:
                assert not known
                return
            assert known
            if one is None:
                assert what.name in model.pending()
            else:
                assert one.status is model.collect(what.name)[0]

    async def main() -> None:
        async with helper:
            for delay, what in history:
                await trio.sleep(delay)
                model.advance(trio.current_time())
                await step(what)
                await settle()
                agree()
        # Closing: a grace, and then everything is cancelled.
        model.advance(min(trio.current_time(), model.now + grace + 0.5))
        for name in [e[0].name for e in model.queue] + [e[1] for e in model.running]:
            model.cancel(name)
        agree_at_the_end()

    def agree_at_the_end() -> None:
        now = helper.statistics()
        assert now.pending == 0
        assert now.submitted == model.submitted
        assert (now.completed, now.failed) == (model.counts[COMPLETED], model.counts[FAILED])
        assert (now.timed_out, now.dropped) == (model.counts[TIMED_OUT], model.counts[DROPPED])
        assert now.cancelled == model.counts[CANCELLED]
        assert now.collected + now.uncollected + now.discarded == now.submitted

    trio.run(main, clock=MockClock(autojump_threshold=0))


# Real threads: nothing but the laws

JOBS = st.lists(
    st.tuples(
        st.sampled_from(["value", "error", "exit", "async", "hang", "nap"]),
        st.sampled_from([None, 0.002, 5.0]),
        st.booleans(),
    ),
    max_size=30,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(jobs=JOBS, workers=st.integers(1, 4), most=st.integers(0, 3), drop_oldest=st.booleans())
def test_every_operation_of_many_threads_ends_once(
    jobs: list[tuple[str, float | None, bool]], workers: int, most: int, drop_oldest: bool
) -> None:
    over = threading.Event()
    helper = AsyncHelper(
        workers=workers, capacity=8, drop_oldest=drop_oldest, max_abandoned=most, grace=0.02
    )
    taken: list[str] = []
    collected: list[str] = []

    def run(kind: str) -> str:
        if kind == "error":
            raise ValueError
        if kind == "exit":
            raise SystemExit
        if kind == "hang":
            over.wait(20)
        if kind == "nap":
            time.sleep(0.001)
        return kind

    async def run_async() -> str:
        await trio.sleep(0.001)
        return "async"

    def submit_some(share: list[tuple[str, float | None, bool]]) -> None:
        for kind, timeout, cancels in share:
            try:
                if kind == "async":
                    one = helper.submit(run_async, operation_timeout=timeout)
                else:
                    one = helper.submit(run, kind, operation_timeout=timeout)
            except OperationRefused:
                continue
            taken.append(one)
            if cancels:
                helper.cancel(one)
            collected.extend(result.id for result in helper.check_completed())
            now = helper.statistics()
            ended = now.completed + now.failed + now.timed_out + now.cancelled + now.dropped
            assert now.submitted == ended + now.pending
            assert ended == now.collected + now.uncollected + now.discarded
            assert now.running <= workers

    async def main() -> None:
        async with helper, trio.open_nursery() as nursery:
            for part in range(3):
                nursery.start_soon(trio.to_thread.run_sync, submit_some, jobs[part::3])

    try:
        trio.run(main)
        collected.extend(result.id for result in helper.check_completed())
        assert sorted(collected) == sorted(taken)
        now = helper.statistics()
        assert (now.pending, now.submitted, now.discarded) == (0, len(taken), 0)
    finally:
        over.set()
        for _ in range(2000):
            if helper.statistics().abandoned == 0:
                break
            time.sleep(0.005)
    assert helper.statistics().abandoned == 0
