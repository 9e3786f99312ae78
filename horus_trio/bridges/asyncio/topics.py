"""Topics in asyncio tasks: `receive`, `messages` and `send`, for `Hub`, `Subscription` and `Link`.

The engine may run in the task's own thread (`run_in_asyncio`) or in another one
(`horus_trio.background`); it makes no difference. What need not wait needs none of these:
``hub.send(…)``, ``receive_nowait()`` and ``statistics()`` work in any code as they are.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar, overload

import trio

from ...topics import Hub, Link, Subscription
from ...topics.hub import Sender
from .waiting import LoopWaiter

__all__ = ["Messages", "messages", "receive", "send"]

T = TypeVar("T")


async def receive(source: Subscription[T] | Link[T]) -> T:
    """Wait in an asyncio task for the next message, and take it. Cancelled, it has taken nothing.

    Others of the loop have their turn at each call, also if a message is there already.

    Raises:
        trio.EndOfChannel: The topic or link was closed and everything has been received.
        trio.ClosedResourceError: The subscription was closed, perhaps while waiting.
        trio.BusyResourceError: Somebody else waits to receive from the link.
    """
    if not isinstance(source, Subscription | Link):
        raise _refusal("receive", source, "a Subscription or a Link: topic.subscribe(…)")
    await asyncio.sleep(0)  # before the take: a cancellation after it would lose the message
    while True:
        try:
            return source.receive_nowait()
        except trio.WouldBlock:
            pass
        waiter = LoopWaiter()
        if isinstance(source, Link):
            await waiter.wait(source._as_consumer, source._leave_consumer)
        else:
            await waiter.wait(source._await_arrival, functools.partial(source._forget, waiter))


def messages(source: Subscription[T] | Link[T]) -> Messages[T]:
    """What comes, in an asyncio task: ``async for message in messages(subscription):``.

    It ends when the topic or the link has been closed and everything has been received. To leave
    the loop earlier leaves the subscription as it is.
    """
    return Messages(source)


class Messages(AsyncIterator[T], Generic[T]):
    """An asynchronous iterator for asyncio tasks; made by `messages`."""

    def __init__(self, source: Subscription[T] | Link[T]) -> None:
        self._source = source

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await receive(self._source)
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


@overload
async def send(target: Hub[T], data: T) -> int: ...
@overload
async def send(target: Link[T], data: T) -> None: ...
async def send(target: Hub[T] | Link[T], data: T) -> int | None:
    """Publish in an asyncio task as soon as there is room, in turn; or put into a link.

    Cancelled, a link has got nothing. A hub has not published it either, unless its turn had come
    just then: that can be seen in its statistics.

    Returns:
        How many subscriptions took the message; of a link nothing.

    Raises:
        MessageTypeError: `data` is not of the topic's type.
        trio.ClosedResourceError: The topic or link was closed, perhaps while waiting.
        trio.BusyResourceError: Somebody else waits to send into the link.
        TickAbandoned: The task belongs to a tick that was abandoned.
    """
    if not isinstance(target, Hub | Link):
        raise _refusal("send", target, "a Hub or a Link: scheduler.topic(…)")
    await asyncio.sleep(0)
    if isinstance(target, Hub):
        return await _publish(target, data)
    while True:
        try:
            target.send_nowait(data)
            return None
        except trio.WouldBlock:
            await LoopWaiter().wait(target._as_producer, target._leave_producer)


def _refusal(call: str, got: object, expected: str) -> TypeError:
    return TypeError(f"{call}({got!r:.80}): expected {expected}")


async def _publish(hub: Hub[T], data: T) -> int:
    if not hub._blocking:
        return hub.send(data)
    if hub.message_type is not None:
        hub._check_type(data)
    with _LoopSender(hub, data) as sender:
        result = sender.line_up()
        if result is None:
            await sender.waiter.wait(sender.has_to_wait, sender.leave)
            result = sender.result
        if result is None:
            raise RuntimeError("a sender that has left its line has no result")
        return result.unwrap()


class _LoopSender(Sender[T]):
    """An asyncio task that waits to publish."""

    __slots__ = ("waiter",)

    def __init__(self, hub: Hub[T], data: T) -> None:
        super().__init__(hub, data)
        self.waiter = LoopWaiter()

    @property
    def _bell(self) -> LoopWaiter:
        return self.waiter

    def _answer(self) -> None:
        self.waiter.wake()

    def has_to_wait(self, _: object) -> bool:
        return self.result is None
