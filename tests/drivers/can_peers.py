"""The other ends of CAN buses: an slcan adapter on a pty, and buses of python-can's."""

from __future__ import annotations

import collections
import contextlib
import os
import pty
import tty
from collections.abc import AsyncIterator
from typing import Any

import can
import trio
from drivers.peers import SOON as PAUSE
from drivers.steps import SOON

from horus_trio.drivers import CanBus, CanFrame
from horus_trio.drivers.can.slcan import SlcanDecoder, encode

__all__ = [
    "FRAME",
    "OTHERS",
    "SlcanAdapter",
    "VirtualPeer",
    "exchange",
    "make_slcan",
    "make_virtual",
    "new_bus",
    "numbered",
    "open_bus",
    "open_slcan_adapter",
    "open_virtual_peer",
]

DONE, REFUSED = b"\r", b"\a"


FRAME = CanFrame(id=0x123, data=b"hello")

OTHERS = (
    CanFrame(id=0x18FF50E5, data=bytes(range(8)), is_extended=True),
    CanFrame(id=0x7FF),
    CanFrame(id=5, is_remote=True, remote_length=3),
)


class SlcanAdapter:
    """Holds the master of a pty, and speaks as Lawicel's adapters do; and the bus behind it.

    Attributes:
        path: Of the port.
        commands: What it was told, frames apart.
        is_open: Whether it is on its bus.
        flags: Of its status.
        is_off: Whether its controller is off the bus: it refuses frames until it is opened anew.
        refuses: Commands that it refuses, by their first letter.
        ignores: Commands that it does and does not answer, by their first letter.
        delay: Seconds that its answers take.
    """

    def __init__(self, master: int, path: str) -> None:
        self.master = trio.lowlevel.FdStream(master)
        self.path = path
        self.commands: list[bytes] = []
        self.is_open = False
        self.flags = 0
        self.is_off = False
        self.refuses = b""
        self.ignores = b""
        self.delay = 0.0
        self._frames: collections.deque[CanFrame] = collections.deque()
        self._news = trio.lowlevel.ParkingLot()
        self._may_read = trio.Event()
        self._may_read.set()
        self._gone = False
        self._scope = trio.CancelScope()
        self._turn = trio.Lock()
        self._is_mid_line = False

    async def receive(self) -> CanFrame:
        """The next frame on the bus."""
        while not self._frames:
            self._look()
            await self._news.park()
        return self._frames.popleft()

    async def send(self, frame: CanFrame, /) -> None:
        """Another device sends a frame."""
        await self.write(encode(frame))

    async def write(self, data: bytes, /) -> None:
        """Put bytes on the line. Its own answers wait for the end of what they have begun."""
        self._look()
        async with self._turn:
            self._is_mid_line = not data.endswith((DONE, REFUSED))
            await self.master.send_all(data)
        if not self._is_mid_line:
            self._news.unpark_all()

    async def vanish(self) -> None:
        """Be unplugged, for good."""
        self._gone = True
        self._scope.cancel()
        self._news.unpark_all()
        self.master.close()
        await trio.lowlevel.checkpoint()

    def pause_reading(self) -> None:
        """Take nothing from the line any more."""
        self._may_read = trio.Event()

    def resume_reading(self) -> None:
        """Go on."""
        self._may_read.set()

    def go_off(self) -> None:
        """Its controller leaves the bus."""
        self.is_off = True
        self.flags = 0xA4

    async def run(self) -> None:
        """Do what it is told, by one driver after the other."""
        rest = b""
        with self._scope:
            while True:
                await self._may_read.wait()
                try:
                    data = await self.master.receive_some(65536)
                except trio.BrokenResourceError:  # EIO: nobody has opened the port
                    rest = b""
                    await trio.sleep(PAUSE)
                    continue
                except trio.ClosedResourceError:
                    return
                *lines, rest = (rest + data).split(b"\r")
                answers = [(line, self._do(line)) for line in lines]
                answer = b"".join(
                    answer for line, answer in answers if not line or line[:1] not in self.ignores
                )
                self._news.unpark_all()
                if answer:
                    await self._answer(answer)

    async def _answer(self, answer: bytes) -> None:
        await trio.sleep(self.delay)
        while self._is_mid_line:
            await self._news.park()
        try:
            await self.write(answer)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    def _do(self, line: bytes) -> bytes:
        """What it answers."""
        letter = line[:1]
        if letter.lower() in (b"t", b"r", b"d", b"b") and letter:
            return self._send(line)
        if not line:
            return b"" if b"C" in self.ignores else REFUSED
        self.commands.append(line)
        if letter in self.refuses:
            return REFUSED
        if letter == b"F":
            return b"F%02X\r" % self.flags
        if letter == b"V":
            return b"V1013\r"
        if letter in (b"O", b"L"):
            self.is_open, self.is_off, self.flags = True, False, 0
        elif letter == b"C":
            was_open, self.is_open = self.is_open, False
            return DONE if was_open else REFUSED
        elif letter not in (b"S", b"Y"):
            return REFUSED
        return DONE

    def _send(self, line: bytes) -> bytes:
        items = SlcanDecoder().feed(line + b"\r", 0.0)
        if not self.is_open or self.is_off or len(items) != 1 or line[:1] in self.refuses:
            return REFUSED
        [frame] = items
        if not isinstance(frame, CanFrame):
            return REFUSED
        self._frames.append(frame)
        return b"z\r"

    def _look(self) -> None:
        if self._gone:
            raise trio.BrokenResourceError("this adapter has vanished")


