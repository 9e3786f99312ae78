"""The robot's devices: 24 nodes over ptys, sockets, HTTP, WebSockets, files and a program."""

from __future__ import annotations

import os
import socket
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio

import horus_trio as horus
from horus_trio.drivers import (
    DirectoryWatch,
    Driver,
    DriverNode,
    EdgeInput,
    FileEvent,
    FileTail,
    HttpPoller,
    JsonSensor,
    Lines,
    QueryDriver,
    SerialPort,
    Subprocess,
    TcpClient,
    TcpServer,
    Udp,
    WebSocketClient,
)

__all__ = ["Numbered", "devices"]

HOST = "127.0.0.1"

FOR_EVER = horus.Restart(within=None, backoff=0.1, max_backoff=0.5)

PROGRAM = "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); sleep 0.1; done"
"""Ends after ten seconds, and is started again."""


class Numbered(DriverNode):
    """A device that numbers its messages; `missing` says how many did not come.

    What is missing between two connections does not count, nor what such a device drops itself.
    """

    failure_policy = FOR_EVER

    def __init__(self, name: str, driver: Driver[Any]) -> None:
        super().__init__(name, driver, publish=name, stale_after=1.0)
        self.missing: int = 0
        self._last: int | None = None

    async def init(self) -> None:
        self._last = None
        await super().init()

    def decode(self, message: Any) -> int:
        number = int(message)
        if self._last is not None and number != self._last + 1:
            self.missing += 1
        self._last = number
        return number


class AtPort(Numbered):
    """A device that finds us: where we listen is written down for it."""

    def __init__(self, name: str, driver: TcpServer | Udp, folder: Path) -> None:
        super().__init__(name, driver)
        self._at = driver
        self._file = folder / f"{name}.port"

    async def init(self) -> None:
        await super().init()
        new = self._file.with_suffix(".new")
        new.write_text(str(self._at.address[1]))
        new.rename(self._file)


class Datagrams(AtPort):
    """Each datagram is a number of two bytes."""

    def decode(self, message: bytes) -> int:
        return int.from_bytes(message, "big")


class Spool(DriverNode):
    """Tells what comes into a folder, and what goes."""

    def decode(self, message: FileEvent) -> str:
        return f"{message.change.value} {message.path.name}"


class Supply(horus.AsyncNode):
    """Asks over a serial line; each answer has to be that to its own question."""

    rate = 20
    failure_policy: horus.FailurePolicy = FOR_EVER

    def __init__(self, port: str) -> None:
        super().__init__("supply")
        self.line: QueryDriver[bytes] = QueryDriver(SerialPort(port, framing=Lines()))
        self.asked: int = 0

    async def init(self) -> None:
        await self.line.open()

    async def tick_async(self) -> None:
        self.asked += 1
        answer = await self.line.query(b"VOLT? %d" % self.asked)
        if int(answer) != self.asked:
            raise ValueError(f"question {self.asked} has got the answer {answer!r}")
        self.send("volts", self.asked % 24)

    async def shutdown(self) -> None:
        await self.line.aclose()


class BlockingSerial(horus.Node):
    """Reads a serial line that is unplugged now and then, as such code mostly does: it blocks."""

    rate = 50
    thread = "own"
    tick_timeout: float = 1.0
    failure_policy: horus.FailurePolicy = FOR_EVER

    def __init__(self, port: str) -> None:
        super().__init__("blocking serial")
        self.port = port

    def init(self) -> None:
        self.line: int = os.open(self.port, os.O_RDWR | os.O_NOCTTY)
        termios.tcflush(self.line, termios.TCIFLUSH)

    def tick(self) -> None:
        data = os.read(self.line, 4096)
        if not data:
            raise ConnectionError("the serial line hung up")
        self.send("blocking serial", data)

    def shutdown(self) -> None:
        os.close(self.line)


