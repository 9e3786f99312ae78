"""Who waits for whom: what holds a node's tick up, and who owes a topic its messages.

All of it is found by looking, at the moment somebody asks and in any thread: at where the tick
stands, at full subscriptions, at the tokens of the pool. Nothing is recorded beforehand except, by
topics and links, who used them last.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..health import NodeState
from ..topics import Hub, Link
from .threads import ThreadCall
from .ticker import Ticker

if TYPE_CHECKING:
    from .runner import NodeRunner

__all__ = ["Wait", "describe", "describe_silence", "publishers", "readers_waiting", "wait_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a node's tick in flight is doing.

    Attributes:
        what: Such as ``waits for room in topic 'scan'``; empty if it just runs.
        on: Names of the nodes that hold it up.
        for_input: Whether it waits for a message: an idle node, not a stalled one.
        where: File, line and function in which its code stands; empty if it has not begun.
    """

    what: str = ""
    on: tuple[str, ...] = ()
    for_input: bool = False
    where: str = ""

    def __str__(self) -> str:
        text = self.what or "runs"
        if self.on:
            text += f", held up by {_names(self.on)}"
        return f"{text}, at {self.where}" if self.where else text


def wait_of(runner: NodeRunner) -> Wait | None:
    """What holds up the tick of a node; None: it is in none, or in one that was given up.

    Any thread.
    """
    if not runner.mailbox.busy or runner.state is NodeState.STUCK:
        return None
    call = runner.thread_call
    if call is not None and call.waits_for_thread:
        holders = sorted({other.node for other in runner.executor.pool.calls()} - {runner.name})
        return Wait(what="waits for a thread of the pool", on=tuple(holders))
    where, wait = "", Wait()
    for frame, line in _frames(runner, call):
        if _is_users(frame):
            where = f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        else:
            wait = _look_at(frame, runner.executor.runners) or wait
    return Wait(what=wait.what, on=wait.on, for_input=wait.for_input, where=where)


def _frames(runner: NodeRunner, call: ThreadCall | None) -> Iterator[tuple[FrameType, int]]:
    """The frames of the tick, from the outermost on."""
    if call is not None:
        frame = sys._current_frames().get(call.thread or 0)
        stack: list[tuple[FrameType, int]] = []
        while frame is not None and frame.f_code is not ThreadCall.work.__code__:
            stack.append((frame, frame.f_lineno))
            frame = frame.f_back
        yield from reversed(stack)
        return
    task = runner.task
    begun = False
    for frame, line in () if task is None else task.iter_await_frames():
        if begun:
            yield frame, line
        begun = begun or frame.f_code is Ticker.on_loop.__code__


def _is_users(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    ours = module.partition(".")[0] in ("trio", "outcome", "horus_trio")
    return not ours or module.startswith("horus_trio.cli.")


def _look_at(frame: FrameType, runners: Mapping[str, NodeRunner]) -> Wait | None:
    """What a frame of the topics tells."""
    subject: Any = frame.f_locals.get("self")
    if isinstance(subject, Hub) and frame.f_code is Hub.send_async.__code__:
        full = tuple(
            name for name, runner in tuple(runners.items()) if runner.seat.holds_up(subject.name)
        )
        return Wait(what=f"waits for room in topic {subject.name!r}", on=full)
    if isinstance(subject, Link):
        if frame.f_code in (Link.send.__code__, Link.send_blocking.__code__):
            on = () if subject.last_receiver is None else (subject.last_receiver,)
            return Wait(what=f"waits for room in link {subject.name!r}", on=on)
        if frame.f_code in (Link.receive.__code__, Link.receive_blocking.__code__):
            on = () if subject.last_sender is None else (subject.last_sender,)
            return Wait(what=f"waits for link {subject.name!r}", on=on, for_input=True)
    return None


def publishers(topic: str, runners: Mapping[str, NodeRunner]) -> tuple[str, ...]:
    """The nodes that publish a topic: those that declare it, and whoever did last. Any thread."""
    every = tuple(runners.values())
    names = {r.name for r in every if any(pub.topic == topic for pub in r.options.pubs)}
    for runner in every:
        if topic in runner.executor.topics:
            last = runner.executor.topics.hub(topic).last_sender
            if last is not None and last in runners:
                names.add(last)
            break
    return tuple(sorted(names))


def readers_waiting(name: str, runners: Mapping[str, NodeRunner]) -> tuple[tuple[str, str], ...]:
    """Nodes whose tick awaits a topic that `name` publishes, with the topic. Any thread."""
    found: list[tuple[str, str]] = []
    for runner in tuple(runners.values()):
        topic = runner.seat.waiting_for
        if topic is not None and runner.name != name and name in publishers(topic, runners):
            found.append((runner.name, topic))
    return tuple(found)


def describe(runner: NodeRunner) -> str:
    """What a node is doing, as the end of a sentence about it. Any thread."""
    state = runner.state
    tick = runner.seat.tick
    wait = wait_of(runner)
    if wait is not None and tick is not None:
        seconds = runner.executor.clock() - tick.scheduled
        return f"has been in tick {tick.seq} for {seconds:.1f} s ({wait})"
    if state is NodeState.STUCK:
        return "is stuck: a thread of it has been left behind"
    if state is NodeState.RUNNING:
        return "runs, and sends nothing"
    return f"is {state.value}"


def describe_silence(topic: str, runners: Mapping[str, NodeRunner]) -> str:
    """Why no message of a topic comes, as a sentence without its full stop. Any thread."""
    names = publishers(topic, runners)
    if not names:
        return "no node is known to publish it"
    described = [
        f"its publisher {name!r} {describe(runner)}"
        for name in names
        if (runner := runners.get(name)) is not None
    ]
    return "; ".join(described)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))