@contextlib.asynccontextmanager
async def open_slcan_adapter() -> AsyncIterator[SlcanAdapter]:
    """For a `make_slcan(adapter)`."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    adapter = SlcanAdapter(master, path)
    async with adapter.master, trio.open_nursery() as nursery:
        nursery.start_soon(adapter.run)
        yield adapter
        nursery.cancel_scope.cancel()


def make_slcan(adapter: SlcanAdapter, **arguments: Any) -> CanBus:
    """A driver for an adapter."""
    return CanBus(adapter.path, **arguments)


def numbered(number: int) -> CanFrame:
    """One of many."""
    if number % 3:
        return CanFrame(id=number % 0x800, data=number.to_bytes(4, "big"))
    return CanFrame(id=number, data=number.to_bytes(8, "big"), is_extended=True)


async def exchange(driver: CanBus, adapter: SlcanAdapter) -> None:
    """A frame there and one back."""
    with trio.fail_after(SOON):
        await driver.send(FRAME)
        assert await adapter.receive() == FRAME
        await adapter.send(OTHERS[0])
        assert await driver.receive() == OTHERS[0]


@contextlib.asynccontextmanager
async def new_bus(**arguments: Any) -> AsyncIterator[tuple[CanBus, SlcanAdapter]]:
    async with open_slcan_adapter() as adapter:
        driver = make_slcan(adapter, **arguments)
        try:
            yield driver, adapter
        finally:
            with trio.CancelScope(shield=True):
                await driver.aclose()


@contextlib.asynccontextmanager
async def open_bus(**arguments: Any) -> AsyncIterator[tuple[CanBus, SlcanAdapter]]:
    async with new_bus(**arguments) as (driver, adapter):
        with trio.fail_after(SOON):
            await driver.open()
        yield driver, adapter


class VirtualPeer:
    """Another device on a virtual bus of python-can's, which lives in this process alone."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.bus = can.Bus(channel=channel, interface="virtual", ignore_config=True)

    async def receive(self) -> CanFrame:
        while (message := self.bus.recv(0)) is None:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(PAUSE)
        await trio.lowlevel.checkpoint()
        return CanFrame(
            id=message.arbitration_id,
            data=bytes(message.data),
            is_extended=message.is_extended_id,
        )

    async def send(self, frame: CanFrame, /) -> None:
        self.bus.send(
            can.Message(arbitration_id=frame.id, data=frame.data, is_extended_id=frame.is_extended)
        )
        await trio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def open_virtual_peer() -> AsyncIterator[VirtualPeer]:
    """For a `make_virtual(peer)`."""
    peer = VirtualPeer(f"bus {id(object())}")
    with peer.bus:
        yield peer
        await trio.lowlevel.checkpoint()


def make_virtual(peer: VirtualPeer, **arguments: Any) -> CanBus:
    """A driver for a virtual bus."""
    return CanBus(peer.channel, interface="virtual", **arguments)
