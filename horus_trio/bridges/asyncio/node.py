"""`AsyncioNode`: a node whose hooks are asyncio code, on an asyncio loop of its own.

The loop is there from before ``init`` until after ``shutdown``, so what the hooks have begun goes
on between ticks. To the engine it is a node like any other: its hooks are coroutines on Trio's
loop, which wait for asyncio code to end and pass cancellation on to it.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from ...errors import NodeError
from ...node import AsyncNode, Seat
from .loop import NodeLoop
from .topics import receive, send

__all__ = ["AsyncioNode"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class AsyncioNode(AsyncNode):
    """A node whose ``async`` hooks are ordinary asyncio code: aiohttp, asyncpg, background tasks.

    Define ``async def tick`` (or ``tick_async``), or pass ``tick=function``; every other hook that
    is ``async def`` is asyncio code as well, and one that is a plain ``def`` runs in a thread. All
    run on one asyncio loop of the node's own, which is opened before ``init``, closed after
    ``shutdown``, and opened anew at a restart. Its time is Trio's, also virtual time.

    Tasks that the code has created run between ticks. One that fails is this node's failure
    unless somebody looks at it (awaits it, asks for its result or exception) by the end of the
    next tick that begins; a node that does not tick meanwhile has failed after 1 s or two periods,
    whichever is more. What `start_soon` has started, or a callback of the loop raises, is its
    failure at once. Tasks that are left over after ``shutdown`` are cancelled and awaited.

    Methods of nodes that are awaited (`recv_async`, `send_async`, `messages`) are awaited in
    asyncio code as they are; what is Trio's is awaited through `run_trio`.

    Needs the extra ``asyncio``, and a Trio run that is not a guest of an asyncio loop.
    """

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start asyncio code as a background task of this node; as `Node.start_soon` otherwise."""
        if callable(function):
            function = functools.partial(self._run_asyncio_task, function)
        super().start_soon(function, *args)

    async def run_trio(self, function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Await Trio code in asyncio code: ``rows = await self.run_trio(pool.run, query)``.

        Cancelled, it cancels the Trio code and waits for that to end. In Trio code it just awaits.

        Arguments:
            function: An async function of Trio's.
            args: For it; name keywords with `functools.partial`.
        """
        if not _is_in_asyncio():
            return await function(*args)
        return await self._own_loop("run_trio").run_trio(function, args)

    def send_async(self, topic: str, data: Any) -> Coroutine[Any, Any, int]:
        """Publish, waiting first for room in every `Overflow.BLOCK` subscription.

        If it is cancelled at the very moment there is room, the message may have been published.

        Raises:
            AsyncCallInThread: At the call, in a ``def`` hook; use `send` there.
        """
        sending = super().send_async(topic, data)
        if not _is_in_asyncio():
            return sending
        sending.close()
        return send(self._sitting("send_async").hub(topic), data)

    async def _receive(self, seat: Seat, topic: str) -> Any:
        if not _is_in_asyncio():
            return await super()._receive(seat, topic)
        seat.waiting_for = topic
        try:
            return await receive(seat.subscription(topic))
        finally:
            seat.waiting_for = None

    # For the engine

    def _open_beside(self, seat: Seat, name: str) -> None:
        seat.companion = NodeLoop(name, seat)

    def _hook_on_loop(self, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if hook == "init":
            return functools.partial(self._run_asyncio_init, function)
        # However busy the loop is, and short the time: these are called.
        begins = hook in ("shutdown", "enter_safe_state")
        return functools.partial(self._run_asyncio_hook, begins, function)

    async def _run_asyncio_init(self, function: Callable[..., Any]) -> Any:
        return await self._own_loop("its asyncio code").run_init(function)

    async def _run_asyncio_hook(
        self, begins: bool, function: Callable[..., Any], *args: Any
    ) -> Any:
        return await self._own_loop("its asyncio code").run_hook(function, args, begins=begins)

    async def _run_asyncio_task(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self._own_loop("its asyncio code").run(function, args)

    def _own_loop(self, call: str) -> NodeLoop:
        companion = self._sitting(call).companion
        if not isinstance(companion, NodeLoop):
            raise NodeError(
                f"node {self.name!r} has no asyncio loop here: its factory made another kind of "
                "node before, or it is on a bench; let one factory make one kind of nodes"
            )
        return companion


def _is_in_asyncio() -> bool:
    import sniffio  # it comes with trio-asyncio, which runs by now

    return sniffio.current_async_library() == "asyncio"
