"""The seam to hardware: five verbs, and the rules of what may follow what.

::

    async with TcpClient("127.0.0.1", 5025, framing=Lines()) as device:
        await device.send(b"*IDN?")
        print(await device.receive())

A driver is *new*, *opening*, *open*, *broken* or *closed*. `open` leads from new or closed to open;
`aclose` from anywhere to closed; a lost device from open to broken, where only `aclose` is of use.

A subclass says how to connect, receive, send and disconnect, in four methods of its own. The
states, the counters, the turns of several senders and the names of errors are here, once for all.
"""

from __future__ import annotations

import abc
import enum
import errno
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Generic, NoReturn, Self, TypeVar

import trio

from ..messages import current_fence
from .errors import (
    ConnectFailed,
    DeviceGone,
    DriverError,
    FrameError,
    ReceiveFailed,
    SendFailed,
    SendInterrupted,
)

__all__ = ["Driver", "DriverState", "DriverStatistics"]

T = TypeVar("T")


class DriverState(enum.Enum):
    """What a driver is."""

    NEW = "new"
    OPENING = "opening"
    OPEN = "open"
    BROKEN = "broken"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverStatistics:
    """A driver at one instant; the counters are of its whole life, over all connections.

    Attributes:
        state: What it is.
        connects: How often it was opened.
        received: Messages given out by `Driver.receive`.
        sent: Messages taken by `Driver.send`.
        failures: Errors of the device: in `open`, `receive` and `send`.
        last_error: The latest of them as text, or an empty text.
        bytes_received: Bytes that came in, 0 where there are none to count.
        bytes_sent: Bytes that went out.
        discarded: Bytes that belonged to no valid message.
        rejected: Messages that were not valid, such as those with a wrong checksum.
        lost: Messages known to be lost on the way, where they are numbered; and those passed over
            for newer ones by a driver that is not `Driver.lossless`.
    """

    state: DriverState
    connects: int = 0
    received: int = 0
    sent: int = 0
    failures: int = 0
    last_error: str = ""
    bytes_received: int = 0
    bytes_sent: int = 0
    discarded: int = 0
    rejected: int = 0
    lost: int = 0


GONE = frozenset(
    {
        errno.EBADF,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENODEV,
        errno.ENOTCONN,
        errno.ENXIO,
        errno.EPIPE,
        errno.ESHUTDOWN,
        errno.ETIMEDOUT,
    }
)
"""Errors of the operating system after which a connection is of no use."""


