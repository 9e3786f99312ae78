"""`Node` and `AsyncNode`: the classes users derive from.

A node talks to the world through topics and to the engine through its seat. What it may call in
both kinds of tick never waits; what waits is awaited, and says so at the call when used in a
``def`` tick.
"""

from __future__ import annotations

import functools
import logging
import math
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, NoReturn, TypeVar, Unpack

import trio

from ..errors import (
    AlreadyRunning,
    AsyncCallInThread,
    ConfigurationError,
    NodeError,
    NotRunning,
    TickAbandoned,
    TickCancelled,
)
from ..logs import OffLoopLogger
from ..messages import Tick, current_fence
from ..topics import Topics
from .options import ConstructorKeywords, check_names, class_options
from .seat import Seat

__all__ = ["AsyncNode", "Node", "gather_options"]

T = TypeVar("T")


class Node:
    """Something that ticks: a camera, a sensor, a controller, a logger.

    Derive from it and define ``tick``: a plain ``def`` runs in a worker thread and may block, an
    ``async def`` runs on the Trio loop. Or give functions that take the node. Options are
    keywords here, class attributes, or overrides in ``Scheduler.add``; see `NodeOptions`.

    Life cycle: ``init``, then ``tick`` again and again, then ``shutdown``; each may be ``def`` or
    ``async def``, and what ``tick`` returns is in its `AsyncResult`.

    Arguments:
        name: Unique in its scheduler; None: class name and a number.
        tick, init, shutdown, enter_safe_state: Functions of the node, instead of methods.
        on_error: Function of the node and the exception, instead of a method.
        options: See `NodeOptions`.

    Raises:
        ConfigurationError: There is no such option.
        NodeError: A function that cannot be called.
    """

    name: str
    _seat: Seat | None = None
    _functions: Mapping[str, Callable[..., Any]] = types.MappingProxyType({})
    _options: dict[str, Any]

    def __init__(
        self,
        name: str | None = None,
        *,
        tick: Callable[..., Any] | None = None,
        init: Callable[..., Any] | None = None,
        shutdown: Callable[..., Any] | None = None,
        on_error: Callable[..., Any] | None = None,
        enter_safe_state: Callable[..., Any] | None = None,
        **options: Unpack[ConstructorKeywords],
    ) -> None:
        check_names(type(self).__qualname__, options)
        self._options = dict(options)
        if name is not None:
            self._options["name"] = name
        self.name = name or getattr(type(self), "name", None) or type(self).__qualname__
        functions = {
            "tick": tick,
            "init": init,
            "shutdown": shutdown,
            "on_error": on_error,
            "enter_safe_state": enter_safe_state,
        }
        given = {hook: function for hook, function in functions.items() if function is not None}
        for hook, function in given.items():
            if not callable(function):
                raise NodeError(
                    f"{type(self).__qualname__}({name!r}): {hook}={function!r}, "
                    "expected a function that takes the node"
                )
        if given:
            self._functions = {
                hook: functools.partial(function, self) for hook, function in given.items()
            }
        self._owner: object | None = None
        self._log: OffLoopLogger | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {_name_of(self)!r}>"

    # Hooks, for users to override

    def tick(self) -> Any:
        """Do the work of one tick. Define it, or pass ``tick=function``."""
        return self._call_function("tick")

    def init(self) -> Any:
        """Prepare: open devices. Called before the first tick and after each restart."""
        return self._call_function("init")

    def shutdown(self) -> Any:
        """Clean up. Called exactly once for each ``init`` that succeeded."""
        return self._call_function("shutdown")

    def on_error(self, error: BaseException) -> Any:
        """Be told that a tick or a hook failed; the failure policy decides all the same."""
        return self._call_function("on_error", error)

    def enter_safe_state(self) -> Any:
        """Make the hardware safe at once: stop motors. Called in emergencies."""
        return self._call_function("enter_safe_state")

    def _call_function(self, hook: str, *args: Any) -> Any:
        function = self._functions.get(hook)
        if function is not None:
            return function(*args)
        if hook == "tick":
            raise NodeError(f"{type(self).__qualname__} has no tick; define `def tick(self)`")
        return None

    # Topics

    def send(self, topic: str, data: Any) -> int:
        """Publish; never waits, in any thread.

        Returns:
            How many subscriptions took the message.

        Raises:
            TickAbandoned: This tick was abandoned, or the run is over.
            MessageTypeError: The topic is declared with another type.
            NotRunning: The node is in no run.
        """
        seat = self._seat
        if seat is None or seat.over:
            self._refuse("send")
        try:
            hub = seat.hubs[topic]
        except KeyError:
            hub = seat.hub(topic)
        return hub.send(data)

    def send_async(self, topic: str, data: Any) -> Coroutine[Any, Any, int]:
        """Publish, waiting first for room in every `Overflow.BLOCK` subscription. A checkpoint.

        Raises:
            AsyncCallInThread: At the call, in a ``def`` tick; use `send` there.
        """
        self._require_loop("send_async", "send")
        seat = self._seat
        if seat is None or seat.over:
            self._refuse("send_async")
        return seat.hub(topic).send_async(data)

    def recv(self, topic: str, default: Any = None) -> Any:
        """The oldest waiting message, or `default`; never waits.

        None is an ordinary message: pass another `default` to tell it from "nothing there".
        """
        seat = self._seat
        if seat is None or seat.over:
            self._refuse("recv")
        try:
            subscription = seat.subscriptions[topic]
        except KeyError:
            subscription = seat.subscription(topic)
        try:
            return subscription.receive_nowait()
        except trio.WouldBlock:
            return default

    def recv_async(self, topic: str) -> Coroutine[Any, Any, Any]:
        """Wait for the next message. A checkpoint; cancelled, nothing was taken.

        Raises:
            AsyncCallInThread: At the call, in a ``def`` tick; use `recv` there.
        """
        self._require_loop("recv_async", "recv")
        return self._receive(self._sitting("recv_async"), topic)

    async def _receive(self, seat: Seat, topic: str) -> Any:
        seat.waiting_for = topic
        try:
            return await seat.subscription(topic).receive()
        finally:
            seat.waiting_for = None

    def recv_all(self, topic: str) -> list[Any]:
        """All waiting messages, oldest first; never waits."""
        return self._sitting("recv_all").subscription(topic).drain()

    def has_msg(self, topic: str) -> bool:
        """Whether a message waits."""
        return self._sitting("has_msg").subscription(topic).depth > 0

    def latest(self, topic: str, default: Any = None, max_age: float | None = None) -> Any:
        """The newest message of a topic, whether or not it was received before; takes nothing.

        Arguments:
            topic: Name of the topic.
            default: Returned where there is no message, or none young enough.
            max_age: Seconds a message may be old; None: what the node's `Sub` declares.
        """
        if max_age is not None and not max_age >= 0:
            raise ConfigurationError(f"latest(max_age={max_age!r}): expected seconds, 0 or more")
        seat = self._sitting("latest")
        newest = seat.hub(topic).latest
        if newest is None:
            return default
        data, instant = newest
        if max_age is None:
            max_age = seat.max_ages.get(topic)
        if max_age is not None and not seat.clock() - instant <= max_age:
            return default
        return data

    def age(self, topic: str) -> float:
        """Seconds since the newest message of a topic; infinity if there is none."""
        seat = self._sitting("age")
        newest = seat.hub(topic).latest
        return math.inf if newest is None else seat.clock() - newest[1]

    def messages(self, topic: str) -> AsyncIterator[Any]:
        """Iterate over the messages of a topic, waiting for each: ``async for m in …``.

        Raises:
            AsyncCallInThread: At the call, in a ``def`` tick; use `recv_all` there.
        """
        self._require_loop("messages", "recv_all")
        return _Messages(self, topic)

    # Time and engine

    @property
    def now(self) -> float:
        """The present instant, in seconds on Trio's clock."""
        return self._sitting("now").clock()

    @property
    def dt(self) -> float:
        """Seconds from the previous tick's scheduled instant to this one's.

        In the first tick it is the node's period, or 0.0 without a rate.
        """
        seat = self._sitting("dt")
        if seat.tick is None or seat.previous is None:
            return seat.period
        return seat.tick.scheduled - seat.previous

    @property
    def current_tick(self) -> Tick | None:
        """The tick now running, or the latest one; None before the first."""
        return self._sitting("current_tick").tick

    @property
    def log(self) -> logging.Logger:
        """A standard logger; its records carry ``node`` and ``tick``. Never blocks the loop."""
        log = self._log
        if log is None:
            name = _name_of(self)
            log = OffLoopLogger(logging.getLogger(f"horus_trio.node.{name}"), self._log_fields)
            self._log = log
        seat = self._seat
        log.thread = None if seat is None or seat.over else seat.log_thread
        return log

    def _log_fields(self) -> dict[str, Any]:
        seat = self._seat
        tick = None if seat is None or seat.tick is None else seat.tick.seq
        return {"node": _name_of(self), "tick": tick}

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start a background task of this node; it runs between ticks and dies with the node.

        It starts in a clean context (no tick's fence). If it raises, the node has failed. From
        any thread.

        Raises:
            NotRunning: The node is in no run.
        """
        if not callable(function):
            raise NodeError(
                f"start_soon({function!r}): expected an async function and its arguments, as in "
                "start_soon(self.keep_alive, 5.0)"
            )
        seat = self._seat
        if seat is None or seat.over or seat.engine is None:
            raise NotRunning(
                f"node {_name_of(self)!r} is in no run: call start_soon in init or tick"
            )
        seat.engine.start_soon(function, args)

    def check_cancelled(self) -> None:
        """Ask, in a long ``def`` tick, whether its time is over; any thread.

        Raises:
            TickAbandoned: The tick was abandoned; return.
            TickCancelled: The node was told to stop; return soon.
        """
        fence = current_fence.get()
        if fence is None or not fence.expired:
            return
        if fence.closed:
            fence.refuse()
        raise TickCancelled(f"node {fence.owner!r} was told to stop")

    def request_stop(self, reason: str = "") -> None:
        """Stop the whole run, gracefully; any thread.

        Raises:
            NotRunning: The node is in no run.
        """
        seat = self._seat
        if seat is None or seat.engine is None:
            raise NotRunning(f"node {_name_of(self)!r} is in no run: there is nothing to stop")
        seat.engine.request_stop(reason or f"requested by node {_name_of(self)!r}")

    def emergency_stop(self, reason: str = "") -> None:
        """Bring every critical node into its safe state now; any thread. The run goes on.

        Raises:
            NotRunning: The node is in no run.
        """
        seat = self._seat
        if seat is None or seat.engine is None:
            raise NotRunning(f"node {_name_of(self)!r} is in no run: there is nothing to make safe")
        seat.engine.emergency_stop(reason or f"called by node {_name_of(self)!r}")

    # Without an engine

    def connect(self, topics: Topics, clock: Callable[[], float] = time.monotonic) -> None:
        """Join `topics` without an engine, to call hooks by hand: a bench, a naive loop.

        Arguments:
            topics: Shared by the nodes on the bench.
            clock: Seconds, for `now` and the age of messages.

        Raises:
            AlreadyRunning: The node is in a run.
        """
        if self._seat is not None and not self._seat.over:
            raise AlreadyRunning(
                f"node {_name_of(self)!r} is connected already: disconnect() first"
            )
        if topics._clock is None:
            topics.start_clock(clock)
        self._seat = Seat(topics, clock)

    def disconnect(self) -> None:
        """Undo `connect`. Idempotent."""
        seat = self._seat
        if seat is not None and seat.engine is None:
            seat.leave()
            self._seat = None

    # For kinds of nodes

    def _open_beside(self, seat: Seat, name: str) -> None:
        """Give `seat` a companion, to be open from before ``init`` until after ``shutdown``."""

    def _hook_on_loop(self, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """What the engine calls in place of an ``async`` hook."""
        return function

    def _sitting(self, call: str) -> Seat:
        seat = self._seat
        if seat is None or seat.over:
            self._refuse(call)
        return seat

    def _refuse(self, call: str) -> NoReturn:
        name = _name_of(self)
        if self._seat is None:
            raise NotRunning(
                f"node {name!r}.{call}: the node is in no run; add it to a Scheduler and run that, "
                "or connect() it to Topics"
            )
        raise TickAbandoned(f"node {name!r}.{call}: its run is over")

    def _require_loop(self, call: str, instead: str) -> None:
        if not trio.lowlevel.in_trio_task():
            raise AsyncCallInThread(
                f"node {_name_of(self)!r}: {call}() has to be awaited on the Trio loop, and this "
                f"is a thread (a def tick); use {instead}() here, or make the tick async"
            )


class AsyncNode(Node):
    """A node that ticks on the Trio loop: define ``async def tick_async`` (or ``async def tick``).

    The name is that of HORUS's future API; a `Node` with an ``async def tick`` is the same thing.
    """

    async def tick_async(self) -> Any:
        """Do the work of one tick. Must await something where it would otherwise take long."""
        raise NodeError(
            f"{type(self).__qualname__} has no tick; define `async def tick_async(self)`"
        )


class _Messages(AsyncIterator[Any]):
    """The iterator behind `Node.messages`."""

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._topic = topic

    def __repr__(self) -> str:
        return f"<messages of {self._topic!r} to {self._node!r}>"

    async def __anext__(self) -> Any:
        return await self._node.recv_async(self._topic)


def gather_options(node: Node, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a node: class attributes, then constructor keywords, then `overrides`.

    Raises:
        NodeError: `node` is no node, or its class forgot ``super().__init__()``.
        ConfigurationError: There is no such option.
    """
    if not isinstance(node, Node):
        raise NodeError(
            f"expected a horus_trio.Node, a Node class or a function that makes one, got {node!r}"
        )
    cls = type(node)
    if "_options" not in vars(node):
        raise NodeError(
            f"{cls.__qualname__}.__init__ did not call super().__init__(); make that its first line"
        )
    check_names(cls.__qualname__, overrides)
    return {**class_options(cls, Node), **node._options, **overrides}


def _name_of(node: Node) -> str:
    name = getattr(node, "name", None)  # missing where __init__ was not called
    return name if isinstance(name, str) else type(node).__qualname__
