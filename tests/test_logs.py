"""Logging: records know their node and tick, and no handler ever holds the loop up."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio.logs import LogThread, OffLoopLogger, thread


class Keeps(logging.Handler):
    """Keeps records and the threads that handled them; waits in `hold` before each."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.threads: set[int] = set()
        self.hold: threading.Event | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.hold is not None:
            self.hold.wait(20)
        self.threads.add(threading.get_ident())
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Iterator[Keeps]:
    handler = Keeps()
    logger = logging.getLogger("horus_trio")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def quiet() -> Iterator[logging.Logger]:
    """A logger that ends here."""
    logger = logging.getLogger("test of horus_trio")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logger.filters.clear()


# Nodes


async def test_records_carry_node_and_tick(
    autojump_clock: trio.testing.MockClock, kept: Keeps
) -> None:
    class Talks(horus.AsyncNode):
        async def init(self) -> None:
            self.log.warning("in %s", "init")

        async def tick_async(self) -> None:
            self.log.warning("tick", extra={"mine": 7})

    node = Talks("arm")
    await horus.Scheduler(tick_rate=1).add(node).run(2)
    node.log.warning("afterwards")
    said = [
        (r.getMessage(), r.name, getattr(r, "node", 0), getattr(r, "tick", 0)) for r in kept.records
    ]
    assert said == [
        ("in init", "horus_trio.node.arm", "arm", None),
        ("tick", "horus_trio.node.arm", "arm", 1),
        ("tick", "horus_trio.node.arm", "arm", 2),
        ("afterwards", "horus_trio.node.arm", "arm", 2),
    ]
    assert getattr(kept.records[1], "mine") == 7  # noqa: B009 - no such attribute to mypy


def test_outside_a_run_records_are_handled_here(kept: Keeps) -> None:
    node = horus.Node("arm")
    node.log.error("hello")
    assert kept.texts == ["hello"]
    assert kept.threads == {threading.get_ident()}
    assert getattr(kept.records[0], "node") == "arm"  # noqa: B009


async def test_in_a_run_records_are_handled_in_one_other_thread(kept: Keeps) -> None:
    class Talks(horus.AsyncNode):
        async def tick_async(self) -> None:
            self.log.warning("hello")

    await horus.Scheduler(tick_rate=500).add(Talks("a")).add(Talks("b")).run(0.02)
    assert len(kept.texts) >= 2
    assert len(kept.threads) == 1
    assert threading.get_ident() not in kept.threads


async def test_a_handler_that_blocks_does_not_block_the_loop(kept: Keeps) -> None:
    ticks = 0
    kept.hold = threading.Event()

    class Talks(horus.AsyncNode):
        async def tick_async(self) -> None:
            nonlocal ticks
            ticks += 1
            self.log.warning("tick %d", ticks)
            if ticks == 20:
                assert kept.records == []  # not one has been handled
                assert kept.hold is not None
                kept.hold.set()
                self.request_stop()

    with trio.fail_after(10):
        await horus.Scheduler(tick_rate=500).add(Talks("arm")).run()
    assert kept.texts[:20] == [f"tick {n}" for n in range(1, 21)]


