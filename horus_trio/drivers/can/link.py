"""The way to a bus, of which `CanBus` has one: what differs between interfaces."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import trio

from ..errors import DeviceGone
from .frame import CanFilter, CanFrame
from .inbox import Inbox
from .slcan_options import SlcanOptions
from .state import CanBusState

__all__ = ["CanSettings", "Link"]

OFF_THE_BUS = (
    "the controller is off the bus, since too many of its frames were faulty: see to the wiring, "
    "the termination and the bit rate; aclose() and open() have it try again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanSettings:
    """What a link is to be: the arguments of `CanBus`, checked.

    Attributes:
        name: What the driver is called in messages.
    """

    name: str
    channel: str | int
    interface: str
    bitrate: int | None
    filters: tuple[CanFilter, ...]
    receive_own: bool
    fd: bool
    options: Mapping[str, Any] | SlcanOptions


class Link(abc.ABC):
    """A way to a bus. It is opened and closed as often as its driver.

    Attributes:
        at_once: Frames that are given out before others may run.
        mid_frame: Whether the latest `send` has ended in the middle of a frame.
        failure: What went wrong with the connection, to be told once all that came before has been
            received.
        is_received: Whether a task is in `wait`, so that nobody else needs to look.
    """

    at_once: ClassVar[int] = 256

    def __init__(self, settings: CanSettings, inbox: Inbox) -> None:
        self.settings = settings
        self.inbox = inbox
        self.mid_frame: bool = False
        self.failure: Exception | None = None
        self.is_received: bool = False

    @abc.abstractmethod
    async def open(self) -> None:
        """Connect. A checkpoint; if it raises or is cancelled, `close` follows."""

    @abc.abstractmethod
    async def wait(self) -> None:
        """Wait until something may have come, and put it into the inbox. A checkpoint.

        Cancelled, it has taken nothing that is not in the inbox.
        """

    @abc.abstractmethod
    def look(self) -> None:
        """Put what has come into the inbox."""

    @abc.abstractmethod
    async def send(self, frame: CanFrame, check_fence: Callable[[], None]) -> None:
        """Send a frame. A checkpoint. It has set `mid_frame` when it ends.

        Arguments:
            check_fence: To be called after each wait before anything of the frame is out.
        """

    def raise_if_lost(self) -> None:
        """Raise what went wrong with the connection, once; or that the controller is off the bus.

        Raises:
            DeviceGone: It is of no use any more.
            OSError: This one read has failed.
        """
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        if self.inbox.state is CanBusState.BUS_OFF:
            raise DeviceGone(f"{self.settings.name} is gone: {OFF_THE_BUS}")

    @abc.abstractmethod
    def close(self) -> None:
        """Disconnect, however far `open` came; who waits gets `trio.ClosedResourceError`."""

    async def closed(self) -> None:
        """Wait for what takes time after `close`. A checkpoint."""
        await trio.lowlevel.checkpoint()
