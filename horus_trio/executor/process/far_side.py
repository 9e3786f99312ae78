"""What happens in the worker process: a node is rebuilt on a seat that records, and ticks once.

The seat is a robot in small. It holds the messages that waited when the tick began, and writes down
what the tick sends and logs; the robot's process does that when the tick has come to an end. What
cannot work here raises where it is called.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio

from ...errors import NodeError, WorkerFailed
from ...logs import LogThread
from ...node import Node, Seat
from ...topics import Hub, Sub, Subscription, Topics
from ..worker import FAILURES
from .parcels import (
    EmergencyAsked,
    Event,
    Input,
    Job,
    Logged,
    NodeParcel,
    Parcel,
    Reply,
    Sent,
    StopAsked,
    dump,
    state_of,
)
from .tally import Tally

__all__ = ["begin", "rehearse", "work"]


def begin(tally: str) -> None:
    """Prepare a new worker process.

    Arguments:
        tally: File of the robot's that goes with it, or empty.
    """
    # Who stops a robot often signals all of its processes; the robot ends this one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.join, tally), daemon=True).start()


def _follow(join: Callable[[], None], tally: str) -> None:
    join()
    if tally:
        Path(tally).unlink(missing_ok=True)
    os._exit(1)  # the robot was killed, and this process may be in an endless loop


def rehearse(parcel: NodeParcel) -> str:
    """Import what a node needs; returns why it cannot be rebuilt here, or nothing."""
    try:
        parcel.rebuild()
    except Exception as error:  # noqa: BLE001 - the user's modules are imported
        return f"{type(error).__name__}: {error}"
    return ""


def work(data: bytes) -> bytes:
    """Run one tick, a pickled `Job`; returns a pickled `Reply`."""
    job: Job = pickle.loads(data)
    events: list[Event] = []
    node = job.node.rebuild()
    before = _look_at(node)
    value: Any = None
    raised: BaseException | None = None
    with contextlib.closing(Tally.of(job.tally)) as tally:
        node._seat = _RecordingSeat(job, node, events, tally)
        logger = logging.getLogger(f"horus_trio.node.{node.name}")
        logger.setLevel(job.log_level)
        started = node._seat.clock()
        try:
            value = node.tick()
        except FAILURES as error:
            raised = error
        node._seat.over = True  # for threads that the tick has left behind
    after = _look_at(node)
    changed = {
        key: thing.value
        for key, thing in after.items()
        if key not in before or not thing.equals(before[key])
    }
    reply = Reply(
        started=started,
        events=tuple(events),
        changed=Parcel.of(SimpleNamespace(**changed), "self", node),
        deleted=tuple(before.keys() - after.keys()),
        value=Parcel.of(value, "what its tick returned", node),
        error=None if raised is None else _parcel_of_error(raised, node),
        trace="" if raised is None else _trace_of(raised),
    )
    return dump(reply, node)


# Attributes


class _Seen:
    """An attribute, and what it was worth when it was looked at."""

    def __init__(self, value: object, node: Node) -> None:
        self.value = value
        self._worth = Parcel.of(value, "", node)

    def equals(self, earlier: _Seen) -> bool:
        """Whether it has not changed; what cannot be pickled is compared by identity."""
        if self._worth.problem and earlier._worth.problem:
            return self.value is earlier.value
        return self._worth == earlier._worth


def _look_at(node: Node) -> dict[str, _Seen]:
    return {key: _Seen(value, node) for key, value in state_of(node).items()}


# Errors


def _parcel_of_error(error: BaseException, node: Node) -> Parcel:
    """An exception that will be one again; it, or a substitute that says the same."""
    name = type(error).__qualname__
    parcel = Parcel.of(error, name, node)
    try:
        copy = parcel.open(node)  # many an exception can be pickled, and then not be rebuilt
        problem = "" if isinstance(copy, BaseException) else f"it comes back as {copy!r:.80}"
    except NodeError as why:
        problem = str(why)
    if not problem:
        return parcel
    text = f"{name}: {error} (a substitute: the error itself cannot leave its process: {problem})"
    return Parcel.of(WorkerFailed(text), name, node)


def _trace_of(error: BaseException) -> str:
    frames = error.__traceback__
    if frames is not None:
        frames = frames.tb_next  # without `work`
    lines = traceback.format_exception(type(error), error, frames)
    return f"in its worker process {os.getpid()}:\n{''.join(lines).rstrip()}"


# The seat


class _RecordingSeat(Seat):
    """A seat whose inputs are those of a job, and whose outputs are written down."""

    __slots__ = ("_inlets", "_outlet")

    def __init__(self, job: Job, node: Node, events: list[Event], tally: Tally) -> None:
        super().__init__(
            Topics(),
            lambda: time.perf_counter() + job.lead,
            _RecordingEngine(job.node.name, events),
            _RecordingLog(events, node),
        )
        self.tick = job.tick
        self.previous = job.previous
        self.period = job.period
        self.max_ages = job.max_ages
        self._inlets = {
            given.topic: _Inlet(given, node, functools.partial(tally.add, index))
            for index, given in enumerate(job.inputs)
        }
        self._outlet = functools.partial(_Outlet, node=node, events=events, inlets=self._inlets)

    def hub(self, topic: str) -> Hub[Any]:
        return self._outlet(topic)

    def join(self, sub: Sub) -> Subscription[Any]:
        try:
            return self._inlets[sub.topic]
        except KeyError:
            raise _undeclared(sub.topic) from None


def _undeclared(topic: str) -> NodeError:
    return NodeError(
        f"topic {topic!r} cannot be read in a worker process: a thread='process' node reads what "
        f"it declares, so add it to its subs"
    )


class _Inlet(Subscription[Any]):
    """The messages of one topic that waited when the tick began."""

    def __init__(self, given: Input, node: Node, count: Callable[[int], None]) -> None:
        super().__init__(Hub[Any](given.topic), max(1, len(given.waiting)), Sub("_").overflow, 0)
        self.given = given
        self._node = node
        self._count = count
        self._parcels = collections.deque(given.waiting)

    def receive_nowait(self) -> Any:
        with self._lock:
            if not self._parcels:
                raise trio.WouldBlock
            self._count(1)
            parcel = self._parcels.popleft()
        return parcel.open(self._node)

    def drain(self) -> list[Any]:
        with self._lock:
            self._count(len(self._parcels))
            parcels = list(self._parcels)
            self._parcels.clear()
        return [parcel.open(self._node) for parcel in parcels]

    @property
    def depth(self) -> int:
        return len(self._parcels)


class _Outlet(Hub[Any]):
    """A topic: what is sent is written down; what is the latest was told."""

    def __init__(
        self, name: str, *, node: Node, events: list[Event], inlets: dict[str, _Inlet]
    ) -> None:
        super().__init__(name)
        self._node = node
        self._events = events
        self._inlets = inlets

    def send(self, data: Any) -> int:
        parcel = Parcel.of(data, f"the message to topic {self.name!r}", self._node)
        if parcel.problem:
            raise NodeError(f"{parcel.problem}; only what can be pickled goes between processes")
        self._events.append(Sent(self.name, parcel))
        return 0  # who takes it will be seen when it is published

    @property
    def latest(self) -> tuple[Any, float] | None:
        inlet = self._inlets.get(self.name)
        if inlet is None:
            raise _undeclared(self.name)
        latest = inlet.given.latest
        return None if latest is None else (latest.open(self._node), inlet.given.latest_at)


class _RecordingEngine:
    """The engine, as far as there is one here."""

    def __init__(self, name: str, events: list[Event]) -> None:
        self._name = name
        self._events = events

    @property
    def is_held(self) -> bool:
        return False  # a tick that was sent here has begun before

    def request_stop(self, reason: str) -> None:
        self._events.append(StopAsked(reason))

    def emergency_stop(self, reason: str) -> None:
        self._events.append(EmergencyAsked(reason))

    def start_soon(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        raise NodeError(
            f"node {self._name!r} has thread='process': its tick runs in another process, which "
            "has no loop for background tasks; call start_soon in init"
        )

    def fail(self, error: BaseException) -> None:
        raise error  # nothing runs here between the ticks


class _RecordingLog(LogThread):
    """Writes records down instead of handling them."""

    def __init__(self, events: list[Event], node: Node) -> None:
        super().__init__()
        self._events = events
        self._node = node

    def put(self, record: logging.LogRecord) -> None:
        parcel = Parcel.of(record.__dict__, "a log record", self._node)
        if parcel.problem:  # some extra field
            plain = {
                key: value if isinstance(value, (str, int, float, type(None))) else repr(value)
                for key, value in record.__dict__.items()
            }
            parcel = Parcel.of(plain, "a log record", self._node)
        self._events.append(Logged(parcel))
