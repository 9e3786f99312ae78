"""HORUS's `Node`: functions, their topics, and how they are to be scheduled."""

from __future__ import annotations

import math
import uuid
import warnings
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ...errors import MessageTypeError
from .callbacks import (
    AsyncCallback,
    as_callback,
    is_coroutine_function,
    refuse_coroutine,
    require_plain,
)
from .declarations import TopicSpec, parse_topics
from .messages import Message, not_an_instance
from .node_info import NodeInfo
from .topic import Topic

if TYPE_CHECKING:
    import asyncio

    from .record import Record

__all__ = ["Node"]


class Node:
    """Functions that are called at a rate or when a message comes, and what they need.

    ``tick``, ``init`` and ``shutdown`` take the node; each may be ``async def`` with asyncio code.
    ``on_error`` takes the node and the exception; it is told, and the failure policy decides.

    Arguments:
        name: Unique in its scheduler; None: one is made up.
        tick: Called again and again.
        rate: Ticks a second, in Hz.
        pubs: Topics it writes: a name, a list of names, message types and `Pub`, or a dict.
        subs: Topics it reads.
        init: Called once before the first tick, and after a restart.
        shutdown: Called once at the end.
        on_error: Told of what a tick raised.
        order: Lower is earlier where nodes take turns.
        budget: Seconds a tick should take; None: 80 % of the period.
        deadline: Seconds after which a tick should have ended; None: 95 % of the period.
        on_miss: What to do when it has not: ``"warn"``, ``"skip"``, ``"safe_mode"``, ``"stop"``.
        failure_policy: What to do when a tick fails: ``"fatal"``, ``"restart"``, ``"skip"``,
            ``"ignore"``; None: as ``"ignore"``.
        compute: Tick in the pool of threads that such nodes share, instead of one of its own.
        on: Tick when a message comes in on this topic, not at a rate.
        priority, core: Of real-time threads, which this engine has not; reported and not used.
        watchdog: Seconds after which a tick is given up; None: what the scheduler says, or 30.
        default_capacity: Messages that may wait in topics that say nothing else.

    Raises:
        ValueError: `rate` is not above 0, or more than one of ``async``, `compute` and `on`.
        TypeError: A callback or a declaration is not what it has to be.
    """

    def __init__(
        self,
        name: str | None = None,
        tick: Callable[..., Any] | None = None,
        rate: float = 30,
        pubs: TopicSpec = None,
        subs: TopicSpec = None,
        init: Callable[..., Any] | None = None,
        shutdown: Callable[..., Any] | None = None,
        on_error: Callable[[Node, Exception], object] | None = None,
        order: int = 0,
        budget: float | None = None,
        deadline: float | None = None,
        on_miss: str | None = None,
        failure_policy: str | None = None,
        compute: bool = False,
        on: str | None = None,
        priority: int | None = None,
        core: int | None = None,
        watchdog: float | None = None,
        default_capacity: int = 1024,
    ) -> None:
        self.name: str = f"node_{uuid.uuid4().hex[:8]}" if name is None else name
        if rate <= 0:
            raise ValueError(f"Node rate must be positive (got {rate})")
        if not rate < math.inf:
            raise ValueError(f"Node rate must be finite (got {rate})")
        self.rate: float = rate
        self.default_capacity: int = default_capacity
        self.order: int = order
        self.budget: float | None = budget
        self.deadline: float | None = deadline
        self.on_miss: str | None = on_miss
        self.failure_policy: str | None = failure_policy
        self.priority: int | None = priority
        self.core: int | None = core
        self.watchdog: float | None = watchdog
        self._horus_compute = compute
        self._horus_on = on
        self._horus_runner: asyncio.Runner | None = None  # of callbacks that are called by hand
        by_hand = self._horus_run_by_hand
        self.tick_fn: Callable[..., Any] | None = as_callback(self.name, "tick", tick, by_hand)
        self.init_fn: Callable[..., Any] | None = as_callback(self.name, "init", init, by_hand)
        self.shutdown_fn: Callable[..., Any] | None = as_callback(
            self.name, "shutdown", shutdown, by_hand
        )
        self.on_error_fn: Callable[..., Any] | None = require_plain(self.name, "on_error", on_error)
        self._horus_async = any(
            isinstance(function, AsyncCallback)
            for function in (self.tick_fn, self.init_fn, self.shutdown_fn)
        )
        if self._horus_async + bool(compute) + (on is not None) > 1:
            raise ValueError(
                "Execution class is mutually exclusive: only one of "
                "async tick, compute=True, or on='topic' can be set"
            )
        for method in ("tick", "init", "shutdown"):
            if is_coroutine_function(getattr(self, method)):
                raise TypeError(
                    f"{type(self).__qualname__}.{method} is `async def`, and HORUS calls it as a "
                    f"plain method; pass the coroutine function instead: Node({method}=…)"
                )
        self._topic_configs: dict[str, dict[str, Any]] = {}
        self.pub_topics: list[str] = parse_topics(pubs, self._topic_configs)
        self.sub_topics: list[str] = parse_topics(subs, self._topic_configs)
        self.info: NodeInfo | None = None
        self._horus_record: Record | None = None
        self._peek_buffer: dict[str, Any] = {}
        self._horus_sent = 0
        self._horus_received = 0
        self._setup_topics()

    def __repr__(self) -> str:
        return f"<horus.Node {self.name!r}>"

    @property
    def _horus_has_budget(self) -> bool:
        """Whether its ticks have a budget even where none is given: those at a rate, in threads."""
        return not (self._horus_async or self._horus_compute or self._horus_on is not None)

    # Topics

    def _setup_topics(self) -> None:
        self._topics: dict[str, Topic[Any]] = {}
        for topic in self.pub_topics:
            self._ensure_topic(topic)
        for topic in self.sub_topics:
            self._ensure_topic(topic).join()

    def _ensure_topic(self, topic: str) -> Topic[Any]:
        found = self._topics.get(topic)
        if found is None:
            config = self._topic_configs.get(topic, {})
            capacity = config.get("capacity", self.default_capacity)
            message_type = config.get("type")
            if message_type is None:
                found = Topic(topic, capacity)
            else:
                found = Topic(message_type, capacity, endpoint=topic)
            self._topics[topic] = found
        return found

    def has_msg(self, topic: str) -> bool:
        """Whether a message waits: it is taken and kept for the next `recv`."""
        if topic in self._peek_buffer:
            return True
        message = self._ensure_topic(topic).recv(self)
        if message is None:
            return False
        self._peek_buffer[topic] = message
        return True

    def recv(self, topic: str) -> Any:
        """The oldest waiting message, or None."""
        if topic in self._peek_buffer:
            self._horus_received += 1
            return self._peek_buffer.pop(topic)
        if topic not in self.sub_topics:
            self.sub_topics.append(topic)
        found = self._topics.get(topic)
        if found is None:
            found = self._ensure_topic(topic)
        message = found.recv(self)
        if message is not None:
            self._horus_received += 1
        return message

    def recv_all(self, topic: str) -> list[Any]:
        """All waiting messages, oldest first."""
        messages: list[Any] = []
        while (message := self.recv(topic)) is not None:
            messages.append(message)
        return messages

    def send(self, topic: str, data: Any) -> bool:
        """Publish; a dict becomes a message of the topic's type, if it has one.

        Returns:
            True.

        Raises:
            TypeError: The topic carries something else.
        """
        if topic not in self.pub_topics:
            self.pub_topics.append(topic)
        found = self._topics.get(topic)
        if found is None:
            found = self._ensure_topic(topic)
        if isinstance(data, dict) and topic in self._topic_configs:
            data = self._horus_converted(topic, data)
        try:
            sent = found.send(data, self)
        except TypeError:
            plain = _as_dict(data)
            if plain is None:
                raise
            sent = found.send(plain, self)
        self._horus_sent += 1
        return sent

    def _horus_converted(self, topic: str, data: dict[str, Any]) -> Any:
        message_type = self._topic_configs[topic].get("type")
        if message_type is None:
            return data
        try:
            return message_type(**data)
        except TypeError as error:
            if not (isinstance(message_type, type) and issubclass(message_type, Message)):
                return data
            raise MessageTypeError(f"{not_an_instance(data, message_type)}: {error}") from None

    def publishers(self) -> list[str]:
        """The topics it writes."""
        return self.pub_topics.copy()

    def subscribers(self) -> list[str]:
        """The topics it reads."""
        return self.sub_topics.copy()

    # Life cycle

    def _run_tick_with_error_handling(self, info: Any = None) -> None:
        """Tick; what that raises is told to ``on_error`` and raised again.

        If ``on_error`` itself raises, it is the tick's exception that counts.
        """
        before = self.info
        self.info = info
        try:
            if self.tick_fn is not None:
                refuse_coroutine(self.name, "tick", self.tick_fn(self))
        except Exception as error:
            self._horus_tell(error)
            raise
        finally:
            self.info = before

    def _horus_tell(self, error: Exception) -> None:
        """Call ``on_error``; what it raises becomes a note on the error it was told."""
        if self.on_error_fn is None:
            return
        try:
            self.on_error_fn(self, error)
        except Exception as second:  # noqa: BLE001 - the first error is the one that counts
            error.add_note(f"on_error raised, too: {second!r}")

    def _internal_tick(self, info: Any = None) -> None:
        self._run_tick_with_error_handling(info)

    def _internal_init(self, info: Any = None) -> None:
        self.info = info
        if self.init_fn is not None:
            refuse_coroutine(self.name, "init", self.init_fn(self))

    def _internal_shutdown(self, info: Any = None) -> None:
        self.info = info
        if self.shutdown_fn is not None:
            refuse_coroutine(self.name, "shutdown", self.shutdown_fn(self))

    def init(self, info: Any = None) -> None:
        """Called by the scheduler before the first tick."""
        self._internal_init(info)

    def tick(self, info: Any = None) -> None:
        """Called by the scheduler for each tick."""
        self._run_tick_with_error_handling(info)

    def shutdown(self, info: Any = None) -> None:
        """Called by the scheduler at the end."""
        self._internal_shutdown(info)

    def _horus_run_by_hand(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """Run an ``async`` callback that was called as a plain one."""
        import asyncio

        if self._horus_runner is None:
            self._horus_runner = asyncio.Runner()
        try:
            return self._horus_runner.run(coroutine)
        except BaseException:
            coroutine.close()  # it may not have begun: this is an asyncio loop
            raise

    def _horus_close_runner(self) -> None:
        runner, self._horus_runner = self._horus_runner, None
        if runner is not None:
            runner.close()

    # Log and control, in callbacks

    def log_info(self, message: str) -> None:
        """Log for the user's information."""
        info = self._horus_info_or_warn("log_info")
        if info is not None:
            info.log_info(message)

    def log_warning(self, message: str) -> None:
        """Log a warning."""
        info = self._horus_info_or_warn("log_warning")
        if info is not None:
            info.log_warning(message)

    def log_error(self, message: str) -> None:
        """Log an error; it counts as one."""
        info = self._horus_info_or_warn("log_error")
        if info is not None:
            info.log_error(message)

    def log_debug(self, message: str) -> None:
        """Log for whoever looks for a mistake."""
        info = self._horus_info_or_warn("log_debug")
        if info is not None:
            info.log_debug(message)

    def _horus_info_or_warn(self, call: str) -> NodeInfo | None:
        if self.info is None:
            warnings.warn(
                f"Node '{self.name}': {call}() called outside scheduler — message dropped. "
                "Logging is only available during init/tick/shutdown.",
                RuntimeWarning,
                stacklevel=3,
            )
        return self.info

    def request_stop(self) -> None:
        """Stop the scheduler; in a callback."""
        if self.info is not None:
            self.info.request_stop()
            return
        warnings.warn(
            "request_stop() called outside a node callback (init/tick/shutdown) — "
            "it has no effect there. Call it from within tick() to stop the scheduler.",
            RuntimeWarning,
            stacklevel=2,
        )


def _as_dict(message: Any) -> dict[str, Any] | None:
    """The public attributes of a message, for topics that carry dicts; None if it has none."""
    if message is None or isinstance(
        message, (dict, list, tuple, set, str, bytes, bytearray, int, float)
    ):
        return None
    if hasattr(message, "__array_interface__") or hasattr(message, "__array__"):
        return None
    found = {
        name: value
        for name in dir(message)
        if not name.startswith("_") and not callable(value := getattr(message, name, None))
    }
    return found or None
