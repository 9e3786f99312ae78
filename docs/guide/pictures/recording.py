"""`record` runs a robot in a harness on virtual time and takes down what really happened.

Hooks note themselves, by `Recorder.during`; ticks, messages, states and misses are asked of the
harness, which is looked at every `STEP`. All that happens in a scenario happens at whole steps, and
the looks are half-way between them, so nothing falls between two looks and every instant is exact.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import horus_trio as horus
from horus_trio.testing import Harness, open_harness

__all__ = ["Mark", "Recorder", "Recording", "Span", "record"]

STEP = 0.01
"""Seconds from one instant at which something may happen to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took time.

    Attributes:
        node: Whose it is.
        what: A hook's name, ``thread``, or a state of the node.
        start, end: Instants in seconds.
    """

    node: str
    what: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that took no time.

    Attributes:
        node: Whose it is.
        what: ``missed``, ``sent``, ``refused``, or ``logged``.
        time: The instant in seconds.
        text: The message.
    """

    node: str
    what: str
    time: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What happened.

    Attributes:
        nodes: Their names, in the order in which they were added.
        seconds: How long the robot was watched.
        ticks: The results of all ticks.
        hooks: The other hooks, and threads of ``def`` ticks.
        states: What the nodes were doing, without gaps while the robot ran.
        marks: What took no time.
        topic: Where what was sent was sent to.
        stopped: When the run began to end by itself, or None.
        reason: Why it did.
    """

    nodes: tuple[str, ...]
    seconds: float
    ticks: tuple[horus.AsyncResult, ...]
    hooks: tuple[Span, ...]
    states: tuple[Span, ...]
    marks: tuple[Mark, ...]
    topic: str
    stopped: float | None
    reason: str


class Recorder:
    """Takes down what the nodes of one robot tell, and what the log is told of them."""

    def __init__(self) -> None:
        self.hooks: list[Span] = []
        self.marks: list[Mark] = []

    @contextlib.contextmanager
    def during(self, node: horus.Node, what: str) -> Iterator[None]:
        """Note how long the block takes; in a hook of the node."""
        start = node.now
        try:
            yield
        finally:
            self.hooks.append(Span(node=node.name, what=what, start=start, end=node.now))

    def send(self, node: horus.Node, topic: str, data: str) -> None:
        """Send as the node, and note it if the engine refuses."""
        try:
            node.send(topic, data)
        except horus.TickAbandoned:
            self.marks.append(Mark(node=node.name, what="refused", time=node.now, text=data))
            raise

    @contextlib.contextmanager
    def listening_to_the_log(self, nodes: Sequence[horus.Node]) -> Iterator[None]:
        """Note what is logged of a node at the instant at which it is; a handler hears it later."""
        make = logging.getLogRecordFactory()

        def note(*args: Any, **details: Any) -> logging.LogRecord:
            made = make(*args, **details)
            text = made.getMessage()
            for node in nodes:
                if text.startswith(f"node {node.name!r} "):
                    text = text.removeprefix(f"node {node.name!r} ")
                    self.marks.append(Mark(node=node.name, what="logged", time=node.now, text=text))
            return made

        logger, silent = logging.getLogger("horus_trio"), logging.NullHandler()
        logger.addHandler(silent)
        logging.setLogRecordFactory(note)
        try:
            yield
        finally:
            logging.setLogRecordFactory(make)
            logger.removeHandler(silent)


async def record(
    recorder: Recorder,
    nodes: Sequence[horus.Node],
    *,
    seconds: float,
    topic: str = "",
    log: bool = False,
) -> Recording:
    """Run the nodes for so many virtual seconds from the start, or until the run ends.

    Arguments:
        recorder: Is told by their hooks.
        nodes: The robot.
        seconds: How long it is watched.
        topic: A topic whose messages are marks of their senders.
        log: Whether what is logged is a mark, too.
    """
    watched = Watch()
    with recorder.listening_to_the_log(nodes):
        async with open_harness(*nodes, seed=0) as h:
            began = h.now
            with contextlib.suppress(horus.RunFailed):
                await h.advance(STEP / 2)
                while h.report is None:
                    watched.look(h)
                    if h.now > seconds - STEP:
                        break
                    await h.advance(STEP)
            report = h.report
            ticks, hooks, told = tuple(h.results), tuple(recorder.hooks), tuple(recorder.marks)
            sent = h.messages(topic) if topic else []
            unfinished = [n.name for n in nodes if h.node_statistics(n.name).in_flight]
    if unfinished:
        raise ValueError(f"ticks of {unfinished} are cut off at {seconds} s: watch longer")
    marks = [*watched.missed, *(mark for mark in told if log or mark.what != "logged")]
    marks += [Mark(node=m.node, what="sent", time=m.time, text=str(m.data)) for m in sent if m.node]
    return Recording(
        nodes=tuple(node.name for node in nodes),
        seconds=seconds,
        ticks=tuple(sorted(ticks, key=lambda tick: (tick.started, tick.node))),
        hooks=tuple(sorted(hooks, key=lambda span: (span.start, span.node))),
        states=tuple(watched.states),
        marks=tuple(sorted(marks, key=lambda mark: (mark.time, mark.node, mark.what))),
        topic=topic,
        stopped=None if report is None else began + report.duration,
        reason="" if report is None else report.reason,
    )


class Watch:
    """Puts together what is seen by looking again and again."""

    def __init__(self) -> None:
        self.states: list[Span] = []
        self.missed: list[Mark] = []
        self._latest: dict[str, int] = {}
        self._counted: dict[str, int] = {}

    def look(self, h: Harness) -> None:
        """Look half a step after an instant: what is new happened then, and goes on for a step."""
        instant = round(h.now - STEP / 2, 6)
        for node, state in h.states.items():
            self._see(node, state.value, instant)
            missed = h.node_statistics(node).missed
            for _ in range(missed - self._counted.get(node, 0)):
                self.missed.append(Mark(node=node, what="missed", time=instant))
            self._counted[node] = missed

    def _see(self, node: str, state: str, instant: float) -> None:
        end = round(instant + STEP, 6)
        place = self._latest.get(node)
        if place is not None and self.states[place].what == state:
            start = self.states[place].start
            self.states[place] = Span(node=node, what=state, start=start, end=end)
        else:
            self._latest[node] = len(self.states)
            self.states.append(Span(node=node, what=state, start=instant, end=end))
