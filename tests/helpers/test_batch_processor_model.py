"""A batch processor under generated operations, faults, delays and cancellations, and its laws.

One list of operations is played in one run on virtual time. What the processor and the dead letters
have got is compared with what went in: nothing is lost, nothing comes twice, all in order, no batch
too large or too late, one at a time.
"""

from __future__ import annotations

import itertools
import logging
import random
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from trio.testing import MockClock

from horus_trio import Overflow
from horus_trio.helpers import BatchProcessor, BatchProcessorStatistics


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("horus_trio")
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(logging.NOTSET)


def is_lawful(s: BatchProcessorStatistics) -> bool:
    return s.added == s.processed + s.dead + s.dropped + s.returned + s.unprocessed + s.waiting


# What to do, and when

STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 6)),
    st.tuples(st.just("add_async"), st.integers(0, 20)),  # its patience, in tenths of a second
    st.tuples(st.just("flush"), st.integers(0, 20)),
    st.tuples(st.just("sleep"), st.integers(1, 15)),
    st.tuples(st.just("take"), st.just(0)),
    st.tuples(st.just("reopen"), st.booleans().map(int)),  # cancelled or not
)

FATES = st.one_of(
    st.just(("ok", 0)),
    st.tuples(st.just("ok"), st.integers(1, 30)),
    st.tuples(st.just("fail"), st.integers(0, 10)),
    st.just(("hang", 0)),
)


@dataclass(kw_only=True)
class Settings:
    batch_size: int
    interval: float
    room: int
    overflow: Overflow
    retries: int
    timeout: float | None
    grace: float
    dead_letter: str


SETTINGS = st.builds(
    Settings,
    batch_size=st.integers(1, 4),
    interval=st.sampled_from([0.1, 0.5, 1.0]),
    room=st.integers(0, 4),
    overflow=st.sampled_from([Overflow.BLOCK, Overflow.DROP_OLDEST, Overflow.DROP_NEWEST]),
    retries=st.integers(0, 2),
    timeout=st.sampled_from([None, 0.5, 1.0]),
    grace=st.sampled_from([0.0, 0.5, 5.0]),
    dead_letter=st.sampled_from(["", "takes", "fails now and then"]),
)


@dataclass
class World:
    """What goes in, and what comes out."""

    settings: Settings
    fates: list[tuple[str, int]]
    numbers: Iterator[int] = field(default_factory=itertools.count)
    added: dict[int, float] = field(default_factory=dict)
    refused: int = 0
    processed: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    at_work: int = 0
    free_since: float = 0.0
    burials: int = 0
    reopened: bool = False
    wrong: list[str] = field(default_factory=list)

    def make(self) -> BatchProcessor[int]:
        s = self.settings
        return BatchProcessor(
            self.process,
            batch_size=s.batch_size,
            interval=s.interval,
            capacity=s.batch_size + s.room,
            overflow=s.overflow,
            retries=s.retries,
            backoff=0.2,
            max_backoff=0.3,
            process_timeout=s.timeout,
            close_grace=s.grace,
            dead_letter=self.bury if s.dead_letter else None,
        )

    def look_at(self, batch: list[int]) -> None:
        """Whatever is wrong is written down: an assertion would be one more failure of a batch."""
        if self.at_work:
            self.wrong.append("two at once")
        if not 1 <= len(batch) <= self.settings.batch_size:
            self.wrong.append(f"a batch of {len(batch)}")
        if batch != sorted(batch):
            self.wrong.append("out of order")
        if batch[0] not in self.seen and not self.reopened:
            # Not later than its interval, unless the one before was still at work.
            # (An adder that has not run on yet has not told when it came.)
            came = self.added.get(batch[0], trio.current_time())
            due = max(came + self.settings.interval, self.free_since)
            if trio.current_time() > due + 1e-9:
                self.wrong.append(f"late by {trio.current_time() - due}")

    async def process(self, batch: list[int]) -> None:
        self.look_at(batch)
        self.seen += batch
        self.at_work += 1
        try:
            fate, tenths = self.fates.pop(0) if self.fates else ("ok", 0)
            if fate == "hang":
                await trio.sleep_forever()
            await trio.sleep(tenths / 10)
            if fate == "fail":
                raise OSError
            self.processed += batch
        finally:
            self.at_work -= 1
            self.free_since = trio.current_time() + 0.3  # a pause may follow, and dead letters

    async def bury(self, batch: list[int], error: BaseException) -> None:
        self.burials += 1
        if self.settings.dead_letter != "takes" and self.burials % 2:
            raise OSError
        await trio.lowlevel.checkpoint()
        self.dead += batch

    def add(self, processor: BatchProcessor[int]) -> None:
        number = next(self.numbers)
        self.added[number] = trio.current_time()
        try:
            processor.add(number)
        except trio.WouldBlock:
            assert self.settings.overflow is Overflow.BLOCK
            del self.added[number]
            self.refused += 1

    async def add_async(self, processor: BatchProcessor[int], tenths: int) -> None:
        number = next(self.numbers)
        with trio.move_on_after(tenths / 10):
            await processor.add_async(number)
            self.added[number] = trio.current_time()

    async def flush(self, processor: BatchProcessor[int], tenths: int) -> None:
        before = set(self.added)
        with trio.move_on_after(tenths / 10):
            await processor.flush()
            s = processor.statistics()
            out = {*self.processed, *self.dead, *self.taken, *processor._backlog.kept}
            assert len(before - out) <= s.dropped

    async def play(self, steps: list[tuple[str, int]]) -> BatchProcessor[int]:
        processor = self.make()
        remaining = iter(steps)
        more = True
        while more:
            more = False
            began = trio.current_time()
            with trio.CancelScope() as scope:
                async with processor:
                    for verb, n in remaining:
                        if verb == "add":
                            for _ in range(n):
                                self.add(processor)
                        elif verb == "add_async":
                            await self.add_async(processor, n)
                        elif verb == "flush":
                            await self.flush(processor, n)
                        elif verb == "sleep":
                            await trio.sleep(n / 10)
                        elif verb == "take":
                            self.taken += processor.take_unprocessed()
                        else:
                            more = self.reopened = True
                            if n:
                                scope.cancel()
                            break
                        assert is_lawful(processor.statistics())
                    began = trio.current_time()
            assert trio.current_time() <= began + self.settings.grace + 1e-9
            assert is_lawful(processor.statistics())
            assert processor.statistics().waiting == 0
        return processor


