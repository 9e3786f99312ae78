"""Who waits for whom: what holds a node's tick up, and who owes a topic its messages.

All of it is found by looking, at the moment somebody asks and in any thread: at where the tick
stands, at full subscriptions, at the tokens of the pool. Nothing is recorded beforehand except, by
topics and links, who used them last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..health import NodeState
from ..topics import Hub, Link
from .frames import frames_of, frames_of_thread, is_engines, place_of
from .threads import ThreadCall
from .ticker import Ticker

if TYPE_CHECKING:
    from .runner import NodeRunner

__all__ = ["Wait", "describe", "describe_silence", "publishers", "readers_waiting", "wait_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a node's tick in flight is doing.

    Attributes:
        what: Such as ``waits for room in topic 'scan'``.
        on: Names of the nodes that hold it up.
        for_input: Whether it waits for a message: an idle node, not a stalled one.
        where: File, line and function in which its code stands; empty if it has not begun.
    """

    what: str
    on: tuple[str, ...] = ()
    for_input: bool = False
    where: str = ""

    def __str__(self) -> str:
        text = self.what
        if self.on:
            text += f", held up by {_names(self.on)}"
        return f"{text}, at {self.where}" if self.where else text


def wait_of(runner: NodeRunner) -> Wait | None:
    """What holds up the tick of a node; None: it is in no tick. Any thread."""
    if not runner.mailbox.busy:
        return None
    call = runner.thread_call
    if call is not None and call.waits_for_thread:
        if runner.options.thread == "own":
            return Wait(what="waits for its own thread", where=_where(runner))
        return Wait(what="waits for a thread of the pool", on=_holders(runner, call))
    if runner.state is NodeState.STUCK:
        return Wait(what="waits for its thread, which was left behind", where=_where(runner))
    stack = _frames(runner, call)
    wait = Wait(what="awaits something" if call is None else "is busy in a thread")
    for frame, _ in stack:
        if is_engines(frame):
            wait = _look_at(frame, runner.executor.runners) or wait
    return dataclasses.replace(wait, where=_users_place(stack))


def _holders(runner: NodeRunner, call: ThreadCall) -> tuple[str, ...]:
    """The nodes that hold the tokens for which a call waits."""
    calls = runner.executor.pool.calls()
    held = call._limiter
    return tuple(sorted({c.node for c in calls if c._held is held and c is not call}))


def _frames(runner: NodeRunner, call: ThreadCall | None) -> list[tuple[FrameType, int]]:
    """The frames of the tick, from the outermost on; none if it has just ended."""
    if call is not None:
        return _frames_of_call(call)
    frames = [] if runner.task is None else list(frames_of(runner.task))
    for depth, (frame, _) in enumerate(frames, 1):
        if frame.f_code is Ticker.on_loop.__code__:
            return frames[depth:]
    return []


def _frames_of_call(call: ThreadCall) -> list[tuple[FrameType, int]]:
    stack: list[tuple[FrameType, int]] = []
    for frame, line in frames_of_thread(call.thread):
        if frame.f_code is ThreadCall.work.__code__:
            return stack[::-1]
        stack.append((frame, line))
    return []


def _where(runner: NodeRunner) -> str:
    """Where a hook of the node stands, on the loop or in a thread; or an empty text."""
    stack = [] if runner.task is None else list(frames_of(runner.task))
    for call in runner.executor.pool.calls():
        if call.node == runner.name and not call.waits_for_thread:
            stack += _frames_of_call(call)
    return _users_place(stack)


def _users_place(stack: list[tuple[FrameType, int]]) -> str:
    return place_of([(frame, line) for frame, line in stack if not is_engines(frame)])


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
    state, where = runner.state, _where(runner)
    tick, wait = runner.seat.tick, wait_of(runner)
    if state is not NodeState.STUCK and wait is not None and tick is not None:
        seconds = runner.executor.clock() - tick.scheduled
        return f"has been in tick {tick.seq} for {seconds:.1f} s ({wait})"
    if state is NodeState.RUNNING:
        return "runs, and sends nothing"
    return f"is {state.value}, at {where}" if where else f"is {state.value}"


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
