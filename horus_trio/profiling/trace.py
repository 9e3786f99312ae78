"""Writes a profile in the trace event format, which ui.perfetto.dev and chrome://tracing open.

A robot is a process of the trace and each node a thread of it, so all that a node does is on one
line: what it waited for, its hooks, and within them the steps and the awaits. The tokens of the
pool are a counter. Events come in the order of their instants, and those of a node are nested or
apart, never across each other, as the format wants it.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from .tokens import MeteredLimiter
from .track import BLOCKING, Span, Track

__all__ = ["write_trace"]

Event = dict[str, Any]


def write_trace(
    file: TextIO, robot: str, begun: float, tracks: Sequence[Track], tokens: MeteredLimiter
) -> None:
    """Write a trace.

    Arguments:
        file: Where to.
        robot: Its name.
        begun: The instant that is 0 in the trace, in seconds on the run's clock.
        tracks: Of its nodes.
        tokens: Of its pool.

    Raises:
        OSError: It cannot be written.
    """
    pid = os.getpid()
    events: list[Iterator[Event]] = []
    dropped = 0
    for tid, track in enumerate(tracks, 1):
        sums, spans = track.look()
        dropped += sums.ticks + sums.hooks - len(spans)
        events.append(_Events(begun, pid, tid).of(spans, on_loop=track.where == "loop"))
    events.append(_Events(begun, pid, 0).of_tokens(tokens))
    file.write('{"displayTimeUnit": "ms", "otherData": ')
    file.write(json.dumps({"robot": robot, "dropped hooks": dropped}))
    file.write(', "traceEvents": [\n')
    file.write(json.dumps(_metadata("process_name", pid, 0, name=robot)))
    for tid, track in enumerate(tracks, 1):
        for event in (
            _metadata("thread_name", pid, tid, name=f"{track.name} ({track.where})"),
            _metadata("thread_sort_index", pid, tid, sort_index=tid),
        ):
            file.write(",\n" + json.dumps(event))
    for event in heapq.merge(*events, key=lambda event: event["ts"]):
        file.write(",\n" + json.dumps(event))
    file.write("\n]}\n")


def _metadata(what: str, pid: int, tid: int, **args: Any) -> Event:
    return {"name": what, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": args}


class _Events:
    """Makes the events of one track."""

    def __init__(self, begun: float, pid: int, tid: int) -> None:
        self._begun = begun
        self._pid = pid
        self._tid = tid

    def of(self, spans: Iterable[Span], *, on_loop: bool) -> Iterator[Event]:
        """The events of a node, by their instants."""
        free = 0  # up to this instant the line is taken
        for span in sorted(spans, key=lambda span: span.begun):
            begun, ended = max(free, self._at(span.begun)), max(free, self._at(span.ended))
            if span.tick is not None:
                due, asked = self._at(span.tick.scheduled), self._at(span.asked)
                yield from self._wait("waits for the loop", max(free, due), min(asked, begun))
                yield from self._wait("waits for a thread", max(free, asked), begun)
            yield self._slice(span.title, begun, ended, _details(span, on_loop=on_loop))
            yield from self._steps(span, begun, ended)
            free = ended

    def of_tokens(self, tokens: MeteredLimiter) -> Iterator[Event]:
        """The counter of the pool."""
        for at, taken, waiting in tokens.changes.copy():
            yield {
                "name": "pool",
                "ph": "C",
                "ts": self._at(at) / 1e3,
                "pid": self._pid,
                "tid": self._tid,
                "args": {"tokens taken": taken, "calls waiting": waiting},
            }

    def _steps(self, span: Span, begun: int, ended: int) -> Iterator[Event]:
        """What a hook on the loop did, step by step; as far as that is kept."""
        if not span.marks:
            if span.longest > BLOCKING:
                yield self._slice("blocks the loop", begun, ended)
            return
        instants = [begun, *map(self._at, span.marks), ended]
        more = span.steps - (len(instants) - 1) // 2
        for index, (since, until) in enumerate(itertools.pairwise(instants)):
            since, until = min(max(since, begun), ended), min(max(until, begun), ended)
            if index % 2:
                yield self._slice("awaits", since, until)
            elif index == len(instants) - 2 and more > 1:  # of which nothing is kept but the end
                yield self._slice("runs and awaits", since, until, {"steps": more})
            else:
                blocks = until - since > BLOCKING * 1e9
                yield self._slice("blocks the loop" if blocks else "runs", since, until)

    def _wait(self, what: str, since: int, until: int) -> Iterator[Event]:
        if until > since:
            yield self._slice(what, since, until)

    def _slice(self, name: str, since: int, until: int, args: Event | None = None) -> Event:
        return {
            "name": name,
            "ph": "X",
            "ts": since / 1e3,
            "dur": (until - since) / 1e3,
            "pid": self._pid,
            "tid": self._tid,
            "args": args or {},
        }

    def _at(self, instant: float) -> int:
        """Whole nanoseconds since the trace began, so that parts of a slice add up to it."""
        return max(0, round((instant - self._begun) * 1e9))


def _details(span: Span, *, on_loop: bool) -> Event:
    details: Event = {"status": span.status.value}
    if span.tick is not None:
        details["seq"] = span.tick.seq
        details["late ms"] = round(1e3 * (span.asked - span.tick.scheduled), 6)
        if not on_loop:
            details["waited for a thread ms"] = round(1e3 * (span.begun - span.asked), 6)
    if span.cpu == span.cpu:  # not NaN
        details["cpu ms"] = round(1e3 * span.cpu, 6)
    return details
