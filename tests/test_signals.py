"""Signals belong to the program: a run borrows them, and gives back what it found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
import trio
import trio.testing

import horus_trio as horus
from horus_trio import Node, Scheduler
from horus_trio.scheduler.interpreter import Collector
from horus_trio.scheduler.signals import SignalWatch, passes_on

BORROWED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

ROBOT = """
import horus_trio as horus

def tick(node):
    print("tick", flush=True)

report = horus.run(horus.Node(tick=tick, shutdown=lambda node: print("shut down", flush=True)))
print(report.reason)
"""


async def well(node: Node) -> None:
    pass


def handlers() -> list[Any]:
    return [signal.getsignal(signum) for signum in BORROWED]


def wakeup_descriptor() -> int:
    descriptor = signal.set_wakeup_fd(-1)
    if descriptor != -1:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    return descriptor


def test_a_run_gives_back_handlers_and_the_wakeup_descriptor() -> None:
    before = handlers()
    during: list[list[Any]] = []

    async def tick(node: Node) -> None:
        during.append(handlers())

    for _ in range(2):
        Scheduler(100).add(Node("a", tick=tick)).run(0.05)
        assert handlers() == before
        assert wakeup_descriptor() == -1
    assert all(now != then for now, then in zip(during[0], before, strict=True))


def test_ctrl_c_in_the_last_moments_of_a_run_takes_no_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nodes have left, and the run puts back what it has borrowed of the interpreter."""
    leave = Collector.__exit__

    def press_and_leave(collector: Collector, *details: object) -> None:
        signal.raise_signal(signal.SIGINT)
        leave(collector, *details)

    monkeypatch.setattr(Collector, "__exit__", press_and_leave)
    before = handlers()
    report = Scheduler(100).add(Node("a", tick=well)).run(0.05)
    assert report.reason == "its duration of 0.05 s was over"
    assert handlers() == before


async def test_trios_own_wakeup_descriptor_is_put_back() -> None:
    before = wakeup_descriptor()
    assert before != -1
    await Scheduler(100).add(Node("a", tick=well)).run(0.05)
    assert wakeup_descriptor() == before


@pytest.mark.parametrize("first", [0.05, 0.15])
async def test_runs_that_overlap_give_them_back_in_any_order(first: float) -> None:
    before = handlers(), wakeup_descriptor()
    async with trio.open_nursery() as nursery:
        await nursery.start(Scheduler(100).add(Node("a", tick=well)).run, first)
        await Scheduler(100).add(Node("b", tick=well)).run(0.1)
    assert (handlers(), wakeup_descriptor()) == before


@pytest.mark.parametrize("first", [0.05, 0.15])
async def test_and_so_a_handler_that_the_program_had_set(first: float) -> None:
    def mine(signum: int, frame: object) -> None:
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(Scheduler(100).add(Node("a", tick=well)).run, first)
            await Scheduler(100).add(Node("b", tick=well)).run(0.1)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_handler_that_was_set_during_the_run_stays() -> None:
    def mine(signum: int, frame: object) -> None:
        pass

    before = handlers()

    async def tick(node: Node) -> None:
        signal.signal(signal.SIGTERM, mine)

    try:
        await Scheduler(100).add(Node("a", tick=tick)).run(0.05)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before[1])
    assert handlers() == before


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_is_closed_stops_the_robot_unless_it_is_to_go_on(ignored: bool) -> None:
    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    with subprocess.Popen(
        [sys.executable, "-c", ROBOT], stdout=subprocess.PIPE, text=True, preexec_fn=prepare
    ) as robot:
        assert robot.stdout is not None
        assert robot.stdout.readline() == "tick\n"
        robot.send_signal(signal.SIGHUP)
        if ignored:
            for _ in range(20):
                assert robot.stdout.readline() == "tick\n"
            robot.send_signal(signal.SIGTERM)
        said = robot.stdout.read()
        assert robot.wait(20) == 0
    assert said.endswith(f"shut down\n{'SIGTERM' if ignored else 'SIGHUP'}\n")


def test_off_the_main_thread_signals_are_left_alone() -> None:
    before = handlers()
    with horus.background(Node("a", tick=well)):
        assert handlers() == before
        assert wakeup_descriptor() == -1


def test_other_signals_still_wake_whoever_listens() -> None:
    """The watchdog stands between the interpreter and Trio, and hands on what it hears."""
    heard = threading.Event()

    async def main() -> None:
        with trio.open_signal_receiver(signal.SIGUSR2) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(Scheduler(100).add(Node("a", tick=well)).run)
                os.kill(os.getpid(), signal.SIGUSR2)
                with trio.fail_after(20):
                    async for signum in signals:
                        assert signum == signal.SIGUSR2
                        heard.set()
                        nursery.cancel_scope.cancel()

    trio.run(main)
    assert heard.is_set()


