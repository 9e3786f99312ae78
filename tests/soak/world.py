"""The other ends of the robot's devices, in a process: ``python -m soak.world FOLDER``.

It says where everything is, in a line of JSON on stdout, and lives until its stdin is closed; then
it says what it has done. Some of its devices fail on a schedule: they are unplugged, hang up, hang,
answer with errors. What they send is numbered, so that the robot sees whether anything is missing.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import sys
import time
import tty
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import trio
import trio_websocket

from horus_trio.cli.control import ControlError
from horus_trio.cli.control.client import Connection, running

from .lines import tell

__all__ = ["main"]

HOST = "127.0.0.1"

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
"""The robot has hung up, or a device was unplugged."""

Device: TypeAlias = Callable[[], Awaitable[None]]
Handler: TypeAlias = Callable[[trio.SocketStream], Awaitable[None]]


class World:
    """All devices.

    Arguments:
        folder: For links, sockets and files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[str, Any] = {"folder": str(folder)}
        """Where everything is, for the robot."""
        self.done: Counter[str] = Counter()
        """What was done, how often."""
        self._devices: list[Device] = []

    async def run(self) -> None:
        """Until stdin is closed."""
        async with trio.open_nursery() as nursery:
            await self._add_devices(nursery)
            tell(1, self.places)
            for device in self._devices:
                nursery.start_soon(device)
            await self._wait_for_end()
            nursery.cancel_scope.cancel()
        with contextlib.suppress(BrokenPipeError):  # whoever started it may be gone
            tell(1, dict(self.done))

    async def _wait_for_end(self) -> None:
        with contextlib.suppress(OSError):
            os.set_blocking(0, False)
        while True:
            await trio.lowlevel.wait_readable(0)
            if not os.read(0, 4096):
                return

    async def _add_devices(self, nursery: trio.Nursery) -> None:
        for number in range(1, 4):
            self._add_serial(f"serial {number}")
        self._add_serial("serial 4", every=15, seconds=1)
        self._add_serial("serial 5", every=25, seconds=2)
        self._add_serial("blocking serial", every=20, seconds=0.5)
        self._add_supply()
        serve = functools.partial(self._serve, nursery)
        await serve("arm 1", self._numbers)
        await serve("arm 2", self._numbers)
        await serve("arm 3", functools.partial(self._numbers, seconds=12))
        await serve("sonar", self._sonar)
        await serve("echo", self._echo)
        await serve("weather", functools.partial(self._http, flaky=False))
        await serve("station", functools.partial(self._http, flaky=True))
        for name, seconds in (("feed 1", None), ("feed 2", 10.0)):
            feed = functools.partial(self._feed, seconds=seconds)
            listen = functools.partial(trio_websocket.serve_websocket, feed, HOST, 0, None)
            server = await nursery.start(listen)
            self.places[name] = f"ws://{HOST}:{server.port}/"
        for name in ("numbers", "unix echo"):
            await self._serve_unix(nursery, name)
        for name, loss in (("udp 1", 0), ("udp 2", 10)):
            self._devices.append(functools.partial(self._send_datagrams, name, loss))
        self._devices.append(self._connect_beacon)
        self._devices.append(self._write_log)
        self._devices.append(self._spool)
        self._devices.append(self._press_button)
        self._devices.append(self._look_into_robot)
        self.places["log"] = str(self.folder / "motors.log")
        self.places["spool"] = str(self.folder / "spool")
        (self.folder / "spool").mkdir()
        self.places["button"] = str(self.folder / "button")
        os.mkfifo(self.places["button"])

    # Serial lines

    def _add_serial(self, name: str, *, every: float = 0, seconds: float = 0) -> None:
        line = SerialLine(self.folder / name.replace(" ", "-"))
        line.plug()
        self.places[name] = str(line.link)
        self._devices.append(functools.partial(self._send_numbers, line))
        if every:
            self._devices.append(functools.partial(self._unplug, line, every, seconds))

    async def _send_numbers(self, line: SerialLine) -> None:
        async for number in beats(50):
            line.write(b"%d\n" % number)

    async def _unplug(self, line: SerialLine, every: float, seconds: float) -> None:
        await trio.sleep(1)
        while True:
            line.unplug()
            self.done["unplugged"] += 1
            await trio.sleep(seconds)
            line.plug()
            await trio.sleep(every - seconds)

    def _add_supply(self) -> None:
        line = SerialLine(self.folder / "supply")
        line.plug()
        self.places["supply"] = str(line.link)
        self._devices.append(functools.partial(self._answer_supply, line))

    async def _answer_supply(self, line: SerialLine) -> None:
        """Each question with its own number."""
        held = b""
        while True:
            await trio.lowlevel.wait_readable(line.device)
            held += os.read(line.device, 4096)
            *questions, held = held.split(b"\n")
            for question in questions:
                line.write(question.removeprefix(b"VOLT? ") + b"\n")

    # Sockets

    async def _serve(self, nursery: trio.Nursery, name: str, handler: Handler) -> None:
        listeners = await trio.open_tcp_listeners(0, host=HOST)
        self.places[name] = listeners[0].socket.getsockname()[1]
        self._listen(nursery, listeners[0], handler)

    async def _serve_unix(self, nursery: trio.Nursery, name: str) -> None:
        path = str(self.folder / name.replace(" ", "-"))
        listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await listening.bind(path)
        listening.listen()
        self.places[name] = path
        handler: Handler = self._echo if name == "unix echo" else self._numbers
        self._listen(nursery, trio.SocketListener(listening), handler)

    def _listen(
        self, nursery: trio.Nursery, listener: trio.SocketListener, handler: Handler
    ) -> None:
        async def handle(stream: trio.SocketStream) -> None:
            with contextlib.suppress(*GONE):
                async with stream:
                    await handler(stream)

        self._devices.append(functools.partial(trio.serve_listeners, handle, [listener]))

    async def _numbers(self, stream: trio.SocketStream, seconds: float | None = None) -> None:
        async for number in beats(50):
            await stream.send_all(b"%d\n" % number)
            if seconds is not None and number > 50 * seconds:
                self.done["hung up"] += 1
                return

    async def _echo(self, stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async def _sonar(self, stream: trio.SocketStream) -> None:
        """Every fortieth question is answered long after the robot's patience is over."""
        async for questions in stream:
            for _ in range(questions.count(b"\n")):
                self.done["sonar"] += 1
                if self.done["sonar"] % 40 == 0:
                    self.done["hung"] += 1
                    await trio.sleep(1.5)
                await stream.send_all(b"4.2\n")

    async def _http(self, stream: trio.SocketStream, *, flaky: bool) -> None:
        head = b""
        async for data in stream:
            head += data
            while b"\r\n\r\n" in head:
                _, _, head = head.partition(b"\r\n\r\n")
                self.done["asked by HTTP"] += 1
                number = self.done["asked by HTTP"]
                status = "200 OK"
                if flaky and number % 7 == 0:
                    status = "503 Service Unavailable"
                elif flaky and number % 31 == 0:
                    await trio.sleep(1.5)
                body = json.dumps({"wind": {"speed": number % 20}, "number": number})
                await stream.send_all(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
                )

    async def _feed(
        self, request: trio_websocket.WebSocketRequest, seconds: float | None = None
    ) -> None:
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            websocket = await request.accept()
            async for number in beats(20):
                await websocket.send_message(str(number))
                if seconds is not None and number > 20 * seconds:
                    self.done["closed a feed"] += 1
                    await websocket.aclose(1001, "a restart")
                    return

    async def _send_datagrams(self, name: str, loss: int) -> None:
        """To the port that the robot writes down; one in `loss` is lost."""
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as radio:
            async for number in beats(50):
                port = self._port(name)
                if port and (not loss or number % loss):
                    await radio.sendto((number % 2**16).to_bytes(2, "big"), (HOST, port))

    async def _connect_beacon(self) -> None:
        """A device that connects to the robot, now and then anew."""
        while True:
            await trio.sleep(0.5)
            if port := self._port("beacon"):
                with contextlib.suppress(*GONE):
                    stream = await trio.open_tcp_stream(HOST, port)
                    async with stream:
                        await self._numbers(stream, seconds=12)

    def _port(self, name: str) -> int:
        try:
            return int((self.folder / f"{name}.port").read_text() or 0)
        except FileNotFoundError:
            return 0

    # Files

    async def _write_log(self) -> None:
        """A log that is rotated every ten seconds."""
        log = Log(Path(self.places["log"]))
        async for number in beats(20):
            log.write(b"%d\n" % number)
            if number % 200 == 199:
                log.rotate()
                self.done["rotated"] += 1

    async def _spool(self) -> None:
        """A file comes and another one goes."""
        folder = Path(self.places["spool"])
        async for number in beats(4):
            (folder / "new.tmp").write_text(str(number))
            (folder / "new.tmp").rename(folder / f"{number % 8}.json")
            if number % 8 == 7:
                (folder / "3.json").unlink()

    async def _press_button(self) -> None:
        finger = os.open(self.places["button"], os.O_RDWR | os.O_NONBLOCK)
        async for number in beats(10):
            with contextlib.suppress(BlockingIOError):
                os.write(finger, b"01"[number % 2 :][:1])

    # The command line

    async def _look_into_robot(self) -> None:
        """What `horus-trio nodes` and its like do, in a thread: a new connection each second."""
        while True:
            await trio.sleep(1)
            what = await trio.to_thread.run_sync(_look, abandon_on_cancel=True)
            self.done[what] += 1


def _look() -> str:
    """Ask the robot; what became of it."""
    try:
        robots = running()
        if not robots:
            return "found no robot"
        with Connection(robots[0].path) as robot:
            robot.ask("statistics")
            robot.ask("topic", topic="serial 1")
    except ControlError:
        return "the robot did not answer"
    return "looked into the robot"


class SerialLine:
    """The device's end of a serial line, under a fixed name while it is plugged in.

    Arguments:
        link: Where the robot finds it.
    """

    def __init__(self, link: Path) -> None:
        self.link = link
        self._ends: tuple[int, int] | None = None

    @property
    def device(self) -> int:
        """The descriptor of the device's end."""
        if self._ends is None:
            raise RuntimeError(f"{self.link.name} is not plugged in")
        return self._ends[0]

    def plug(self) -> None:
        """Appear."""
        device, line = self._ends = os.openpty()
        tty.setraw(line)
        os.set_blocking(device, False)
        self.link.symlink_to(os.ttyname(line))

    def unplug(self) -> None:
        """Disappear: whoever reads sees it hung up."""
        self.link.unlink()
        ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)

    def write(self, data: bytes) -> None:
        """Send; what finds no room, or no line, is lost."""
        if self._ends is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._ends[0], data)


class Log:
    """A file that grows.

    Arguments:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=0)

    def write(self, line: bytes) -> None:
        """Add a line."""
        self._file.write(line)

    def rotate(self) -> None:
        """Begin a new file under the same name."""
        self._file.close()
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("wb", buffering=0)


class beats:  # noqa: N801 - it is used as a function
    """Numbers from 0 on, at a rate in Hz, on a grid; none is left out."""

    def __init__(self, rate: float) -> None:
        self._begun = trio.current_time()
        self._rate = rate
        self._numbers = itertools.count()

    def __aiter__(self) -> beats:
        return self

    async def __anext__(self) -> int:
        number = next(self._numbers)
        await trio.sleep_until(self._begun + number / self._rate)
        return number


def main() -> None:
    """Be the world until stdin is closed."""
    started = time.monotonic()
    world = World(Path(sys.argv[1]))
    trio.run(world.run)
    world.done["seconds"] = round(time.monotonic() - started)


if __name__ == "__main__":
    main()
