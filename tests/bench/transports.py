"""What drivers cost above bare Trio code that does the same on the same kind of descriptor.

The other end is `cat`, which echoes, or `yes`, which floods: processes of their own, with the pty's
master or the connection's other end as input and output. So a round trip is two switches of
processes besides what is compared.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pty
import socket
import subprocess
import time
import tty
from collections.abc import AsyncIterator, Callable, Iterator

import trio
from _compare import Target, compare, print_machine
from _quick import either

from horus_trio.drivers import Lines, SerialPort, TcpClient
from horus_trio.drivers.driver import Driver

MESSAGE = b"MEAS:VOLT:DC? (@1,2)"
ROUNDS = either(3_000, 100)
LINES = either(300_000, 3_000)
REPETITIONS = either(15, 1)

BUFFER = 65536


@contextlib.contextmanager
def echo(descriptor: int) -> Iterator[None]:
    """`cat` at the other end of this."""
    with started("cat", stdin=descriptor, stdout=descriptor):
        yield


@contextlib.contextmanager
def flood(descriptor: int) -> Iterator[None]:
    """`yes` at the other end of this."""
    with started("yes", MESSAGE.decode(), stdin=subprocess.DEVNULL, stdout=descriptor):
        yield


@contextlib.contextmanager
def started(*command: str, stdin: int, stdout: int) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, bufsize=0
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def round_trips(trip: Callable[[], object]) -> float:
    """Microseconds of one, with a few before that do not count."""
    for _ in range(max(1, ROUNDS // 10)):
        await trip()  # type: ignore[misc]
    gc.collect()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        await trip()  # type: ignore[misc]
    return (time.perf_counter() - began) / ROUNDS * 1e6


async def of_driver(driver: Driver[bytes]) -> float:
    async def trip() -> None:
        await driver.send(MESSAGE)
        if await driver.receive() != MESSAGE:
            raise SystemExit("another message came back")

    return await round_trips(trip)


# Serial ports


@contextlib.contextmanager
def echoing_port() -> Iterator[str]:
    """The path of a pty whose other end echoes."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        with echo(master):
            yield os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def bare_serial() -> float:
    async def main(path: str) -> float:
        port = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

        async def trip() -> None:
            os.write(port, MESSAGE + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                await trio.lowlevel.wait_readable(port)
                data += os.read(port, BUFFER)
            if data[:-1] != MESSAGE:
                raise SystemExit("another message came back")

        try:
            return await round_trips(trip)
        finally:
            os.close(port)

    with echoing_port() as path:
        return trio.run(main, path)


def our_serial() -> float:
    async def main(path: str) -> float:
        async with SerialPort(path, framing=Lines()) as port:
            return await of_driver(port)

    with echoing_port() as path:
        return trio.run(main, path)


# TCP


@contextlib.asynccontextmanager
async def listener(
    serve: Callable[[int], contextlib.AbstractContextManager[None]],
) -> AsyncIterator[int]:
    """A port, each of whose connections a process serves."""
    [listening] = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def accept() -> None:
        stream = await listening.accept()
        with socket.socket(fileno=stream.socket.detach()) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(True)
            with serve(connection.fileno()):
                await trio.sleep_forever()

    async with listening, trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        yield listening.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def bare_tcp() -> float:
    async def main() -> float:
        async with listener(echo) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:

            async def trip() -> None:
                await stream.send_all(MESSAGE + b"\n")
                data = b""
                while not data.endswith(b"\n"):
                    data += await stream.receive_some(BUFFER)
                if data[:-1] != MESSAGE:
                    raise SystemExit("another message came back")

            return await round_trips(trip)

    return trio.run(main)


def our_tcp() -> float:
    async def main() -> float:
        async with listener(echo) as port, TcpClient("127.0.0.1", port, framing=Lines()) as device:
            return await of_driver(device)

    return trio.run(main)


# Lines in a flood


class LineReceiver:
    """A line a call, as one writes it with Trio."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = bytearray()

    async def receive(self) -> bytes:
        while (end := self.buffer.find(b"\n")) < 0:
            data = await self.stream.receive_some(BUFFER)
            if not data:
                raise trio.EndOfChannel
            self.buffer += data
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return line


async def count(receive: Callable[[], object]) -> float:
    """Thousand lines a second."""
    began = time.perf_counter()
    for _ in range(LINES):
        if await receive() != MESSAGE:  # type: ignore[misc]
            raise SystemExit("another line came")
    return LINES / (time.perf_counter() - began) / 1e3


def bare_lines() -> float:
    async def main() -> float:
        async with listener(flood) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
            return await count(LineReceiver(stream).receive)

    return trio.run(main)


def bare_splits() -> float:
    """No call for a line: what Python's own `split` makes of the buffer."""

    async def main() -> float:
        async with listener(flood) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
            rest, lines = b"", 0
            began = time.perf_counter()
            while lines < LINES:
                *complete, rest = (rest + await stream.receive_some(BUFFER)).split(b"\n")
                for line in complete:
                    if line != MESSAGE:
                        raise SystemExit("another line came")
                lines += len(complete)
            return lines / (time.perf_counter() - began) / 1e3

    return trio.run(main)


def our_lines() -> float:
    async def main() -> float:
        async with listener(flood) as port, TcpClient("127.0.0.1", port, framing=Lines()) as device:
            return await count(device.receive)

    return trio.run(main)


def main() -> None:
    print_machine()
    compare(
        "a line and its echo over a pty",
        "us",
        {"wait_readable, os.read, os.write": bare_serial, "SerialPort": our_serial},
        base="wait_readable, os.read, os.write",
        repetitions=REPETITIONS,
        targets={"SerialPort": Target(at_most=1.5)},
    )
    compare(
        "a line and its echo over TCP",
        "us",
        {"trio.SocketStream": bare_tcp, "TcpClient": our_tcp},
        base="trio.SocketStream",
        repetitions=REPETITIONS,
        targets={"TcpClient": Target(at_most=1.5)},
    )
    compare(
        "lines of a flood over TCP",
        "thousand lines a second",
        {
            "trio.SocketStream, a line a call": bare_lines,
            "trio.SocketStream, a loop over split()": bare_splits,
            "TcpClient": our_lines,
        },
        base="trio.SocketStream, a line a call",
        repetitions=REPETITIONS,
        targets={"TcpClient": Target(at_least=0.5)},
    )


if __name__ == "__main__":
    main()
