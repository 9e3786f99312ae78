"""`CanBus`: a CAN bus as a driver, whatever interface leads to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import trio

from ...arguments import is_whole
from ...errors import ConfigurationError
from ..driver import Driver, DriverStatistics
from ..errors import FrameError
from .frame import CanFilter, CanFrame
from .inbox import Inbox
from .library import PYSERIAL, PYTHON_CAN
from .link import CanSettings, Link
from .slcan_link import SlcanLink
from .slcan_options import SlcanOptions
from .socket_link import SocketLink
from .state import CanBusState, CanStatistics
from .thread_link import ThreadLink

__all__ = ["CanBus"]

LINKS: dict[str, type[Link]] = {"slcan": SlcanLink, "socketcan": SocketLink}
"""Interfaces with a descriptor to wait for. The others have a thread."""


class CanBus(Driver[CanFrame]):
    """A CAN bus. Needs the extra ``can``.

    ::

        async with CanBus("can0", interface="socketcan") as bus:
            await bus.send(CanFrame(id=0x123, data=b"\\x01"))
            print(await bus.receive())

    ``slcan`` is a serial adapter; ``socketcan`` an interface of the Linux kernel, which was set up
    with ``ip link``. Both are waited for at their descriptors. All others that python-can knows,
    such as ``pcan``, ``kvaser`` and ``virtual``, are read in a thread, and written to by calls in
    another one.

    When the controller goes *bus off*, because too many of its frames were faulty, `receive` gives
    out what came before; then it and `send` raise `DeviceGone`. Opening it again resets the
    controller of an slcan adapter; that of SocketCAN is reset by the kernel, if it was told to with
    ``restart-ms``.

    A cancelled `send` over slcan may break the driver if the line was full. A frame that has gone
    to the adapter, and that it then refuses, is counted in ``statistics().refused``.

    Arguments:
        channel: Where the bus is: the path of a serial port, ``"can0"``, or what python-can takes
            for that interface.
        interface: What leads there, as python-can calls it.
        bitrate: Bits a second; None: whatever the interface is set to. The kernel's interfaces are
            set with ``ip link``, and take none here.
        filters: Which frames are wanted; empty: all. They are applied by the kernel or by the
            hardware if that can be, and in any case here. Error frames pass always.
        receive_own: Whether frames that are sent come in, too. Not with slcan.
        error_frames: Whether error frames are given out, if the interface has any. They are counted
            in any case.
        fd: Whether CAN FD is to be used.
        options: What else the interface has: for slcan those of `SlcanOptions`, for others the
            keywords of python-can's class.

    Raises:
        ConfigurationError: An argument makes no sense.
        MissingExtra: python-can is not installed; for slcan, pyserial.
    """

    def __init__(
        self,
        channel: str | int | os.PathLike[str],
        *,
        interface: str = "slcan",
        bitrate: int | None = 500_000,
        filters: Iterable[CanFilter] = (),
        receive_own: bool = False,
        error_frames: bool = False,
        fd: bool = False,
        options: Mapping[str, Any] | SlcanOptions | None = None,
    ) -> None:
        super().__init__()
        if isinstance(channel, os.PathLike):
            channel = os.fspath(channel)
        if isinstance(channel, bool) or not isinstance(channel, (str, int)) or channel == "":
            raise ConfigurationError(
                f'CanBus({channel!r:.80}): expected a channel, such as "/dev/ttyACM0" or "can0"'
            )
        if not isinstance(interface, str) or not interface:
            raise ConfigurationError(
                f"CanBus(interface={interface!r:.80}): expected the name of one of python-can's "
                'interfaces, such as "slcan" or "socketcan"'
            )
        if bitrate is not None and not is_whole(bitrate, 1):
            raise ConfigurationError(
                f"CanBus(bitrate={bitrate!r:.80}): expected bits a second, a whole number such as "
                "500_000, or None"
            )
        if isinstance(filters, CanFilter) or not isinstance(filters, Iterable):
            raise ConfigurationError(
                f"CanBus(filters={filters!r:.80}): expected several CanFilter, such as "
                "[CanFilter(id=0x123)]"
            )
        wanted = tuple(filters)
        for one in wanted:
            if not isinstance(one, CanFilter):
                raise ConfigurationError(
                    f"CanBus(filters=[… {one!r:.80} …]): expected a CanFilter, such as "
                    "CanFilter(id=0x123)"
                )
        if not isinstance(options, (Mapping, SlcanOptions, type(None))):
            raise ConfigurationError(
                f"CanBus(options={options!r:.80}): expected a dict, such as "
                '{"tty_baudrate": 1_000_000}'
            )
        if isinstance(options, SlcanOptions) and interface != "slcan":
            raise ConfigurationError(
                f"CanBus(interface={interface!r}, options=SlcanOptions(…)): expected a dict of "
                "what python-can's class for this interface takes"
            )
        needed = PYSERIAL if interface == "slcan" else PYTHON_CAN
        needed.check(type(self).__name__)
        self._channel = channel
        self._inbox = Inbox(wanted, error_frames=bool(error_frames), as_linux=interface in LINKS)
        settings = CanSettings(
            name=f"{type(self).__qualname__} {interface} {channel}",
            channel=channel,
            interface=interface,
            bitrate=bitrate,
            filters=wanted,
            receive_own=bool(receive_own),
            fd=bool(fd),
            options=options if isinstance(options, SlcanOptions) else dict(options or {}),
        )
        self._settings = settings
        self._in_a_row = 0  # frames that were given out without a wait
        self._link: Link = LINKS.get(interface, ThreadLink)(settings, self._inbox)

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def bus_state(self) -> CanBusState:
        """How the controller is, as far as the interface has told; in every state of the driver."""
        return self._inbox.state

    def statistics(self) -> CanStatistics:
        base = super().statistics()
        inbox = self._inbox
        counted: dict[str, Any] = {
            field.name: getattr(base, field.name) for field in fields(DriverStatistics)
        }
        counted.update(
            bytes_received=inbox.bytes_received,
            bytes_sent=inbox.bytes_sent,
            discarded=inbox.discarded,
            rejected=inbox.rejected,
            lost=inbox.lost,
        )
        return CanStatistics(
            **counted,
            bus_state=inbox.state,
            bus_offs=inbox.bus_offs,
            error_frames=inbox.error_frames,
            refused=inbox.refused,
            overruns=inbox.overruns,
            unwanted=inbox.unwanted,
        )

    async def _connect(self) -> None:
        self._inbox.begin()
        await self._link.open()

    async def _receive(self) -> CanFrame:
        frames, link = self._inbox.frames, self._link
        await trio.lowlevel.checkpoint_if_cancelled()
        link.is_received = True
        try:
            if frames and self._in_a_row >= link.at_once:
                self._in_a_row = 0
                await trio.lowlevel.checkpoint()
            while not frames:
                self._in_a_row = 0
                link.raise_if_lost()
                await link.wait()
        finally:
            link.is_received = False
        self._in_a_row += 1
        return frames.popleft()

    async def _send(self, message: CanFrame) -> None:
        if not isinstance(message, CanFrame):
            raise FrameError(
                f"expected a CanFrame, got {type(message).__name__}: {message!r:.80}; such as "
                "CanFrame(id=0x123, data=b'…')"
            )
        if message.is_fd and not self._settings.fd:
            raise FrameError(f"{message!r} is one of CAN FD: CanBus(…, fd=True) sends such")
        link = self._link
        if not link.is_received:
            link.look()
        link.raise_if_lost()
        try:
            await link.send(message, self._check_fence)
        finally:
            self._mid_message = link.mid_frame

    def _disconnect(self) -> None:
        self._link.close()
        self._inbox.frames.clear()

    async def _wait_disconnected(self) -> None:
        await self._link.closed()
