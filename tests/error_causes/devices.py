"""Causes of the errors of drivers."""

from __future__ import annotations

import contextlib
import runpy
import socket
import sys
from pathlib import Path
from unittest import mock

import trio
from drivers.camera_peers import make_video
from drivers.peers import HOST, free_port, open_tcp_server_peer
from drivers.websocket_peers import open_websocket_peer
from error_causes.table import SOON, causes, on_virtual_time, raised, raised_by
from instrument import Instrument

from horus_trio import drivers

PROGRAMS = Path(__file__).parents[2] / "docs" / "guide" / "programs"

LONG = 2**26
"""Bytes, more than the kernel takes before they are read."""


@causes(drivers.ConnectFailed)
def _(folder: Path) -> BaseException:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        driver = drivers.TcpClient(HOST, port, framing=drivers.Lines())
        return trio.run(raised_by, drivers.ConnectFailed, driver.open)


@causes(drivers.ReceiveFailed)
def _(folder: Path) -> BaseException:
    async def receive() -> drivers.ReceiveFailed:
        async with drivers.Udp(remote=(HOST, free_port(socket.SOCK_DGRAM))) as driver:
            with contextlib.suppress(drivers.SendFailed):
                await driver.send(b"?")
            return await raised_by(drivers.ReceiveFailed, driver.receive)

    return trio.run(receive)


@causes(drivers.SendFailed)
def _(folder: Path) -> BaseException:
    async def send() -> drivers.SendFailed:
        async with drivers.Udp(local=(HOST, 0)) as driver:
            return await raised_by(drivers.SendFailed, lambda: driver.send(b"?"))

    return trio.run(send)


@causes(drivers.DeviceGone)
def _(folder: Path) -> BaseException:
    async def receive() -> drivers.DeviceGone:
        async with (
            open_tcp_server_peer() as peer,
            drivers.TcpClient(HOST, peer.port, framing=drivers.Lines()) as driver,
        ):
            await peer.connected()
            await peer.vanish()
            return await raised_by(drivers.DeviceGone, driver.receive)

    return trio.run(receive)


@causes(drivers.SendInterrupted)
def _(folder: Path) -> BaseException:
    async def send() -> drivers.SendInterrupted:
        async with (
            open_tcp_server_peer() as peer,
            drivers.TcpClient(HOST, peer.port, framing=drivers.Lines(max_frame=LONG)) as driver,
        ):
            await peer.connected()
            peer.pause_reading()
            with trio.fail_after(SOON):
                while driver.state is not drivers.DriverState.BROKEN:  # until its beginning is out
                    with trio.move_on_after(0.1):
                        await driver.send(b"x" * (LONG - 2))
            return await raised_by(drivers.SendInterrupted, lambda: driver.send(b"x"))

    return trio.run(send)


@causes(drivers.FrameError)
def _(folder: Path) -> BaseException:
    return raised(drivers.FrameError, lambda: drivers.Lines().encode(b"one\ntwo"))


@causes(drivers.QueryTimeout)
def _(folder: Path) -> BaseException:
    async def ask() -> drivers.QueryTimeout:
        async with drivers.QueryDriver(Instrument(), reply_within=0.5, retries=2) as query:
            return await raised_by(drivers.QueryTimeout, lambda: query.query(b"*IDN?"))

    return on_virtual_time(ask)


class Bus:
    """A bus whose one device refuses everything."""

    @staticmethod
    async def query(request: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return bytes([17, 0x86, 2])


@causes(drivers.WrongReply)
def _(folder: Path) -> BaseException:
    with mock.patch("trio.run"):  # only its definitions are wanted
        program = runpy.run_path(str(PROGRAMS / "driver_modbus.py"))
    unit = program["ModbusUnit"](Bus(), 17)
    return trio.run(raised_by, drivers.WrongReply, lambda: unit.write(999, 1))


@causes(drivers.MissingExtra)
def _(folder: Path) -> BaseException:
    with mock.patch.dict(sys.modules, {"serial": None}):
        return raised(
            drivers.MissingExtra,
            lambda: drivers.SerialPort("/dev/ttyUSB0", framing=drivers.Lines()),
        )


@causes(drivers.VideoEnded)
def _(folder: Path) -> BaseException:
    async def receive() -> drivers.VideoEnded:
        video = make_video(folder / "lap.avi", frames=3)
        async with drivers.Camera(video, paced=False) as camera:

            async def to_the_end() -> None:
                while True:
                    await camera.receive()

            return await raised_by(drivers.VideoEnded, to_the_end)

    return trio.run(receive)


@causes(drivers.WebSocketClosed)
def _(folder: Path) -> BaseException:
    async def receive() -> drivers.WebSocketClosed:
        async with (
            open_websocket_peer() as peer,
            drivers.WebSocketClient(peer.url) as driver,
            trio.open_nursery() as nursery,
        ):
            websocket = await peer.connected()
            nursery.start_soon(websocket.aclose, 4003, "your token has expired")
            return await raised_by(drivers.WebSocketClosed, driver.receive)

    return trio.run(receive)