async def test_a_handler_that_blocks_at_the_end_holds_no_sibling_of_the_run_up(
    kept: Keeps,
) -> None:
    hold = kept.hold = threading.Event()

    class Talks(horus.AsyncNode):
        said = False

        async def tick_async(self) -> None:
            if not self.said:  # a slow machine may have time for a second tick
                self.said = True
                self.log.warning("tick")
            self.request_stop()

    async def sibling() -> None:
        for _ in range(5):
            await trio.sleep(0.01)
        hold.set()

    with trio.fail_after(10):
        scheduler = horus.Scheduler().add(Talks("arm"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sibling)
            await scheduler.run()
            assert hold.is_set()  # the run waited for the handler, and the sibling went on
    assert kept.texts == ["tick"]


async def test_a_level_may_change_at_any_time(kept: Keeps) -> None:
    node = horus.Node("arm")
    logger = logging.getLogger("horus_trio.node.arm")
    try:
        logger.setLevel(logging.ERROR)
        node.log.warning("too low")
        assert not node.log.isEnabledFor(logging.WARNING)
        logger.setLevel(logging.DEBUG)
        node.log.debug("now it is enough")
    finally:
        logger.setLevel(logging.NOTSET)
    assert kept.texts == ["now it is enough"]


async def test_an_exception_is_text_by_the_time_it_is_handled(
    autojump_clock: trio.testing.MockClock, kept: Keeps
) -> None:
    class Talks(horus.AsyncNode):
        async def tick_async(self) -> None:
            try:
                raise ValueError("seen and logged")
            except ValueError:
                self.log.exception("caught")

    await horus.Scheduler(tick_rate=1).add(Talks("arm")).run(1)
    (record,) = kept.records
    assert record.exc_info is None  # which would keep the frames alive
    assert record.exc_text is not None
    assert "ValueError: seen and logged" in record.exc_text
    assert "seen and logged" in logging.Formatter().format(record)


async def test_arguments_are_formatted_when_they_are_logged(
    autojump_clock: trio.testing.MockClock, kept: Keeps
) -> None:
    class Talks(horus.AsyncNode):
        async def tick_async(self) -> None:
            values = [1]
            self.log.warning("values %s", values)
            values.append(2)

    await horus.Scheduler(tick_rate=1).add(Talks("arm")).run(1)
    assert kept.texts == ["values [1]"]


async def test_a_silent_run_has_no_log_thread() -> None:
    seen: list[str] = []

    class Looks(horus.AsyncNode):
        async def tick_async(self) -> None:
            seen.extend(thread.name for thread in threading.enumerate())
            self.request_stop()

    await horus.Scheduler().add(Looks()).run()
    assert "horus_trio log" not in seen


# The thread itself


def test_what_does_not_fit_is_dropped_counted_and_told(
    quiet: logging.Logger, kept: Keeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "CAPACITY", 10)
    handler = Keeps()
    handler.hold = threading.Event()
    quiet.addHandler(handler)
    logger = OffLoopLogger(quiet)
    with LogThread() as log_thread:
        logger.thread = log_thread
        for n in range(100):
            logger.info("%d", n)
        dropped = log_thread.dropped
        handler.hold.set()
    assert 89 <= dropped <= 90  # ten wait, and perhaps one is being handled
    assert handler.texts[:10] == [str(n) for n in range(10)]
    assert len(handler.texts) == 100 - dropped
    (told,) = kept.texts
    assert told.startswith(f"{dropped} log records were dropped")


def test_leaving_handles_what_is_queued(quiet: logging.Logger) -> None:
    handler = Keeps()
    quiet.addHandler(handler)
    logger = OffLoopLogger(quiet)
    with LogThread() as log_thread:
        logger.thread = log_thread
        for n in range(1000):
            logger.info("%d", n)
    assert handler.texts == [str(n) for n in range(1000)]
    logger.info("late")  # nobody is there to queue it for
    assert handler.texts[-1] == "late"
    assert log_thread.dropped == 0


def test_leaving_waits_no_longer_than_its_grace(quiet: logging.Logger) -> None:
    handler = Keeps()
    handler.hold = threading.Event()
    quiet.addHandler(handler)
    logger = OffLoopLogger(quiet)
    with LogThread(grace=0.01) as log_thread:
        logger.thread = log_thread
        logger.info("held")
    assert handler.records == []
    handler.hold.set()


def test_filters_and_levels_of_the_target_hold(quiet: logging.Logger) -> None:
    handler = Keeps()
    quiet.addHandler(handler)
    quiet.addFilter(lambda record: "secret" not in record.getMessage())
    logger = OffLoopLogger(quiet)
    logger.debug("too low")
    logger.info("secret outside")
    logger.info("open outside")
    with LogThread() as log_thread:
        logger.thread = log_thread
        logger.debug("too low")
        logger.info("secret inside")
        logger.info("open inside")
    assert handler.texts == ["open outside", "open inside"]


def test_a_handler_that_raises_is_told_and_the_next_record_handled(
    quiet: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    class Breaks(Keeps):
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            raise ValueError("in the handler")

    handler = Breaks()
    quiet.addHandler(handler)
    logger = OffLoopLogger(quiet)
    with LogThread() as log_thread:
        logger.thread = log_thread
        logger.info("one")
        logger.info("two")
    assert handler.texts == ["one", "two"]
    assert capsys.readouterr().err.count("ValueError: in the handler") == 2


def test_many_threads_may_log(quiet: logging.Logger) -> None:
    handler = Keeps()
    quiet.addHandler(handler)
    logger = OffLoopLogger(quiet)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with LogThread() as log_thread:
            logger.thread = log_thread
            workers = [
                threading.Thread(target=lambda: [logger.info("x") for _ in range(300)])  # type: ignore[func-returns-value]
                for _ in range(4)
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    finally:
        sys.setswitchinterval(before)
    assert len(handler.texts) + log_thread.dropped == 1200
    assert len(handler.threads) == 1


def test_without_a_thread_records_wait_and_are_handled_in_the_end(
    quiet: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    handler = Keeps()
    quiet.addHandler(handler)
    logger = OffLoopLogger(quiet)
    with LogThread() as log_thread:
        logger.thread = log_thread
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            logger.info("one")
            logger.info("two")
        assert handler.texts == []
    assert handler.texts == ["one", "two"]
    assert handler.threads == {threading.get_ident()}


def test_once_there_are_threads_again_waiting_records_are_handled(
    quiet: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    handler = Keeps()
    quiet.addHandler(handler)
    logger = OffLoopLogger(quiet)
    with LogThread() as log_thread:
        logger.thread = log_thread
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            logger.info("one")
        logger.info("two")
    assert handler.texts == ["one", "two"]
    assert threading.get_ident() not in handler.threads


def test_records_of_a_stuck_log_thread_are_dropped_and_counted(quiet: logging.Logger) -> None:
    """Nothing is put to a handler whose lock the thread holds, least of all on the loop."""
    handler = Keeps()
    handler.hold = threading.Event()
    quiet.addHandler(handler)
    logger = OffLoopLogger(quiet)
    with LogThread(grace=0.01) as log_thread:
        logger.thread = log_thread
        logger.info("held")
        logger.info("left behind")
    logger.info("too late")
    assert log_thread.dropped == 2
    handler.hold.set()


def test_a_stream_without_room_is_waited_for_without_the_handlers_lock(
    quiet: logging.Logger,
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    with os.fdopen(reader, "rb", 0), os.fdopen(writer, "w", encoding="utf-8") as stream:
        handler = logging.StreamHandler(stream)
        quiet.addHandler(handler)
        logger = OffLoopLogger(quiet)
        with LogThread(grace=0.1) as log_thread:
            logger.thread = log_thread
            logger.info("one")
            logger.info("two")
        assert log_thread.dropped == 2
        assert handler.lock is not None
        assert handler.lock.acquire(blocking=False)
        handler.lock.release()
        assert "horus_trio log" not in [thread.name for thread in threading.enumerate()]
