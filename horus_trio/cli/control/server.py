"""`listening`: the robot's end of the socket, a Trio run in a daemon thread of its own.

It answers while the robot's loop is blocked, since it is another loop; what it asks of the robot it
asks in threads, for a bounded time. A client gets bounded buffers and bounded time, and one that
hangs is hung up on. Nothing the clients do makes the robot wait.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import trio

import horus_trio as horus

from ...logs import OffLoopLogger, engine_logger
from .address import bound_socket, peer_uid
from .errors import ControlError
from .protocol import LINE_LIMIT, answer, parse_request, refusal
from .rendering import rendered
from .requests import ECHO, checked, perform

__all__ = ["listening"]

CLIENTS = 16
"""Clients at once; one more is told so and hung up on."""

CALLS = 8
"""Requests that may wait for the robot at once."""

IDLE = 60.0
"""Seconds a client may take for a request."""

SLOW = 5.0
"""Seconds a client may take to read an answer."""

PATIENCE = 2.0
"""Seconds a request may wait for the robot."""

LEAVING = 0.5
"""Seconds in which answers may still be sent at the end."""

ECHO_INTERVAL = 0.05
"""Seconds between two looks for messages. Looking costs the publisher nothing; being woken by each
message would."""

ECHO_SHARE = 0.05
"""Of the time of one processor, each echo may take so much."""

ECHO_BUFFER = 200
"""Messages kept between two looks; older ones are dropped and counted."""

_log = OffLoopLogger(engine_logger)


@contextlib.contextmanager
def listening(scheduler: horus.Scheduler) -> Iterator[Path]:
    """Answer ``horus-trio top`` and its like while inside: ``with listening(scheduler): …``.

    Inside, the scheduler may run or not, once or again and again. The value is the path of the
    socket, which is gone afterwards.

    Raises:
        ControlError: The socket cannot be made.
    """
    with bound_socket(scheduler.name) as (listener, path):
        server = _Server(scheduler, listener)
        server.start()
        try:
            yield path
        finally:
            server.stop()


class _Server:
    def __init__(self, scheduler: horus.Scheduler, listener: socket.socket) -> None:
        self._scheduler = scheduler
        self._listener = listener
        self._thread = threading.Thread(
            target=self._run, name=f"horus_trio control of {scheduler.name}", daemon=True
        )
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._clients = 0
        self._answering = 0

    # In the thread of `listening`

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._leaving.set)
        self._thread.join(2 * LEAVING)

    # In its own

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except Exception:  # noqa: BLE001 - whatever it is, the robot goes on
            _log.exception("nobody can look into robot %r any more", self._scheduler.name)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._calls = trio.CapacityLimiter(CALLS)
        self._leaving = trio.Event()
        self._quiet = trio.Event()
        with trio.socket.from_stdlib_socket(self._listener) as listener:
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._welcome_all, trio.SocketListener(listener))
                await self._leaving.wait()
                # Who asked for the stop is to hear that it was done.
                self._quiet = trio.Event()
                if self._answering:
                    with trio.move_on_after(LEAVING):
                        await self._quiet.wait()
                nursery.cancel_scope.cancel()

    async def _welcome_all(self, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._welcome, await self._accept(listener))

    async def _accept(self, listener: trio.SocketListener) -> trio.SocketStream:
        while True:
            try:
                return await listener.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                await trio.sleep(0.1)  # until somebody gives a descriptor back

    async def _welcome(self, stream: trio.SocketStream) -> None:
        self._clients += 1
        try:
            async with stream:
                if peer_uid(stream.socket) not in (None, 0, os.getuid()):
                    return
                if self._clients > CLIENTS:
                    await _send(stream, refusal(f"{CLIENTS} clients look already; end one of them"))
                    return
                await self._attend(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, _Slow):
            pass  # it went away, or was hung up on
        except* Exception:  # noqa: BLE001 - the others, and the robot, go on
            _log.exception("looking into robot %r failed", self._scheduler.name)
        finally:
            self._clients -= 1

    async def _attend(self, stream: trio.SocketStream) -> None:
        lines = _Lines(stream)
        while (line := await lines.receive()) is not None:
            topic = None
            self._answering += 1
            try:
                try:
                    do, given = parse_request(line)
                    arguments = checked(do, given)
                    said = await self._ask(functools.partial(self._perform, do, arguments))
                    topic = arguments["topic"] if do == ECHO else None
                except horus.HorusError as error:
                    said = refusal(str(error))
                await _send(stream, said)
            finally:
                self._answering -= 1
                if not self._answering:
                    self._quiet.set()
            if topic is not None:
                await self._echo(stream, topic)
                return

    def _perform(self, do: str, arguments: Mapping[str, Any]) -> bytes:
        return answer(perform(self._scheduler, do, arguments))

    async def _ask(self, call: Callable[[], bytes]) -> bytes:
        """Call in a thread, and wait for it as long as it is sensible.

        Raises:
            HorusError: It raised that, or anything else, or did not return.
        """
        with trio.move_on_after(PATIENCE):
            try:
                return await trio.to_thread.run_sync(
                    call, abandon_on_cancel=True, limiter=self._calls
                )
            except horus.HorusError:
                raise
            except Exception as error:
                raise ControlError(f"the request failed: {error!r}") from error
        raise ControlError(
            f"the loop has not answered within {PATIENCE:g} s: it is blocked; what was asked for "
            "will be done if it goes on"
        )

    async def _echo(self, stream: trio.SocketStream, topic: str) -> None:
        """Send what is published until the client hangs up or hangs."""
        hub = self._scheduler._topics.find(topic)
        subscription = hub.subscribe(ECHO_BUFFER)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_at_end, stream, nursery.cancel_scope)
                told = 0
                while True:
                    messages = subscription.drain()
                    dropped = subscription.statistics().dropped
                    begun = time.thread_time()
                    if messages or dropped != told:
                        told = dropped
                        await _send(stream, _batch(messages, dropped))
                    spent = time.thread_time() - begun
                    await trio.sleep(max(ECHO_INTERVAL, spent / ECHO_SHARE))
        finally:
            subscription.close()


class _Slow(Exception):
    """The client takes too long."""


def _batch(messages: list[Any], dropped: int) -> bytes:
    """An answer for each message; `dropped` counts those lost since the beginning."""
    return b"".join(answer({"data": rendered(m), "dropped": dropped}) for m in messages)


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    with trio.move_on_after(SLOW) as limit:
        await stream.send_all(data)
    if limit.cancelled_caught:
        raise _Slow


async def _cancel_at_end(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Whatever comes from the client, or nothing more, ends the scope."""
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.receive_some(1)
    scope.cancel()


class _Lines:
    """The lines a client sends."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def receive(self) -> bytes | None:
        """The next line that is not empty. A checkpoint.

        None: the client hung up, was silent too long, or sent too long a one and was told so.
        """
        buffer = self._buffer
        with trio.move_on_after(IDLE):
            while True:
                while (end := buffer.find(b"\n")) < 0 and len(buffer) <= LINE_LIMIT:
                    data = await self._stream.receive_some(4096)
                    if not data:
                        return None
                    buffer += data
                if not 0 <= end <= LINE_LIMIT:
                    await _send(
                        self._stream, refusal(f"expected a line of at most {LINE_LIMIT} bytes")
                    )
                    return None
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                if line.strip():
                    await trio.lowlevel.checkpoint()
                    return line
        return None