class Told:
    """A watch of signals, and what it has had done."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.watch = SignalWatch(
            True,
            stop=lambda name: self.calls.append(f"stop {name}"),
            emergency=lambda reason: self.calls.append(reason),
            force=lambda name: self.calls.append(f"force {name}"),
            dump=lambda: self.calls.append("dump"),
        )


async def test_two_signals_that_no_handler_has_seen_force_the_stop() -> None:
    """While the main thread is in C code no handler runs, but the watchdog hears them."""
    told = Told()
    with told.watch:
        told.watch.hear(signal.SIGTERM)
        assert told.calls == ["stop SIGTERM"]
        told.watch.hear(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked()
    assert told.calls == ["stop SIGTERM", "a second signal, SIGINT", "force SIGINT"]


async def test_two_signals_that_handlers_have_seen_too_force_it_once() -> None:
    told = Told()
    with told.watch:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(signum)
            await trio.testing.wait_all_tasks_blocked()
            told.watch.hear(signum)
        await trio.testing.wait_all_tasks_blocked()
    assert told.calls.count("force SIGINT") == 1
    assert "force SIGTERM" not in told.calls


async def test_a_second_signal_that_comes_before_the_loop_interrupts_what_blocks_it() -> None:
    told = Told()
    with told.watch:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt, match=r"second signal \(SIGINT\) while"):
            signal.raise_signal(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked()
    assert told.calls == ["stop SIGTERM", "a second signal, SIGINT"]


async def test_what_must_not_be_interrupted_is_forced_by_a_second_signal() -> None:
    told = Told()

    @trio.lowlevel.enable_ki_protection
    def protected() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    with told.watch:
        protected()
        await trio.testing.wait_all_tasks_blocked()
    assert told.calls == ["stop SIGTERM", "a second signal, SIGINT", "force SIGINT"]


@pytest.mark.parametrize("handled", [1, 2])
async def test_signals_that_a_handler_has_seen_as_one_are_two_all_the_same(handled: int) -> None:
    """They came while the main thread was in C code, and Python calls its handler once."""
    told = Told()
    with told.watch:
        for _ in range(handled):
            signal.raise_signal(signal.SIGTERM)
            await trio.testing.wait_all_tasks_blocked()
        told.calls.clear()
        for _ in range(2):
            told.watch.hear(signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
    forced = ["force SIGTERM"] if handled == 1 else []
    assert told.calls == ["stop SIGTERM", "a second signal, SIGTERM", *forced]


async def test_a_handler_that_python_cannot_put_back_leaves_the_default() -> None:
    before = signal.getsignal(signal.SIGTERM)
    told = Told()
    try:
        with told.watch:
            told.watch._earlier[signal.SIGTERM] = None  # as for one that C code has installed
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_of_two_watches_the_inner_one_is_not_the_outermost() -> None:
    outer, inner, idle = Told(), Told(), Told()
    with outer.watch:
        assert outer.watch.is_outermost
        with inner.watch:
            assert not inner.watch.is_outermost
        assert outer.watch.is_outermost
    assert not idle.watch.is_outermost


async def test_only_what_is_its_own_is_heard() -> None:
    told = Told()
    told.watch.hear(signal.SIGTERM)
    told.watch.hear(signal.SIGUSR1)
    assert told.calls == []
    with told.watch:
        told.watch.hear(signal.SIGUSR2)
        told.watch.hear(signal.SIGUSR1)
    assert told.calls == ["dump"]


def test_signals_after_the_end_of_trios_run_are_no_error() -> None:
    async def main() -> Told:
        return Told()

    told = trio.run(main)
    with told.watch:
        told.watch.hear(signal.SIGTERM)
        told.watch.hear(signal.SIGTERM)
    assert told.calls == ["stop SIGTERM", "a second signal, SIGTERM"]


def test_a_handler_of_a_run_that_is_over_hands_on_what_it_gets() -> None:
    """Somebody has found it during the run and put it back afterwards, as web servers do."""
    got: list[int] = []
    found: list[Any] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: got.append(signum))

    async def tick(node: Node) -> None:
        found.append(signal.getsignal(signal.SIGTERM))

    try:
        Scheduler(100).add(Node("a", tick=tick)).run(0.05)
        signal.signal(signal.SIGTERM, found[0])
        signal.raise_signal(signal.SIGTERM)
        assert got == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert got == 2 * [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_host_is_told_too_where_it_wants_to_be() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    try:
        for wants, expected in ((False, []), (True, [signal.SIGTERM])):
            passes_on.set(wants)
            told = Told()
            with told.watch:
                signal.raise_signal(signal.SIGTERM)
                await trio.testing.wait_all_tasks_blocked()
                assert (told.calls, heard) == (["stop SIGTERM"], expected)
                signal.raise_signal(signal.SIGTERM)
                await trio.testing.wait_all_tasks_blocked()
            assert told.calls[1:] == ["a second signal, SIGTERM", "force SIGTERM"]
            assert heard == 2 * expected
    finally:
        passes_on.set(False)
        signal.signal(signal.SIGTERM, before)
