"""A bus that can only be waited for by blocking: python-can's, in a thread of its own.

The thread opens the bus, reads it, and closes it. Each frame that is sent has a call in another
one. A call that never returns is left behind, and with it the thread.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import outcome
import trio

from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, FrameError, SendFailed
from .frame import CanFrame
from .inbox import Inbox
from .library import LibraryBus, open_bus, to_frame, to_message
from .link import CanSettings, Link
from .state import CanBusState

__all__ = ["ThreadLink"]

READ = 0.05
"""Seconds for which the library waits for a frame at once."""

HANGS = 3.0
"""Seconds after which a call that should have returned counts as hung."""

GRACE = 0.2
"""Seconds in which a thread that does not hang has its turn."""

END = 1.0
"""Seconds that the thread has to close the bus."""

MOST = 16384
"""Frames that wait for the loop."""

AT_ONCE = 1024
"""Frames that are taken over before others may run."""

MOST_LEFT = 4
"""Threads that may be left behind."""

STATES = {
    "ACTIVE": CanBusState.ACTIVE,
    "PASSIVE": CanBusState.PASSIVE,
    "ERROR": CanBusState.BUS_OFF,
}
"""What python-can's states are."""


class Reader:
    """A thread that has a bus, from now on until `stop`.

    Arguments:
        settings: Of the bus.
        deliver: Called on the loop when something has come.
    """

    def __init__(self, settings: CanSettings, deliver: Callable[[], object]) -> None:
        self.settings = settings
        self.can: Any = None
        self.bus: LibraryBus | None = None
        self.opened: trio.Event = trio.Event()
        self.ended: trio.Event = trio.Event()
        self.error: Exception | None = None
        self.state: CanBusState = CanBusState.UNKNOWN
        self._lost = 0
        self.alive_at: float = time.perf_counter()
        self._deliver = deliver
        self._lock = threading.Lock()
        self._box: collections.deque[tuple[Any, float]] = collections.deque()
        self._is_told = False
        self._is_stopped = False
        self._is_over = False
        self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.start_thread_soon(self._run, self._end, f"reads {settings.name}")

    @property
    def is_over(self) -> bool:
        """Whether the thread is through."""
        return self._is_over

    def stop(self) -> None:
        """Have it close the bus and end, as soon as it can."""
        self._is_stopped = True

    def take(self) -> tuple[list[tuple[Any, float]], int]:
        """Messages that have come, and how many seconds ago; how many were lost. On the loop."""
        with self._lock:
            box = self._box
            came = [box.popleft() for _ in range(min(len(box), AT_ONCE))]
            self._is_told = bool(box)
            lost, self._lost = self._lost, 0
        if self._is_told:
            self._soon(self._deliver)
        now = time.perf_counter()
        return [(message, max(0.0, now - instant)) for message, instant in came], lost

    # In the thread

    def _run(self) -> None:
        try:
            self.can, bus = open_bus(self.settings)
        except Exception as error:  # noqa: BLE001 - `ThreadLink.open` raises it
            self.error = error
            self._soon(self.opened.set)
            return
        try:
            self.bus = bus
            self._soon(self.opened.set)
            tells = getattr(type(bus), "state", None) is not self.can.BusABC.state
            while not self._is_stopped:
                self.alive_at = time.perf_counter()
                message = bus.recv(READ)
                if message is not None:
                    self._put(message)
                elif tells:
                    self._look_at_state(bus)
        except Exception as error:  # noqa: BLE001 - `ThreadLink.wait` raises what it means
            self.error = error
        finally:
            self.bus = None
            # Of a device that is lost it may fail, and there is nothing more to be done.
            with contextlib.suppress(Exception):
                bus.shutdown()
            self._soon(self._deliver)

    def _put(self, message: Any) -> None:
        with self._lock:
            if len(self._box) >= MOST:
                self._box.popleft()
                self._lost += 1
            self._box.append((message, time.perf_counter()))
            is_told, self._is_told = self._is_told, True
        if not is_told:
            self._soon(self._deliver)

    def _look_at_state(self, bus: LibraryBus) -> None:
        try:
            state = STATES.get(getattr(bus.state, "name", ""), CanBusState.UNKNOWN)
        except (self.can.CanError, NotImplementedError, OSError):
            state = CanBusState.UNKNOWN
        if state is not self.state:
            self.state = state
            self._soon(self._deliver)

    def _end(self, came: outcome.Outcome[None]) -> None:
        self._is_over = True
        if isinstance(came, outcome.Error) and isinstance(came.error, Exception):
            self.error = self.error or came.error
        self._soon(self.ended.set)

    def _soon(self, function: Callable[[], object]) -> None:
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:  # nobody has closed it, and nobody will
            self._is_stopped = True

    async def has_ended(self) -> bool:
        """Wait a while for its end: whether it has come. A checkpoint."""
        if self._token is not trio.lowlevel.current_trio_token():  # of a run that is over
            await trio.lowlevel.checkpoint()
            return self._is_over
        with trio.move_on_after(END):
            await self.ended.wait()
        return self._is_over


