"""`CanBus` over SocketCAN.

There is no CAN in most kernels that tests run on. What python-can does for SocketCAN is tried with
a datagram socket in place of the kernel's: it carries the same frames.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import can
import pytest
import trio
import trio.testing
from can.interfaces.socketcan import socketcan
from drivers.can_peers import FRAME, OTHERS
from drivers.peers import HOST, descriptors
from drivers.steps import SOON, raises_soon

from horus_trio.drivers import (
    CanBus,
    CanBusState,
    CanFilter,
    CanFrame,
    ConnectFailed,
    DeviceGone,
    DriverState,
    FrameError,
    ReceiveFailed,
    SendFailed,
)
from horus_trio.drivers.can import library, socket_link
from horus_trio.testing import cancel_everywhere

EXTENDED = OTHERS[0]


def numbered(number: int) -> CanFrame:
    return CanFrame(id=number % 0x800, data=number.to_bytes(4, "big"))


ERROR = 0x20000000


class Wires:
    """What stands for the kernel's CAN: datagrams between two sockets, and its interfaces."""

    def __init__(self, network: Path) -> None:
        self.network = network
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((HOST, 0))
        self.peer.setblocking(False)
        self.opened: list[socket.socket] = []

    def create(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.opened.append(made)
        return made

    def bind(self, made: socket.socket, channel: str = "") -> None:
        made.bind((HOST, 0))
        made.connect(self.peer.getsockname())

    def add(self, name: str, kind: str = "280", flags: str = "0x40081") -> None:
        """The kernel has an interface."""
        folder = self.network / name
        folder.mkdir()
        (folder / "type").write_text(kind + "\n")
        (folder / "flags").write_text(flags + "\n")

    def send(self, frame: CanFrame) -> None:
        """It comes over the bus."""
        number = frame.id | 0x80000000 * frame.is_extended | ERROR * frame.is_error
        data = struct.pack("=IB3x8s", number, len(frame.data), frame.data)
        for made in self.opened:
            with contextlib.suppress(OSError):  # some are closed, or still opened for nobody
                self.peer.sendto(data, made.getsockname())

    async def receive(self) -> tuple[int, bytes]:
        """The identifier and the data of what was sent."""
        with trio.fail_after(SOON):
            await trio.lowlevel.wait_readable(self.peer)
        number, length, data = struct.unpack("=IB3x8s", self.peer.recv(100))
        return number, data[:length]


@pytest.fixture
def wires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wires]:
    wires = Wires(tmp_path)
    wires.add("can0")
    monkeypatch.setattr(library, "NETWORK", tmp_path)
    monkeypatch.setattr(socketcan, "create_socket", wires.create)
    monkeypatch.setattr(socketcan, "bind_socket", wires.bind)
    yield wires
    wires.peer.close()


async def test_over_socketcan_frames_go_both_ways(wires: Wires) -> None:
    async with CanBus("can0", interface="socketcan") as driver:
        for number in range(100):
            await driver.send(numbered(number))
            assert await wires.receive() == (number, number.to_bytes(4, "big"))
            wires.send(EXTENDED)
            came = await driver.receive()
            assert came == EXTENDED
            assert came.channel == "can0"
            assert trio.current_time() - 1 < came.timestamp <= trio.current_time()
        assert threading.active_count() < 10


async def test_over_socketcan_a_receive_can_be_cancelled(wires: Wires) -> None:
    async with CanBus("can0", interface="socketcan") as driver:
        for number in range(100):
            if number % 2:
                wires.send(numbered(number))
            with trio.CancelScope() as scope:
                scope.cancel()
                await driver.receive()
            if not number % 2:
                wires.send(numbered(number))
            assert await driver.receive() == numbered(number)


async def test_over_socketcan_it_closes_and_leaves_nothing(wires: Wires) -> None:
    driver = CanBus("can0", interface="socketcan")
    await driver.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises_soon, trio.ClosedResourceError, driver.receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await driver.aclose()
    before = descriptors()
    for _ in range(50):
        await driver.open()
        await driver.aclose()
    assert descriptors() <= before


async def test_over_socketcan_open_can_be_cancelled_anywhere(wires: Wires) -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[CanBus]:
        driver = CanBus("can0", interface="socketcan")
        try:
            yield driver
        finally:
            with trio.CancelScope(shield=True):
                await driver.aclose()

    async def works(driver: CanBus) -> bool:
        wires.send(FRAME)
        with trio.fail_after(SOON):
            return await driver.receive() == FRAME

    await cancel_everywhere(new, lambda driver: driver.open(), observe=works)


async def test_over_socketcan_error_frames_tell_the_state(wires: Wires) -> None:
    passive = CanFrame(id=0x04, data=b"\0\x30" + bytes(6), is_error=True)
    off = CanFrame(id=0x40, data=bytes(8), is_error=True)
    async with CanBus("can0", interface="socketcan", error_frames=True) as driver:
        wires.send(passive)
        assert await driver.receive() == passive
        assert driver.bus_state is CanBusState.PASSIVE
        wires.send(FRAME)
        wires.send(off)
        assert await driver.receive() == FRAME
        assert await driver.receive() == off
        error = await raises_soon(DeviceGone, driver.receive)
        assert "the controller is off the bus" in str(error)
    counted = driver.statistics()
    assert (counted.error_frames, counted.bus_offs) == (2, 1)
    assert counted.bus_state is CanBusState.BUS_OFF
    async with driver:
        assert driver.statistics().bus_state is CanBusState.UNKNOWN


