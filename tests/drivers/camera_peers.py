"""Videos and servers of images, for cameras to read. A number is in each image, in black and white.

So an image shows which one it is, whatever a codec does to it, and one of which a part is missing
shows none.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy
import trio
from drivers.peers import HOST, TcpServerPeer
from numpy.typing import NDArray

from horus_trio.drivers import Camera, Frame

__all__ = [
    "HEAD",
    "MjpegPeer",
    "NumberCamera",
    "image_of",
    "jpeg_of",
    "make_video",
    "number_in",
    "open_mjpeg_peer",
    "part_of",
    "stalling_server",
]

COLUMNS, ROWS = 8, 4
BLOCK = 20
SIZE = (COLUMNS * BLOCK, ROWS * BLOCK)

Image = NDArray[numpy.uint8]


def image_of(number: int) -> Image:
    """Sixteen bits, and their opposites below."""
    bits = [number >> bit & 1 for bit in range(16)]
    blocks = numpy.array([*bits, *(1 - bit for bit in bits)], numpy.uint8).reshape(ROWS, COLUMNS)
    grey = numpy.kron(blocks * 255, numpy.ones((BLOCK, BLOCK), numpy.uint8))
    return numpy.repeat(grey[:, :, None], 3, axis=2)


def number_in(image: Image) -> int | None:
    """The number in an image; None: a part of it is missing."""
    blocks = image[:, :, 0].reshape(ROWS, BLOCK, COLUMNS, BLOCK).mean(axis=(1, 3)).ravel()
    if ((blocks > 64) & (blocks < 192)).any():
        return None
    bits = [int(block > 128) for block in blocks]
    if any(bit == opposite for bit, opposite in zip(bits[:16], bits[16:], strict=True)):
        return None
    return sum(bit << place for place, bit in enumerate(bits[:16]))


def make_video(path: Path, frames: int = 30, *, rate: float = 30.0, fourcc: str = "MJPG") -> Path:
    """A video of numbers from 0."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), rate, SIZE)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(image_of(number))
    writer.release()
    return path


@functools.cache
def jpeg_of(number: int) -> bytes:
    """An image, with a comment of 3 kB: FFmpeg looks at 2 kB before it knows what it is."""
    good, data = cv2.imencode(".jpg", image_of(number))
    assert good
    beginning, rest = data[:2].tobytes(), data[2:].tobytes()
    return beginning + b"\xff\xfe" + (3002).to_bytes(2, "big") + bytes(3000) + rest


HEAD = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
)


def part_of(number: int) -> bytes:
    """An image on the line."""
    data = jpeg_of(number)
    return (
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
        + data
        + b"\r\n"
    )


BLANK = 65535
"""In the image that a server sends by itself, so that there is something to open."""


class MjpegPeer(TcpServerPeer):
    """Serves images over HTTP, as many network cameras do; but only when it is told to.

    A newer connection does not end the ones before, since it may be the older one: the thread of an
    `open` that was cancelled connects as late as it likes, and ends by itself.
    """

    def __init__(self, listener: trio.SocketListener) -> None:
        super().__init__(listener)
        self.served: list[trio.SocketStream] = []

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/video"

    async def send(self, number: Any, /) -> None:
        """Send the image of a number on every connection, once there is one."""
        await self.connected()
        for stream in tuple(self.served):
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(part_of(number))

    def take_up(self, stream: Any) -> None:
        self.stream = None
        super().take_up(stream)
        self.served.append(stream)

    async def run(self) -> None:
        with self._scope:
            async with self.listener, trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(self._serve, await self.listener.accept())

    async def _serve(self, stream: trio.SocketStream) -> None:
        request = b""
        async with stream:
            try:
                while b"\r\n\r\n" not in request:
                    data = await stream.receive_some(4096)
                    if not data:
                        return
                    request += data
                os.write(stream.socket.fileno(), HEAD + part_of(BLANK))
            except (trio.BrokenResourceError, OSError):
                return
            self.take_up(stream)
            try:
                await self.read_all(stream)
            finally:
                self.served.remove(stream)
                self.stream = self.served[-1] if self.served else None

    def go_on(self) -> None:
        """Send one more image everywhere: a camera never stops."""
        for stream in self.served:
            with contextlib.suppress(OSError):
                os.write(stream.socket.fileno(), part_of(BLANK))


@contextlib.asynccontextmanager
async def open_mjpeg_peer() -> AsyncIterator[MjpegPeer]:
    """For a `NumberCamera(peer)`."""
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with trio.open_nursery() as nursery:
        peer = MjpegPeer(listener)
        nursery.start_soon(peer.run)
        yield peer
        nursery.cancel_scope.cancel()


class NumberCamera(Camera):
    """Receives the numbers in images. Those that are not whole, and blank ones, are left out.

    It is open when the blank image has come. When it is closed one more comes, and so the read
    returns that is under way, as with any camera.
    """

    def __init__(self, peer: MjpegPeer, **options: Any) -> None:
        super().__init__(peer.address, **options)
        self.peer = peer

    def _disconnect(self) -> None:
        super()._disconnect()
        self.peer.go_on()

    async def _connect(self) -> None:
        await super()._connect()
        while number_in((await super()._receive()).image) != BLANK:
            pass

    async def _receive(self) -> Any:
        while True:
            frame: Frame = await super()._receive()
            number = number_in(frame.image)
            if number not in (None, BLANK):
                return number


# A server that stalls

STALLING = """
import pathlib, socket, sys, threading, time

head, *parts = [pathlib.Path(name).read_bytes() for name in sys.argv[1:]]
stalls = [5.0, 5.0, 5.0]

def serve(connection):
    try:
        if not connection.recv(65536):
            return connection.close()
        stall = stalls.pop(0) if stalls else 0.0
        connection.sendall(head)
        for count in range(100_000):
            part = parts[count % len(parts)]
            if count == 20 and stall:
                connection.sendall(part[: len(part) // 2])
                began = time.monotonic()
                print("stalls", flush=True)
                time.sleep(stall)
                print("stalled", time.monotonic() - began, flush=True)
                connection.sendall(part[len(part) // 2 :])
            else:
                connection.sendall(part)
            time.sleep(1 / 30)
    except OSError:
        connection.close()

with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
"""


@contextlib.contextmanager
def stalling_server(folder: Path, numbers: Sequence[int]) -> Iterator[tuple[str, Path]]:
    """Its address, and the file in which it says when it stalls.

    It sends images at 30 Hz. Each of its first three connections stands still for 5 s, in the
    middle of the 21st.
    """
    (folder / "head").write_bytes(HEAD)
    for number in numbers:
        (folder / f"{number}").write_bytes(part_of(number))
    files = [str(folder / "head"), *(str(folder / f"{number}") for number in numbers)]
    said = folder / "said"
    with (
        said.open("wb") as output,
        subprocess.Popen([sys.executable, "-c", STALLING, *files], stdout=output) as process,
    ):
        try:
            while not (lines := said.read_text().splitlines()):
                assert process.poll() is None
            yield f"http://{HOST}:{lines[0]}/video", said
        finally:
            process.kill()