class ThreadLink(Link):
    """A bus with a thread."""

    mid_frame: bool
    failure: Exception | None

    # Frames come by themselves, so that there would never be a wait.
    at_once: ClassVar[int] = 0

    def __init__(self, settings: CanSettings, inbox: Inbox) -> None:
        super().__init__(settings, inbox)
        self._reader: Reader | None = None
        self._closing: Reader | None = None
        self._left: list[Reader | Errand[None]] = []
        self._news = trio.Event()
        self._channel = str(settings.channel)

    @property
    def left(self) -> int:
        """Threads that were left behind and have not returned."""
        self._left = [one for one in self._left if not one.is_over]
        return len(self._left)

    async def open(self) -> None:
        await self.closed()
        if self.left >= MOST_LEFT:
            raise ConnectFailed(
                f"{self.settings.name} cannot be opened: {self.left} calls of python-can hang, "
                "each in a thread that was left behind; see to the device, and begin the program "
                "anew"
            )
        self.mid_frame, self.failure = False, None
        self._news = trio.Event()
        reader = self._reader = Reader(self.settings, self._deliver)
        await reader.opened.wait()
        if reader.error is not None:
            raise reader.error

    async def wait(self) -> None:
        news, reader = self._news, self._plugged()
        with trio.move_on_after(HANGS):
            await news.wait()
            return
        seen = reader.alive_at
        if time.perf_counter() - seen <= HANGS:
            return
        # The whole process may have been stopped: then the thread has its turn now.
        await trio.sleep(GRACE)
        silence = time.perf_counter() - seen
        if reader.alive_at == seen and not reader.is_over:
            self.failure = DeviceGone(
                f"{self.settings.name} is gone: a read of python-can's that was to take {READ:g} s "
                f"has not returned for {silence:.1f} s; its thread is left behind"
            )

    def look(self) -> None:
        """Nothing: it is delivered of itself."""

    def _deliver(self) -> None:
        """On the loop, when something has come, and once more at the end."""
        reader = self._reader
        if reader is None:
            return
        now, inbox = trio.current_time(), self.inbox
        came, lost = reader.take()
        for message, age in came:
            try:
                frame = to_frame(message, now - age, self._channel)
            except FrameError:
                inbox.rejected += 1
            else:
                inbox.put(frame)
        inbox.lost += lost
        if reader.state is not CanBusState.UNKNOWN:
            inbox.tell(reader.state)
        if reader.error is not None and reader.opened.is_set():
            self.failure = DeviceGone(f"{self.settings.name} is gone: {reader.error}")
            self.failure.__cause__ = reader.error
        news, self._news = self._news, trio.Event()
        news.set()

    async def send(self, frame: CanFrame, check_fence: Callable[[], None]) -> None:
        reader = self._plugged()
        bus, can = reader.bus, reader.can
        if bus is None:
            raise DeviceGone(f"{self.settings.name} is gone: {reader.error}") from reader.error
        message = to_message(can, frame)
        await trio.lowlevel.checkpoint_if_cancelled()
        errand = Errand(lambda: bus.send(message, 0), name=f"sends on {self.settings.name}")
        began = time.perf_counter()
        # It is on its way, and is over at once, unless it hangs.
        with trio.CancelScope(shield=True):
            while not errand.is_over:
                with trio.move_on_after(HANGS):
                    await errand.ended()
                    break
                if time.perf_counter() - began <= HANGS:
                    continue
                with trio.move_on_after(GRACE):  # as in `wait`
                    await errand.ended()
                if not errand.is_over:
                    self._left.append(errand)
                    raise DeviceGone(
                        f"{self.settings.name} is gone: a send of python-can's has not returned "
                        f"for {HANGS:g} s; its thread is left behind"
                    )
            try:
                await errand.result()
            except Exception as error:  # the makers' libraries raise what they like
                raise SendFailed(f"{self.settings.name} has not sent {frame!r}: {error}") from error

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            self._closing = reader
        self._news.set()

    async def closed(self) -> None:
        reader = self._closing
        if reader is None:
            await trio.lowlevel.checkpoint()
            return
        over = await reader.has_ended()
        if self._closing is reader:
            self._closing = None
            if not over:
                self._left.append(reader)

    def _plugged(self) -> Reader:
        if self._reader is None:
            raise trio.ClosedResourceError(f"{self.settings.name} is not connected")
        return self._reader