class Full:
    """A socket whose queue is full for a while."""

    def __init__(self, inner: socket.socket, times: int, code: int) -> None:
        self.inner = inner
        self.times = times
        self.code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def send(self, data: bytes) -> int:
        if self.times:
            self.times -= 1
            raise OSError(self.code, os.strerror(self.code))
        return self.inner.send(data)


def fill(driver: CanBus, times: int, code: int = errno.ENOBUFS) -> None:
    link: Any = driver._link
    link._bus.socket = Full(link._bus.socket, times, code)


async def test_over_socketcan_a_queue_that_is_full_is_waited_for(wires: Wires) -> None:
    async with CanBus("can0", interface="socketcan") as driver:
        fill(driver, 5)
        await driver.send(FRAME)
        assert await wires.receive() == (0x123, b"hello")
        fill(driver, 10**9)
        with trio.move_on_after(0.05) as scope:
            await driver.send(FRAME)
        assert scope.cancelled_caught
        assert driver.state is DriverState.OPEN  # nothing of it is out


async def test_over_socketcan_who_only_sends_gets_to_know_that_it_is_off_the_bus(
    wires: Wires,
) -> None:
    async with CanBus("can0", interface="socketcan") as driver:
        fill(driver, 10**9)
        wires.send(CanFrame(id=0x40, data=bytes(8), is_error=True))
        error = await raises_soon(DeviceGone, lambda: driver.send(FRAME))
        assert "off the bus" in str(error)


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (errno.ENETDOWN, DeviceGone, "the interface was taken down"),
        (errno.ENODEV, DeviceGone, "is gone: No such device"),
        (errno.EINVAL, FrameError, "frames of CAN FD need fd=True"),
        (errno.EPERM, SendFailed, "Operation not permitted"),
    ],
)
async def test_over_socketcan_what_the_kernel_says(
    wires: Wires, code: int, kind: type[Exception], said: str
) -> None:
    async with CanBus("can0", interface="socketcan") as driver:
        fill(driver, 1, code)
        error = await raises_soon(kind, lambda: driver.send(FRAME))
        assert said in str(error)


async def test_over_socketcan_an_interface_that_goes_down(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise can.CanOperationError("Error receiving: Network is down", errno.ENETDOWN)

    async with CanBus("can0", interface="socketcan") as driver:
        wires.send(FRAME)
        assert await driver.receive() == FRAME
        monkeypatch.setattr(socketcan, "capture_message", down)
        wires.send(FRAME)
        error = await raises_soon(DeviceGone, driver.receive)
        assert "the interface was taken down" in str(error)


async def test_over_socketcan_a_read_that_fails_is_told_once(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = socketcan.capture_message

    def fail(*_: object) -> None:
        monkeypatch.setattr(socketcan, "capture_message", capture)
        raise can.CanOperationError("Error receiving: Cannot allocate memory", errno.ENOMEM)

    async with CanBus("can0", interface="socketcan") as driver:
        monkeypatch.setattr(socketcan, "capture_message", fail)
        wires.send(FRAME)
        error = await raises_soon(ReceiveFailed, driver.receive)
        assert "Cannot allocate memory" in str(error)
        with trio.fail_after(SOON):
            assert await driver.receive() == FRAME


async def test_over_socketcan_filters_choose(wires: Wires) -> None:
    """The socket that stands for the kernel has none, so that they are applied here."""
    filters = [CanFilter(id=0x100, mask=0x700)]
    async with CanBus("can0", interface="socketcan", filters=filters) as driver:
        for number in (0x200, 0x101, 0x301, 0x1FF):
            wires.send(numbered(number))
        with trio.fail_after(SOON):
            assert [(await driver.receive()).id for _ in range(2)] == [0x101, 0x1FF]


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ("can7", "there is no such CAN interface: .*; there are can0, can1"),
        ("lo", "lo is a network interface, and not one of CAN; those that are: can0, can1"),
        ("can1", "the interface is down: sudo ip link set can1 up type can bitrate 250000"),
    ],
)
async def test_over_socketcan_a_channel_that_is_none(wires: Wires, channel: str, said: str) -> None:
    wires.add("can1", flags="0x40080")
    wires.add("lo", kind="772")
    driver = CanBus(channel, interface="socketcan", bitrate=250_000)
    with pytest.raises(ConnectFailed, match=said):
        await driver.open()
    assert wires.opened == []


async def test_a_kernel_without_can(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socketcan, "create_socket", refuse)
    error = await raises_soon(ConnectFailed, CanBus("can0", interface="socketcan").open)
    assert "this kernel has no CAN: sudo modprobe can_raw" in str(error)


async def test_more_files_than_python_can_can_wait_for(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_link, "SELECTABLE", 3)
    error = await raises_soon(ConnectFailed, CanBus("can0", interface="socketcan").open)
    assert "this process has 3 files open or more" in str(error)
    assert wires.opened[0].fileno() == -1