@pytest.mark.slow
@hypothesis.settings(max_examples=300)
@hypothesis.given(
    settings=SETTINGS,
    fates=st.lists(FATES, max_size=12),
    steps=st.lists(STEPS, max_size=25),
)
def test_nothing_is_lost_or_doubled_and_all_is_in_order(
    settings: Settings, fates: list[tuple[str, int]], steps: list[tuple[str, int]]
) -> None:
    world = World(settings, fates)
    processor = trio.run(world.play, steps, clock=MockClock(autojump_threshold=0))
    world.taken += processor.take_unprocessed()
    assert world.wrong == []
    s = processor.statistics()
    assert is_lawful(s)
    out = [*world.processed, *world.dead, *world.taken]
    assert len(out) == len(set(out))
    assert set(out) <= world.added.keys()
    assert s.added == len(world.added)
    assert len(world.added) - len(out) == s.dropped
    if settings.overflow is Overflow.BLOCK:
        assert s.dropped == 0
    if not world.reopened:  # those that were left come again
        assert world.processed == sorted(world.processed)
        assert world.dead == sorted(world.dead)
    assert (s.processed, s.dead, s.returned) == (
        len(world.processed),
        len(world.dead),
        len(world.taken),
    )


@pytest.mark.slow
async def test_threads_and_tasks_beside_a_failing_writer_lose_nothing() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    dice = random.Random(1)
    written = list[tuple[int, int]]()
    dead = list[tuple[int, int]]()
    added = [0] * 8
    over = threading.Event()
    sizes = set[int]()

    def write(batch: list[tuple[int, int]]) -> None:
        sizes.add(len(batch))
        if dice.random() < 0.2:
            raise OSError
        written.extend(batch)

    def bury(batch: list[tuple[int, int]], error: BaseException) -> None:
        dead.extend(batch)

    processor = BatchProcessor(
        write,
        batch_size=16,
        capacity=32,
        interval=0.001,
        retries=1,
        backoff=0.0,
        dead_letter=bury,
        close_grace=20,
    )

    def in_thread(me: int) -> None:
        while not over.is_set():
            try:
                if added[me] % 2:
                    processor.add((me, added[me]))
                else:
                    processor.add_blocking((me, added[me]), timeout=0.0005)
            except (trio.WouldBlock, TimeoutError):
                continue
            added[me] += 1
            if added[me] % 50 == 0:
                processor.flush_blocking()

    async def in_task(me: int) -> None:
        while not over.is_set():
            with trio.move_on_after(0.0005):
                await processor.add_async((me, added[me]))
                added[me] += 1
            await trio.lowlevel.checkpoint()

    try:
        async with processor, trio.open_nursery() as nursery:
            for me in range(4):
                nursery.start_soon(trio.to_thread.run_sync, in_thread, me)
            for me in range(4, 8):
                nursery.start_soon(in_task, me)
            for _ in range(150):
                await trio.sleep(0.01)
                assert is_lawful(processor.statistics())
            over.set()
        left = processor.take_unprocessed()
    finally:
        over.set()
        sys.setswitchinterval(before)
    assert left == []
    assert max(sizes) <= 16
    for me in range(8):
        numbers = [number for who, number in written if who == me]
        assert numbers == sorted(numbers)
        numbers += [number for who, number in dead if who == me]
        assert sorted(numbers) == list(range(added[me]))
        assert added[me] > 10
    assert processor.statistics().dead == len(dead)