class Driver(abc.ABC, Generic[T]):
    """A device that messages come from and go to. An async context manager: open inside.

    For authors: define `_connect`, `_receive`, `_send` and `_disconnect`. They may let `OSError`
    and Trio's errors through. Leave the public methods alone.

    Attributes:
        sends: Whether it takes messages; see `ReceiveOnlyDriver`.
        lossless: Whether `receive` gives out every message that came. One that is False passes over
            old ones when newer ones have come, such as a camera, and counts them in
            `DriverStatistics.lost`.
    """

    sends: ClassVar[bool] = True
    lossless: ClassVar[bool] = True

    def __init__(self) -> None:
        self._state = DriverState.NEW
        self._opening: trio.CancelScope | None = None
        self._opened = trio.Event()
        self._over = trio.Event()
        self._connection = 0
        self._receiving = False
        self._send_lock = trio.Lock()
        self._mid_message = False
        self._broken_by: BaseException | None = None
        self._connects = self._received = self._sent = self._failures = 0
        self._last_error = ""

    def __repr__(self) -> str:
        return f"<{self.name}, {self._state.value}>"

    @property
    def name(self) -> str:
        """What it is called in messages: its class, and where the device is if it is known."""
        return type(self).__qualname__

    @property
    def state(self) -> DriverState:
        """What it is now."""
        return self._state

    # For those who use it

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Connect. A checkpoint; cancelled, or failed, it is closed.

        Raises:
            ConnectFailed: The device cannot be had.
            trio.BusyResourceError: It is open, or another task is opening it.
            DeviceGone: It is broken: `aclose` first.
            trio.ClosedResourceError: `aclose` was called meanwhile.
        """
        while self._opening is not None and self._state is DriverState.CLOSED:
            await self._opened.wait()  # an open() that was closed has yet to disconnect
        if self._state is DriverState.BROKEN:
            self._refuse("open")
        if self._state in (DriverState.OPENING, DriverState.OPEN):
            raise trio.BusyResourceError(f"{self.name} is {self._state.value} already")
        self._state = DriverState.OPENING
        self._connection += 1
        self._opened = trio.Event()
        connected = False
        try:
            with trio.CancelScope() as self._opening:
                # Whoever was woken by the close of the last connection gets to know first.
                await trio.lowlevel.checkpoint()
                await self._connect()
                connected = True
        except Exception as error:
            failure = self._not_opened(error)
            if failure is error:
                raise
            raise failure from error
        finally:
            closed = self._state is DriverState.CLOSED
            self._opening = None
            self._opened.set()
            if connected and not closed:
                self._state = DriverState.OPEN
                self._over = trio.Event()
                self._connects += 1
            else:
                self._state = DriverState.CLOSED
                self._disconnect()
        if closed:
            raise trio.ClosedResourceError(f"{self.name} was closed while it was opened")

    async def receive(self) -> T:
        """Wait for the next message. Cancelled, it has taken nothing: the next call gets it.

        A cancellation point always. It lets other tasks run whenever it has to wait, and after
        64 KiB at the latest.

        Raises:
            ReceiveFailed: This one failed; go on.
            DeviceGone: The device is lost.
            trio.ClosedResourceError: It is not open, or was closed meanwhile.
            trio.BusyResourceError: Another task is receiving.
        """
        if self._state is not DriverState.OPEN:
            self._refuse("receive")
        if self._receiving:
            raise trio.BusyResourceError(f"another task is receiving from {self.name}")
        self._receiving = True
        connection = self._connection
        try:
            message = await self._receive()
        except Exception as error:
            failure = self._failed(error, ReceiveFailed, "receive", connection)
            if failure is error:
                raise
            raise failure from error
        finally:
            self._receiving = False
        self._received += 1
        return message

    async def send(self, message: T, /) -> None:
        """Send a message. A checkpoint; several senders take turns.

        Cancelled, nothing of it was sent; or, if it was in the middle, the driver is broken, which
        the next call says.

        Raises:
            FrameError: The message cannot be sent as it is.
            SendFailed: This one failed; go on.
            DeviceGone: The device is lost.
            TickAbandoned: The tick this belongs to was abandoned.
            trio.ClosedResourceError: It is not open, or was closed meanwhile.
        """
        if self._state is not DriverState.OPEN:
            self._refuse("send")
        connection = self._connection
        try:
            self._send_lock.acquire_nowait()
        except trio.WouldBlock:
            await self._send_lock.acquire()
        try:
            if self._state is not DriverState.OPEN or self._connection != connection:
                raise self._ended("send", connection)
            self._check_fence()
            self._mid_message = False
            try:
                await self._send(message)
            except Exception as error:
                failure = self._failed(error, SendFailed, "send", connection)
                if failure is error:
                    raise
                raise failure from error
            finally:
                if self._mid_message and self._connection == connection:
                    self._break(None)
        finally:
            self._send_lock.release()
        self._sent += 1

    async def attend(self) -> NoReturn:
        """Do what keeps the connection alive while no task receives, until it is over.

        For drivers whose protocol wants it, such as `MqttClient`; with others it only waits. A
        `DriverNode` that does not publish does it. It never returns: cancel it.

        Raises:
            DeviceGone: The device is lost.
            trio.ClosedResourceError: It is not open, or was closed meanwhile.
        """
        if self._state is not DriverState.OPEN:
            self._refuse("attend")
        connection = self._connection
        try:
            await self._attend()
        except Exception as error:
            failure = self._failed(error, ReceiveFailed, "attend", connection)
            if failure is error:
                raise
            raise failure from error

    async def aclose(self) -> None:
        """Disconnect, from every state, and end every call that waits. A checkpoint, idempotent.

        An `open` under way has come to its end when this returns. Cancelled it closes all the same,
        and then raises `trio.Cancelled`.
        """
        if self._state is not DriverState.CLOSED:
            self._state = DriverState.CLOSED
            self._broken_by = None
            self._over.set()
            if self._opening is not None:
                self._opening.cancel()  # it disconnects
            else:
                self._disconnect()
        if self._opening is not None:
            await self._opened.wait()
        await self._wait_disconnected()

    def statistics(self) -> DriverStatistics:
        """Counters, in every state."""
        return DriverStatistics(
            state=self._state,
            connects=self._connects,
            received=self._received,
            sent=self._sent,
            failures=self._failures,
            last_error=self._last_error,
        )

    # For authors to define

    @abc.abstractmethod
    async def _connect(self) -> None:
        """Open the device. If it raises or is cancelled, `_disconnect` follows."""

    @abc.abstractmethod
    async def _receive(self) -> T:
        """The next message. Never by two tasks at once. A checkpoint.

        Take nothing from the device before the last await, or keep what was taken for next time.
        """

    @abc.abstractmethod
    async def _send(self, message: T) -> None:
        """Send a message. Never by two tasks at once. A checkpoint.

        While a part of it is out and the rest is not, `_mid_message` is to be True.
        """

    @abc.abstractmethod
    def _disconnect(self) -> None:
        """Close what `_connect` has opened, however far it came; wake who waits. Must not raise.

        It may be called when there is nothing to close, and twice.

        What waits in `_receive` or `_send` is to get `trio.ClosedResourceError`:
        `trio.lowlevel.notify_closing` does that, and so does closing a Trio stream or channel.
        """

    async def _attend(self) -> NoReturn:
        """Keep the connection alive, beside `_receive` and `_send`, until it ends. A checkpoint."""
        await self._over.wait()
        raise trio.ClosedResourceError(f"the connection of {self.name} is over")

    async def _wait_disconnected(self) -> None:
        """What takes time after `_disconnect`, such as the end of a process. A checkpoint."""
        await trio.lowlevel.checkpoint()

    # For authors to call

    def _check_fence(self) -> None:
        """Raise `TickAbandoned` in a tick that was given up; again after every wait."""
        fence = current_fence.get()
        if fence is not None and fence.closed:
            fence.refuse()

    # What errors become

    def _refuse(self, verb: str) -> NoReturn:
        if self._state is DriverState.BROKEN:
            raise self._is_broken() from self._broken_by
        what, remedy = "is not open", ": `async with` it, or `await open()` first"
        if self._state is DriverState.OPENING:
            what, remedy = "is not open yet", ": wait until open() has returned"
        elif self._state is DriverState.CLOSED:
            what = "is closed"
        raise trio.ClosedResourceError(f"{verb}(): {self.name} {what}{remedy}")

    def _is_broken(self) -> DeviceGone:
        error = self._broken_by
        if error is None:
            return SendInterrupted(
                f"{self.name} is broken: a send ended in the middle of a message; "
                "aclose() and open() it"
            )
        return DeviceGone(f"{self.name} is broken: {_text(error)}; aclose() and open() it")

    def _ended(self, verb: str, connection: int) -> Exception:
        """What to raise in a call whose connection has ended meanwhile."""
        if self._state is DriverState.BROKEN and self._connection == connection:
            return self._is_broken()
        return trio.ClosedResourceError(f"{self.name} was closed during this {verb}()")

    def _not_opened(self, error: Exception) -> Exception:
        """What to raise for what `_connect` has raised."""
        if self._state is DriverState.CLOSED:
            return trio.ClosedResourceError(f"{self.name} was closed while it was opened")
        if isinstance(error, DriverError):
            self._note(error)
            return error
        if isinstance(error, (OSError, trio.BrokenResourceError, trio.EndOfChannel)):
            failure = ConnectFailed(f"{self.name} cannot be opened: {_text(error)}")
            self._note(failure)
            return failure
        return error

    def _failed(
        self,
        error: Exception,
        kind: type[ReceiveFailed | SendFailed],
        verb: str,
        connection: int,
    ) -> Exception:
        """What to raise for what `_receive` or `_send` has raised."""
        if self._state is not DriverState.OPEN or self._connection != connection:
            return self._ended(verb, connection)
        if isinstance(error, DeviceGone):
            self._break(error)
            return error
        of_system = isinstance(error, OSError) and not isinstance(error, DriverError)
        # Half a message is out, and an error that would pass else has ended the rest of it.
        cut = kind is SendFailed and self._mid_message
        if isinstance(error, (trio.BrokenResourceError, trio.EndOfChannel)) or (
            of_system and (cut or getattr(error, "errno", None) in GONE)
        ):
            gone = DeviceGone(f"{self.name} is gone: {_text(error)}")
            self._break(gone)
            return gone
        if of_system:
            failure = kind(f"{verb}() of {self.name} failed: {_text(error)}")
            self._note(failure)
            return failure
        if isinstance(error, DriverError) and not isinstance(error, FrameError):
            self._note(error)
        return error

    def _break(self, error: BaseException | None) -> None:
        """The connection is of no use; None: because a send was interrupted."""
        if self._state is DriverState.OPEN:
            self._state = DriverState.BROKEN
            self._broken_by = error
            self._over.set()
            if error is not None:
                self._note(error)
            self._disconnect()

    def _note(self, error: BaseException) -> None:
        self._failures += 1
        self._last_error = _text(error)


def _text(error: BaseException) -> str:
    """An error in a line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
