"""The naive loop counts honestly, survives what nodes raise, and never leaves its thread behind."""

from __future__ import annotations

import threading
import time

import pytest

import horus_trio as horus
from horus_trio.cli.demo.naive import NaiveLoop, NaiveOutcome
from horus_trio.cli.demo.world import WorldError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("horus_trio.cli.demo.naive.STUCK_AFTER", 0.3)
    monkeypatch.setattr("horus_trio.cli.demo.naive.FREED_WITHIN", 0.3)


class Recorder(horus.Node):
    """Notes which of its hooks ran, in which thread, and passes a message on to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.received: list[int] = []

    def init(self) -> None:
        self.threads.add(threading.get_ident())
        self.calls.append("init")

    def tick(self) -> None:
        self.received += self.recv_all("loop")
        self.send("loop", len(self.received))
        time.sleep(0.001)

    def shutdown(self) -> None:
        self.threads.add(threading.get_ident())
        self.calls.append("shutdown")


class Hanging(horus.Node):
    """Hangs in its third tick until it is shut down."""

    def __init__(self, *, lets_go: bool = True) -> None:
        super().__init__()
        self.ticks = 0
        self.shutdowns = 0
        self.lets_go = lets_go
        self.free = threading.Event()

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks == 3:
            self.free.wait()
            raise ConnectionError("was closed")

    def shutdown(self) -> None:
        self.shutdowns += 1
        if self.lets_go:
            self.free.set()


class Failing(horus.Node):
    def tick(self) -> None:
        raise OSError("no such device")


def test_rounds_are_counted_and_hooks_run_in_one_thread() -> None:
    node = Recorder()
    outcome = NaiveLoop([node, Failing()]).run(0.2)
    assert outcome.stuck_in is None
    assert outcome.rounds > 10
    assert outcome.rate == outcome.rounds / outcome.seconds
    assert outcome.failures >= outcome.rounds
    assert node.calls == ["init", "shutdown"]
    assert len(node.threads) == 1
    assert threading.get_ident() not in node.threads
    assert node.received[:3] == [0, 1, 2]


def test_a_hung_node_stops_the_loop_and_is_freed() -> None:
    before, hanging = Recorder(), Hanging()
    outcome = NaiveLoop([before, hanging]).run(0.1)
    assert (outcome.rounds, outcome.stuck_in) == (2, "Hanging.tick")
    assert outcome.seconds < 1.0  # of the time it hung, nothing counts
    assert hanging.shutdowns == 1
    assert before.calls == ["init", "shutdown"]
    assert all(thread.name != "naive loop" for thread in threading.enumerate())


def test_the_nodes_can_run_in_a_scheduler_afterwards() -> None:
    node = Recorder()
    NaiveLoop([node]).run(0.05)
    report = horus.Scheduler().add(node, rate=50).run(0.1)
    assert report.ok
    assert node.calls == ["init", "shutdown"] * 2


def test_a_node_that_does_not_let_go_is_said() -> None:
    hanging = Hanging(lets_go=False)
    with pytest.raises(WorldError, match="still hangs in Hanging"):
        NaiveLoop([hanging]).run(0.01)
    hanging.free.set()


def test_a_loop_that_never_ran_has_no_rate() -> None:
    assert NaiveOutcome(seconds=0.0, rounds=0, failures=0, stuck_in=None).rate == 0.0


def test_a_node_that_cannot_be_shut_down_from_outside_is_said() -> None:
    class Stubborn(Hanging):
        def shutdown(self) -> None:
            super().shutdown()
            raise OSError("not from this thread")

    with pytest.raises(WorldError, match=r"hangs in Stubborn, .* raised OSError\('not from this"):
        NaiveLoop([Stubborn()]).run(0.1)
