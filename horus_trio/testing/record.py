"""What a robot did under the harness: results, messages, and a trace of both.

A trace is text, one line an event, and the same in every process that runs the same robot with
the same seed: payloads are told apart by a hash of their value, not by their identity.
"""

from __future__ import annotations

import collections
import contextvars
import dataclasses
import enum
import hashlib
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..messages import AsyncResult, current_fence
from ..topics import Hub, Topics

__all__ = ["Record", "SentMessage", "Trace", "payload_hash", "sent_by_test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """A message a node sent.

    Attributes:
        topic: Where.
        time: When, in seconds on the run's clock.
        node: Who, or None: code outside ticks.
        data: What.
    """

    topic: str
    time: float
    node: str | None
    data: Any


class Trace:
    """The events of a run in order, as lines ``time node seq status topic hash``.

    A tick has a node, a seq and a status, a message has a topic and the hash of its payload; what
    an event does not have is ``-``.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __repr__(self) -> str:
        return f"<Trace of {len(self.lines)} events, {self.digest()[:12]}>"

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def digest(self) -> str:
        """SHA-256 of the text, in hexadecimal: two runs are alike exactly if these are equal."""
        state = hashlib.sha256()
        for line in self.lines:
            state.update(line.encode())
            state.update(b"\n")
        return state.hexdigest()


class Record:
    """Takes down what happens on the topics and in the ticks of one robot.

    Arguments:
        history: How many results, and how many messages of each topic, are kept.
        trace: Whether to keep a trace.
    """

    def __init__(self, history: int, trace: bool) -> None:
        self.results: collections.deque[AsyncResult] = collections.deque(maxlen=history)
        self.counts: collections.defaultdict[str, int] = collections.defaultdict(int)
        self.trace: Trace | None = Trace() if trace else None
        self.forgotten: int = 0
        """How many results are no longer kept."""
        self._history = history
        self._messages: dict[str, collections.deque[tuple[float, str | None, Any]]] = {}
        self._taps: dict[str, tuple[Hub[Any], Any]] = {}

    def tick(self, result: AsyncResult) -> None:
        """A tick has ended."""
        self.forgotten += len(self.results) == self._history
        self.results.append(result)
        self.counts[result.node] += 1
        if self.trace is not None:
            ended = result.started + result.duration
            self.trace.lines.append(
                f"{ended!r} {result.node} {result.seq} {result.status.name} - -"
            )

    def messages(self, topic: str) -> list[SentMessage]:
        """The messages nodes sent to a topic, oldest first."""
        return [
            SentMessage(topic=topic, time=time, node=node, data=data)
            for time, node, data in tuple(self._messages.get(topic, ()))
        ]

    def sent(self, topic: str) -> list[Any]:
        """Their data alone."""
        return [data for _, _, data in tuple(self._messages.get(topic, ()))]

    def tap(self, hub: Hub[Any], clock: Callable[[], float]) -> None:
        """Take down what is sent to a hub, until `untap`."""
        inner = hub._inspect
        kept = self._messages.setdefault(hub.name, collections.deque(maxlen=self._history))
        trace, topic = self.trace, hub.name

        def inspect(data: Any) -> None:  # under the hub's lock, in the sender's thread
            if inner is not None:
                inner(data)
            time, sender = clock(), "test"
            if not sent_by_test.get():
                fence = current_fence.get()
                node = None if fence is None else fence.owner
                kept.append((time, node, data))
                sender = node or "-"
            if trace is not None:
                trace.lines.append(f"{time!r} {sender} - - {topic} {payload_hash(data)}")

        self._taps[hub.name] = hub, inner
        hub._inspect = inspect

    def untap(self, topics: Topics) -> None:
        """Leave the hubs as they were."""
        for hub in topics:
            tapped = self._taps.pop(hub.name, None)
            if tapped is not None and tapped[0] is hub:
                hub._inspect = tapped[1]


sent_by_test: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "horus_trio_sent_by_test", default=False
)
"""Whether the test itself is publishing, not a node."""


def payload_hash(data: object) -> str:
    """A short hash of a value: equal for equal values, in every process.

    Of builtin values, enums, dataclasses and their containers; anything else counts by its pickle,
    or by its type where it has none.
    """
    return hashlib.blake2b(_canonical(data), digest_size=8).hexdigest()


def _canonical(data: object) -> bytes:
    if data is None or isinstance(data, (bool, int, float, complex, str, bytes)):
        return repr(data).encode("utf-8", "surrogatepass")
    if isinstance(data, enum.Enum):
        return f"{type(data).__qualname__}.{data.name}".encode()
    kind = type(data).__qualname__.encode()
    if isinstance(data, Mapping):
        pairs = sorted(_canonical(k) + b":" + _canonical(v) for k, v in data.items())
        return kind + b"{" + b",".join(pairs) + b"}"
    if isinstance(data, (set, frozenset)):
        return kind + b"{" + b",".join(sorted(map(_canonical, data))) + b"}"
    if isinstance(data, (list, tuple)):
        return kind + b"[" + b",".join(map(_canonical, data)) + b"]"
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        values: Iterable[object] = (getattr(data, f.name) for f in dataclasses.fields(data))
        return kind + b"(" + b",".join(map(_canonical, values)) + b")"
    try:
        return kind + pickle.dumps(data, protocol=4)
    except Exception:  # noqa: BLE001 - whatever a type's own reduction raises: its type is left
        return kind
