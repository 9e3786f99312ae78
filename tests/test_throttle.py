"""What is told of repeated errors: each kind at once, repeats as counts, and never a flood."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import horus_trio as horus
from horus_trio.logs import ErrorLog, Notice, OffLoopLogger, Throttle, headline, span, text_of
from horus_trio.logs.errors import COLUMNS, LINES, shortened


def said(notice: Notice | None) -> str:
    """A notice in short."""
    if notice is None:
        return ""
    marks = ("!" if notice.first else "") + ("?" if notice.mixed else "")
    return f"{notice.count} in {notice.seconds:g}{marks}"


# The pure rule


@pytest.mark.parametrize(
    ("interval", "instants", "expected"),
    [
        (10.0, [0, 1, 2, 9.5, 10, 11, 20], ["1 in 0!", "", "", "", "4 in 10", "", "2 in 10"]),
        (1.0, [5, 7, 9], ["1 in 0!", "1 in 2", "1 in 2"]),
    ],
)
def test_a_kind_is_told_at_once_and_then_in_intervals(
    interval: float, instants: list[float], expected: list[str]
) -> None:
    throttle = Throttle(interval)
    assert [said(throttle.admit(now, "failed")) for now in instants] == expected


def test_each_kind_has_a_count_of_its_own() -> None:
    throttle = Throttle(10.0)
    events = [(0, "a"), (1, "b"), (2, "a"), (3, "b"), (4, "b"), (10, "a"), (11, "b")]
    assert [said(throttle.admit(now, "failed", kind)) for now, kind in events] == [
        "1 in 0!",
        "1 in 0!",
        "",
        "",
        "",
        "2 in 10",
        "3 in 10",
    ]


def test_a_kind_too_many_is_told_with_the_others() -> None:
    throttle = Throttle(10.0, kinds=2)
    events = "abcdc"
    told = [said(throttle.admit(n, "failed", kind)) for n, kind in enumerate(events)]
    assert told == ["1 in 0!", "1 in 0!", "1 in 0!?", "", ""]
    assert [said(notice) for notice in throttle.close(5)] == ["2 in 3?"]


def test_a_new_kind_takes_the_place_of_a_quiet_one() -> None:
    throttle = Throttle(10.0, kinds=2)
    events = [(0, "a"), (1, "a"), (2, "b"), (11, "c")]
    told = [said(throttle.admit(now, "failed", kind)) for now, kind in events]
    assert told == ["1 in 0!", "", "1 in 0!", "1 in 0!"]
    (left,) = throttle.close(12)  # the repeat of "a", whose kind has been forgotten
    assert (left.count, left.mixed) == (1, True)


def test_a_new_kind_gets_half_of_the_lines_that_are_left() -> None:
    throttle = Throttle(10.0, lines=20)
    notices = [throttle.admit(0, "failed", kind, lines=50) for kind in range(8)]
    assert [n.lines if n else None for n in notices] == [10, 5, 3, 1, 1, None, None, None]
    later = throttle.admit(10, "failed", 7, lines=50)
    assert later is not None
    assert (later.first, later.count, later.lines) == (True, 2, 10)


def test_what_is_held_back_is_told_at_the_end_and_once() -> None:
    throttle = Throttle(10.0)
    for n in range(500):
        throttle.admit(n / 100, "failed", latest=f"number {n}")
    (notice,) = throttle.close(5.0)
    assert notice == Notice(
        family="failed",
        latest="number 499",
        count=499,
        seconds=5.0,
        lines=1,
        first=False,
        mixed=False,
    )
    assert throttle.close(5.0) == []


Event = tuple[float, str, int, int]
events = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.5, 3.0, 10.0, 25.0]),  # seconds since the one before
        st.sampled_from(["failed", "on_error failed"]),
        st.integers(0, 12),
        st.integers(1, 60),
    ),
    max_size=120,
)


@given(events=events, kinds=st.integers(1, 8), lines=st.integers(1, 80))
def test_all_events_are_counted_and_no_interval_has_too_many_lines(
    events: list[Event], kinds: int, lines: int
) -> None:
    throttle = Throttle(10.0, kinds=kinds, lines=lines)
    now = 0.0
    told: list[tuple[float, Notice]] = []
    for pause, family, kind, length in events:
        now += pause
        notice = throttle.admit(now, family, kind, lines=length)
        if notice is not None:
            assert 1 <= notice.lines <= length
            assert notice.seconds >= 0
            told.append((now, notice))
    rest = throttle.close(now)
    assert sum(n.count for _, n in told) + sum(n.count for n in rest) == len(events)
    assert len(rest) <= kinds + 2  # and the others of each family
    for start, _ in told:
        assert sum(n.lines for t, n in told if start <= t < start + 10.0) <= lines


@pytest.mark.parametrize(
    ("count", "seconds", "expected"),
    [
        (1, 10.0, "1 more time in the last 10 s"),
        (994, 10.004, "994 more times in the last 10 s"),
        (2, 0.05, "2 more times in the last 0.05 s"),
        (3, 100.0, "3 more times in the last 100 s"),
        (4, 3605.5, "4 more times in the last 3605.5 s"),
        (5, 0.0, "5 more times in the last 0 s"),
    ],
)
def test_a_span_in_words(count: int, seconds: float, expected: str) -> None:
    assert span(count, seconds) == expected


# Errors as text


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (ValueError("x" * 1000), f"ValueError: {'x' * (COLUMNS - 13)}…"),
        (Unprintable(), "Unprintable: <its text cannot be had: ValueError>"),
        (ExceptionGroup("two", [ValueError()] * 2), "ExceptionGroup: two (2 sub-exceptions)"),
    ],
)
def test_an_error_in_one_line(error: Exception, expected: str) -> None:
    assert headline(error) == expected


def deep(n: int) -> None:
    other(n)


def other(n: int) -> None:
    deep(n + 1)


def caught(function: Callable[..., object], *args: Any) -> Exception:
    with pytest.raises(Exception) as info:  # noqa: PT011 - whatever it is
        function(*args)
    error = info.value
    assert isinstance(error, Exception)
    return error


def test_a_traceback_is_bounded_and_keeps_its_end() -> None:
    text = text_of(caught(deep, 0))
    assert len(text.splitlines()) <= LINES
    assert "RecursionError: maximum recursion depth exceeded" in text.splitlines()[-1]
    assert "in deep" in text
    assert "in other" in text


def test_a_long_message_is_bounded() -> None:
    text = text_of(ValueError("\n".join("x" * 1000 for _ in range(1000))))
    assert len(text.splitlines()) == LINES
    assert max(map(len, text.splitlines())) == COLUMNS


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (9, "0 1 2 3 4 5 6 7 8"),
        (6, "0 … 4 lines … 5 6 7 8"),
        (2, "… 8 lines … 8"),
        (1, "8"),
    ],
)
def test_the_middle_is_left_out(lines: int, expected: str) -> None:
    text = shortened("\n".join(map(str, range(9))), lines)
    assert " ".join(text.split()) == expected
    assert len(text.splitlines()) == lines


# The log


class Keeps(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    @property
    def heads(self) -> list[str]:
        return [text.splitlines()[0] for text in self.texts]

    @property
    def lines(self) -> int:
        return sum(len(text.splitlines()) for text in self.texts)


@pytest.fixture
def kept() -> Iterator[Keeps]:
    handler = Keeps()
    logger = logging.getLogger("horus_trio")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def seq_of(node: horus.Node) -> int:
    assert node.current_tick is not None
    return node.current_tick.seq


def raises(error: Exception) -> None:
    raise error


def here(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        (lambda: caught(raises, ValueError("1")), lambda: caught(raises, ValueError("2")), True),
        (lambda: caught(raises, ValueError()), lambda: caught(raises, KeyError()), False),
        (lambda: caught(raises, ValueError()), lambda: caught(here, ValueError()), False),
        (lambda: TimeoutError("1"), lambda: TimeoutError("2"), True),
        (
            lambda: ExceptionGroup("", [caught(raises, ValueError("1")), KeyError()]),
            lambda: ExceptionGroup("", [KeyError(), caught(raises, ValueError("2"))]),
            True,
        ),
        (
            lambda: ExceptionGroup("", [ValueError()]),
            lambda: ExceptionGroup("", [KeyError()]),
            False,
        ),
    ],
    ids=["messages", "types", "places", "never raised", "like groups", "unlike groups"],
)
def test_kinds_are_told_apart_by_type_and_place(
    kept: Keeps, first: Callable[[], Exception], second: Callable[[], Exception], alike: bool
) -> None:
    log = ErrorLog(OffLoopLogger(logging.getLogger("horus_trio")), lambda: 0.0)
    for make in (first, second):
        error = make()
        log.tell("it failed", error, text_of(error))
    assert len(kept.texts) == (1 if alike else 2)


def test_many_kinds_with_long_tracebacks_are_no_flood(kept: Keeps) -> None:
    log = ErrorLog(OffLoopLogger(logging.getLogger("horus_trio")), lambda: 0.0)
    for n in range(1000):
        error = type(f"Error{n}", (Exception,), {})("x\n" * 100)
        log.tell("it failed", error, text_of(error))
    log.close()
    assert kept.lines < 100
    assert kept.heads[:3] == ["it failed"] * 3
    assert all(
        text.splitlines()[1].endswith(f"Error{n}: x") for n, text in enumerate(kept.texts[:3])
    )
    assert kept.texts[-1].startswith("it failed 99")
    assert ", with still other errors, the latest: Error999: x" in kept.texts[-1]


# Nodes


async def test_repeated_failures_are_told_once_and_then_counted(
    autojump_clock: MockClock, kept: Keeps
) -> None:
    class Fails(horus.AsyncNode):
        async def tick_async(self) -> None:
            raise ValueError(f"tick {seq_of(self)}")

    scheduler = horus.Scheduler(tick_rate=10).add(Fails("a", failure_policy=horus.Ignore()))
    await scheduler.run(25)
    assert kept.heads == [
        "node 'a' failed in tick 1",
        "node 'a' failed 100 more times in the last 10 s: ValueError: tick 101",
        "node 'a' failed 100 more times in the last 10 s: ValueError: tick 201",
        "node 'a' failed 49 more times in the last 5 s: ValueError: tick 250",
    ]
    assert "ValueError: tick 1" in kept.texts[0]
    assert kept.lines < 20


async def test_a_new_kind_of_failure_is_told_at_once(
    autojump_clock: MockClock, kept: Keeps
) -> None:
    class Fails(horus.AsyncNode):
        async def tick_async(self) -> None:
            if seq_of(self) == 7:
                raise KeyError("new")
            raise ValueError("old")

    scheduler = horus.Scheduler(tick_rate=10).add(Fails("a", failure_policy=horus.Ignore()))
    await scheduler.run(1)
    assert kept.heads[:2] == ["node 'a' failed in tick 1", "node 'a' failed in tick 7"]
    assert "KeyError: 'new'" in kept.texts[1]


async def test_failures_that_have_stopped_are_told_at_the_end(
    autojump_clock: MockClock, kept: Keeps
) -> None:
    class Recovers(horus.AsyncNode):
        async def tick_async(self) -> None:
            if seq_of(self) <= 500:
                raise ConnectionError("refused")

    node = Recovers("a", failure_policy=horus.Ignore(), rate=100)
    await horus.Scheduler().add(node).run(60)
    assert kept.heads == [
        "node 'a' failed in tick 1",
        "node 'a' failed 499 more times in the last 60 s: ConnectionError: refused",
    ]


async def test_misses_are_warned_about_now_and_then(autojump_clock: MockClock, kept: Keeps) -> None:
    class Slow(horus.AsyncNode):
        async def tick_async(self) -> None:
            await trio.sleep(0.15)

    scheduler = horus.Scheduler(tick_rate=10).add(Slow("a", on_miss=horus.Miss.WARN))
    report = await scheduler.run(5)
    assert report.statistics.nodes["a"].missed == 25
    first, last = kept.texts
    assert first == "node 'a' is still busy at its next release"
    assert last.startswith("node 'a' is still busy at its next release (24 more times in the last ")


async def test_late_ends_are_warned_about_beside_overruns(
    autojump_clock: MockClock, kept: Keeps
) -> None:
    class Slow(horus.AsyncNode):
        async def tick_async(self) -> None:
            await trio.sleep(0.15)

    node = Slow("a", on_miss=horus.Miss.WARN, deadline=0.1)
    await horus.Scheduler(tick_rate=10).add(node).run(1)
    assert kept.texts[:2] == [
        "node 'a' is still busy at its next release",
        "node 'a' ended 0.15 s after its release, past its deadline",
    ]
    assert len(kept.texts) == 4


async def test_errors_of_hooks_are_bounded_in_the_report(autojump_clock: MockClock) -> None:
    async def on_error(node: horus.Node, error: BaseException) -> None:
        raise RuntimeError(f"to {error}")

    async def tick(node: horus.Node) -> None:
        raise ValueError(str(seq_of(node)))

    node = horus.Node("a", tick=tick, on_error=on_error, failure_policy=horus.Ignore())
    report = await horus.Scheduler(tick_rate=10).add(node).run(10)
    assert [text.splitlines()[-1] for text in report.hook_errors] == [
        "RuntimeError: to 1",
        "RuntimeError: to 2",
        "RuntimeError: to 3",
        "on_error of node 'a': 97 more errors, the latest RuntimeError: to 100",
    ]
    assert report.statistics.nodes["a"].observer_errors == 100


async def test_a_result_callback_that_raises_now_and_then_is_told_once(
    autojump_clock: MockClock, kept: Keeps
) -> None:
    calls = 0

    def callback(result: horus.AsyncResult) -> None:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise ValueError(f"call {calls}")

    async def tick(node: horus.Node) -> None:
        pass

    scheduler = horus.Scheduler(tick_rate=100).add(horus.Node("a", tick=tick))
    scheduler.on_result(callback)
    report = await scheduler.run(10)
    assert report.statistics.callback_errors == 500
    first, last = kept.texts
    assert first.startswith("result callback <function")
    assert "ValueError: call 1" in first
    assert "failed 499 more times in the last" in last
    assert last.endswith("ValueError: call 999")
