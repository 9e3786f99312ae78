"""What really happened in a robot: hooks, sends, receipts and results, in one order.

An entry is written before a hook begins and before it returns, so entries of one node are in the
order of what happened. The *life* of a node is from its addition to its removal, restarts included;
one that is added again under its name begins another life.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from horus_trio import AsyncResult, TickAbandoned, TickCancelled

__all__ = ["Diary", "Entry", "Message", "Phase", "Result", "Send"]

Message: TypeAlias = str
"""Who has sent it, and a number: no two are equal."""

Phase: TypeAlias = Literal["begins", "returned", "raised", "cancelled", "is"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened.

    Attributes:
        number: Its place in the order of all.
        life: Whose, such as ``n3/1``; or empty.
        what: Name of the hook, or what is marked: ``paused``, ``resumed``, ``held``, ``let go``,
            ``over`` (of the whole run).
        phase: Of the hook; ``is`` for what is marked.
        seq: Of the tick, else 0.
        text: Of the error, else empty.
        thread: In which it was written.
    """

    number: int
    life: str
    what: str
    phase: Phase
    seq: int = 0
    text: str = ""
    thread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A tick's result, as an observer was told of it."""

    number: int
    life: str
    seq: int
    status: str
    value: object
    text: str


@dataclass(slots=True, kw_only=True)
class Send:
    """A message that a node, or somebody outside, has tried to publish.

    Attributes:
        number: Its place in the order of all, before it was tried.
        life: Whose, or empty.
        seq: Of the tick that sent it, else 0.
        fate: What has become of it; ``unknown``: cancelled in asyncio, which may go either way.
    """

    number: int
    life: str
    seq: int
    topic: str
    message: Message
    fate: Literal["tried", "accepted", "refused", "cancelled", "unknown"] = "tried"


@dataclass(slots=True)
class Diary:
    """Takes everything down; any thread."""

    entries: list[Entry] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    received: dict[tuple[str, str], list[Message]] = field(default_factory=dict)
    lives: dict[str, int] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)
    """What has happened that ends a run, as its reason begins."""

    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _messages: dict[str, Iterator[int]] = field(default_factory=dict)

    def life_begins(self, name: str) -> str:
        """A node of that name is about to be added."""
        self.lives[name] = self.lives.get(name, 0) + 1
        return self.life_of(name)

    def life_of(self, name: str) -> str:
        """Its present life."""
        return f"{name}/{self.lives.get(name, 0)}"

    def write(self, life: str, what: str, phase: Phase, seq: int = 0, text: str = "") -> None:
        """Write one entry."""
        entry = Entry(
            number=next(self._numbers),
            life=life,
            what=what,
            phase=phase,
            seq=seq,
            text=text,
            thread=threading.get_ident(),
        )
        self.entries.append(entry)

    @contextmanager
    def hook(self, life: str, what: str, seq: int = 0) -> Iterator[None]:
        """Write down how a hook begins and ends."""
        self.write(life, what, "begins", seq)
        try:
            yield
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            told = isinstance(error, (TickCancelled, TickAbandoned))
            self.write(life, what, "cancelled" if told else "raised", seq, repr(error))
            raise
        except BaseException:  # trio.Cancelled, or that of asyncio
            self.write(life, what, "cancelled", seq)
            raise
        self.write(life, what, "returned", seq)

    def result(self, result: AsyncResult) -> None:
        """A tick has ended: for `Scheduler.on_result`."""
        self.results.append(
            Result(
                number=next(self._numbers),
                life=self.life_of(result.node),
                seq=result.seq,
                status=result.status.name,
                value=result.value,
                text="" if result.error is None else repr(result.error),
            )
        )

    def new_send(self, life: str, topic: str, seq: int = 0) -> Send:
        """A message is about to be published."""
        who = life or "outside"
        counter = self._messages.setdefault(who, itertools.count())  # atomic, as is `next`
        send = Send(
            number=next(self._numbers),
            life=life,
            seq=seq,
            topic=topic,
            message=f"{who}#{next(counter)}",
        )
        self.sends.append(send)
        return send

    def publish(
        self, life: str, topic: str, seq: int, send: Callable[[str, Message], object]
    ) -> None:
        """Publish one message by `send`; a refusal is raised."""
        entry = self.new_send(life, topic, seq)
        try:
            send(topic, entry.message)
        except TickAbandoned:
            entry.fate = "refused"
            raise
        entry.fate = "accepted"

    def take(self, life: str, topic: str, messages: list[Message]) -> None:
        """Messages have been received, in this order."""
        if messages:
            self.received.setdefault((life, topic), []).extend(messages)