class UnixEcho(horus.Node):
    """Asks over a Unix socket, and blocks for the answer."""

    rate = 20
    failure_policy: horus.FailurePolicy = FOR_EVER

    def __init__(self, path: str) -> None:
        super().__init__("unix blocking", thread="own")
        self.path = path

    def init(self) -> None:
        self.socket: socket.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.settimeout(1.0)
            self.socket.connect(self.path)
        except BaseException:
            self.socket.close()
            raise

    def tick(self) -> None:
        self.socket.sendall(b"ping\n")
        self.send("unix blocking", self.socket.recv(64))

    def shutdown(self) -> None:
        self.socket.close()


class UnixStream(horus.AsyncNode):
    """Reads numbers from a Unix socket in a background task, and tells the newest."""

    rate = 20
    failure_policy: horus.FailurePolicy = FOR_EVER

    def __init__(self, path: str) -> None:
        super().__init__("unix stream")
        self.path = path
        self.newest: bytes | bytearray = b""

    async def init(self) -> None:
        self.stream: trio.SocketStream = await trio.open_unix_socket(self.path)
        self.start_soon(self.read_on)

    async def read_on(self) -> None:
        async for data in self.stream:
            self.newest = data

    async def tick_async(self) -> None:
        self.send("unix stream", self.newest)

    async def shutdown(self) -> None:
        await self.stream.aclose()


class Sonar(horus.Node):
    """Asks over TCP, and waits; when no answer comes, its thread is left behind until one does."""

    rate = 10
    tick_timeout: float = 0.3
    failure_policy: horus.FailurePolicy = FOR_EVER

    def __init__(self, port: int) -> None:
        super().__init__("sonar")
        self.port = port

    def init(self) -> None:
        self.socket: socket.socket = socket.create_connection((HOST, self.port))

    def tick(self) -> None:
        self.socket.sendall(b"?\n")
        answer = self.socket.recv(64)
        if not answer:
            raise ConnectionError("the sonar closed the connection")
        self.send("sonar", float(answer))

    def shutdown(self) -> None:
        self.socket.close()


def devices(world: dict[str, Any]) -> Iterator[tuple[horus.Node, bool]]:
    """The nodes, and whether each is meant to hold its rate.

    A `DriverNode`'s ticks look after its device. They are meant to come at their rate where the
    device is never lost.
    """
    folder = Path(world["folder"])
    for number in range(1, 6):
        name = f"serial {number}"
        yield Numbered(name, SerialPort(world[name], framing=Lines())), number < 4
    yield Supply(world["supply"]), True
    yield BlockingSerial(world["blocking serial"]), False
    for number in range(1, 4):
        name = f"arm {number}"
        yield Numbered(name, TcpClient(HOST, world[name], framing=Lines())), number < 3
    yield AtPort("beacon", TcpServer(framing=Lines()), folder), False
    for name in ("udp 1", "udp 2"):
        udp = Udp(local=(HOST, 0), sequence=lambda data: int.from_bytes(data, "big"))
        yield Datagrams(name, udp, folder), True
    yield UnixStream(world["numbers"]), True
    yield UnixEcho(world["unix echo"]), True
    yield Sonar(world["sonar"]), False
    weather = JsonSensor(
        f"http://{HOST}:{world['weather']}/", fields={"wind": "wind.speed"}, every=0.5
    )
    yield DriverNode("weather", weather, publish="weather"), True
    station = HttpPoller(f"http://{HOST}:{world['station']}/", every=0.25, answer_within=1.0)
    yield DriverNode("station", station, publish="station"), False
    yield Numbered("feed 1", WebSocketClient(world["feed 1"])), True
    yield Numbered("feed 2", WebSocketClient(world["feed 2"])), False
    yield Numbered("program", Subprocess(["sh", "-c", PROGRAM], framing=Lines())), False
    yield Numbered("log", FileTail(world["log"])), True
    spool = DirectoryWatch(world["spool"], patterns="*.json")
    yield Spool("spool", spool, publish="spool"), True
    yield DriverNode("button", EdgeInput(world["button"]), publish="button"), True
