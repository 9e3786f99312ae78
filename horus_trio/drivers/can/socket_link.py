"""A bus of the kernel's, SocketCAN, through python-can: its socket is waited for.

Nothing here may block: the socket is set so, and python-can is asked for what is there, only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import trio

from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, FrameError
from .frame import CanFrame
from .inbox import Inbox
from .library import LibraryBus, open_bus, to_frame, to_message
from .link import CanSettings, Link

__all__ = ["SocketLink"]

AT_ONCE = 64
"""Frames that are taken before others may run."""

SELECTABLE = 1024
"""python-can asks `select.select`, which knows no higher descriptors."""

FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})

PAUSES = 0.001, 0.02
"""Seconds until a queue that is full is tried again: at first, and at most."""


class SocketLink(Link):
    """A bus with a socket."""

    def __init__(self, settings: CanSettings, inbox: Inbox) -> None:
        super().__init__(settings, inbox)
        self._can: Any = None
        self._bus: LibraryBus | None = None
        self._channel = str(settings.channel)

    async def open(self) -> None:
        self.failure = None
        errand = Errand(
            lambda: open_bus(self.settings),
            put_away=lambda opened: opened[1].shutdown(),
            name=f"opens {self.settings.name}",
        )
        self._can, self._bus = await errand.result()
        descriptor = self._bus.fileno()
        if descriptor >= SELECTABLE:
            raise ConnectFailed(
                f"{self.settings.name} cannot be opened: this process has {SELECTABLE} files open "
                "or more, with which python-can cannot wait; open the bus first, or open less"
            )
        os.set_blocking(descriptor, False)

    async def wait(self) -> None:
        await trio.lowlevel.wait_readable(self._plugged().fileno())
        self.look()

    def look(self) -> None:
        bus = self._plugged()
        for _ in range(AT_ONCE):
            try:
                message = bus.recv(timeout=0)
            except self._can.CanError as error:
                if error.error_code not in FULL:
                    self.failure = self._lost(error)
                return
            if message is None:
                return
            try:
                frame = to_frame(message, trio.current_time(), self._channel)
            except FrameError:
                self.inbox.rejected += 1
            else:
                self.inbox.put(frame)

    async def send(self, frame: CanFrame, check_fence: Callable[[], None]) -> None:
        bus = self._plugged()
        message = to_message(self._can, frame)
        await trio.lowlevel.checkpoint_if_cancelled()
        pause, most = PAUSES
        while True:
            try:
                bus.send(message, timeout=0)
            except self._can.CanError as error:
                code = error.error_code
                if code in (errno.EINVAL, errno.EMSGSIZE):
                    raise FrameError(
                        f"{frame!r} cannot be sent: {error}; frames of CAN FD need fd=True, and an "
                        "interface that was set up for them"
                    ) from error
                if code is not None and code not in FULL:
                    raise self._lost(error) from error
            else:
                break
            # That the queue of the interface is full, its socket does not know.
            await trio.sleep(pause)
            pause = min(2 * pause, most)
            check_fence()
            bus = self._plugged()
            if not self.is_received:
                self.look()
                self.raise_if_lost()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _lost(self, error: Any) -> Exception:
        """What an error of python-can's means."""
        code = error.error_code
        if code == errno.ENETDOWN:
            return DeviceGone(
                f"{self.settings.name} is gone: the interface was taken down, or is off the bus"
            )
        if code is None:
            return DeviceGone(f"{self.settings.name} is gone: {error}")
        return OSError(code, os.strerror(code))

    def close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            trio.lowlevel.notify_closing(bus.fileno())
            bus.shutdown()

    def _plugged(self) -> LibraryBus:
        if self._bus is None:
            raise trio.ClosedResourceError(f"{self.settings.name} is not connected")
        return self._bus
