"""`Camera`: what is refused, and what cannot be opened; and a device that is made up."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy
import pytest
import trio
from drivers.camera_peers import image_of, make_video, number_in
from drivers.peers import HOST, free_port
from drivers.steps import raises_soon

from horus_trio import ConfigurationError
from horus_trio.drivers import Camera, CameraFormat, ConnectFailed, DeviceGone, MissingExtra


async def why_not(source: Any, **options: Any) -> str:
    """What `open` says."""
    camera = Camera(source, **options)
    error = await raises_soon(ConnectFailed, camera.open)
    assert str(error).startswith(f"{camera.name} cannot be opened: ")
    assert camera.statistics().failures == 1
    return str(error).removeprefix(f"{camera.name} cannot be opened: ")


# Arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((-1,), "expected the number of a camera"),
        ((True,), "expected the number of a camera"),
        ((None,), "expected the number of a camera"),
        (("",), "expected the number of a camera"),
        (("a\0b",), "expected the number of a camera"),
        ((0.5,), "expected the number of a camera"),
        (("file:///video.avi",), "by its path, without file://"),
        (("http:///video",), "expected a host after http"),
        (("http://host:port/",), "this is no address"),
    ],
)
def test_a_source_that_is_none(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Camera(*arguments)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (0, {"loop": True}, "loop=True is for files, and this is a device"),
        ("rtsp://host/", {"paced": False}, "paced=False is for files, and this is an address"),
        ("v.avi", {"connect_within": 0}, "expected a finite number of seconds above 0"),
        ("v.avi", {"stalled_after": float("inf")}, "expected a finite number of seconds above 0"),
        ("v.avi", {"stalled_after": True}, "expected a finite number of seconds above 0"),
        ("v.avi", {"max_abandoned": 0}, "expected a whole number of threads, 1 or more"),
        ("v.avi", {"wanted": (640, 480)}, "expected a CameraFormat"),
        ("v.avi", {"wanted": CameraFormat(size=(640, 480))}, "a file has its size"),
        ("rtsp://host/", {"wanted": CameraFormat(rate=5)}, "a server gives what it gives"),
        (0, {"wanted": CameraFormat(size=(640,))}, "expected width and height"),  # type: ignore[arg-type]
        (0, {"wanted": CameraFormat(size=(640, -1))}, "expected width and height"),
        (0, {"wanted": CameraFormat(rate=0)}, "expected frames a second, above 0"),
        (0, {"wanted": CameraFormat(fourcc="JPEG!")}, "expected four letters"),
        (0, {"wanted": CameraFormat(properties={"gain": 1})}, "expected numbers by number"),  # type: ignore[dict-item]
    ],
)
def test_an_option_that_makes_no_sense(source: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Camera(source, **options)


def test_passwords_are_not_shown() -> None:
    camera = Camera("rtsp://me:sec:ret@camera:8554/live")
    assert repr(camera) == "<Camera rtsp://me:***@camera:8554/live, new>"
    for source in ("rtsp://me:secret@camera/", "rtsp://me:sec/secret@camera/"):
        with pytest.raises(ConfigurationError) as caught:
            Camera(source, loop=True)
        assert "secret" not in str(caught.value)
    assert repr(Camera("http://camera:80/a@b")) == "<Camera http://camera:80/a@b, new>"


def test_without_opencv_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        Camera(0)
    assert str(caught.value) == (
        "Camera needs opencv-python-headless, which is not installed: "
        "pip install 'horus-trio[camera]'"
    )


async def test_an_opencv_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    camera = Camera(tmp_path / "video.avi")
    monkeypatch.setitem(sys.modules, "cv2", None)
    error = await raises_soon(MissingExtra, camera.open)
    assert "pip install 'horus-trio[camera]'" in str(error)


# Files


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no such file: check its path" in await why_not(tmp_path / "none.avi")
    assert "give 0 as a number" in await why_not("0")


async def test_files_that_are_not_videos(tmp_path: Path) -> None:
    (tmp_path / "empty.avi").touch()
    (tmp_path / "text.avi").write_text("no video\n" * 1000)
    video = make_video(tmp_path / "video.avi")
    (tmp_path / "head.avi").write_bytes(video.read_bytes()[:100])
    assert await why_not(tmp_path) == "it is a folder: expected a video file"
    assert await why_not(tmp_path / "empty.avi") == "the file is empty"
    for name in ("text.avi", "head.avi"):
        assert "it is not a video that OpenCV can read" in await why_not(tmp_path / name)


async def test_a_file_that_is_not_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "locked.avi"
    path.write_bytes(b"x")
    path.chmod(0)
    refuse(monkeypatch, str(path), PermissionError(errno.EACCES, "Permission denied"))
    assert "this user may not read it" in await why_not(path)


async def test_a_file_of_which_the_end_is_missing(tmp_path: Path) -> None:
    data = make_video(tmp_path / "video.avi", 100).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    async with Camera(tmp_path / "cut.avi", paced=False, every_frame=True) as camera:
        with trio.fail_after(10), pytest.raises(DeviceGone) as caught:  # noqa: PT012
            while True:
                await camera.receive()
    assert "of 100 that its header promises: it may be damaged" in str(caught.value)


async def test_names_with_strange_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "video.avi").rename("12:30 über.avi")
    async with Camera("12:30 über.avi") as camera:
        assert number_in((await camera.receive()).image) == 0


def refuse(monkeypatch: pytest.MonkeyPatch, path: str, error: OSError) -> None:
    """That path cannot be opened: a test may run as root, whom nothing is refused."""
    really = os.open

    def open_or_not(name: Any, *arguments: Any, **options: Any) -> int:
        if name == path:
            raise error
        return really(name, *arguments, **options)

    monkeypatch.setattr(os, "open", open_or_not)


# Devices


async def test_a_device_that_is_not_there() -> None:
    said = await why_not(63)
    assert "there is no /dev/video63: plug the camera in, or name another one; there " in said
    assert "there is no /dev/v4l/by-id/none" in await why_not("/dev/v4l/by-id/none")


async def test_a_device_that_is_none() -> None:
    assert "is there and gives no video" in await why_not("/dev/null")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EACCES, "join the group"),
        (errno.EBUSY, "another program has the camera (fuser -v /dev/null says which)"),
        (errno.ENODEV, "there is no camera behind /dev/null"),
    ],
)
async def test_a_device_that_is_refused(
    code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "/dev/null", OSError(code, os.strerror(code)))
    assert said in await why_not("/dev/null")


class MadeUp:
    """Takes the place of `cv2.VideoCapture` for devices: half the size, and no other rate."""

    def __init__(self) -> None:
        self.given: tuple[object, int] = ("", 0)
        self.values: dict[int, float] = {cv2.CAP_PROP_FPS: 25.0}
        self.asked: list[tuple[int, float]] = []
        self.released = False
        self.number = 0
        made.append(self)

    def open(self, given: object, backend: int) -> bool:
        self.given = given, backend
        return True

    def set(self, number: int, value: float) -> bool:
        self.asked.append((number, value))
        if number in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT):
            value /= 2
        if number != cv2.CAP_PROP_FPS:
            self.values[number] = value
        return number != cv2.CAP_PROP_FPS

    def get(self, number: int) -> float:
        return self.values.get(number, 0.0)

    def read(self) -> tuple[bool, Any]:
        self.number += 1
        return (True, image_of(self.number)) if self.number < 5 else (False, None)

    def release(self) -> None:
        self.released = True


made: list[MadeUp] = []


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MadeUp]]:
    monkeypatch.setattr(cv2, "VideoCapture", MadeUp)
    yield made
    made.clear()


async def test_a_device_is_asked_for_a_format_and_says_which_it_has(made_up: list[MadeUp]) -> None:
    wanted = CameraFormat(
        size=(640, 480), rate=60, fourcc="MJPG", properties={cv2.CAP_PROP_EXPOSURE: 100}
    )
    async with Camera(0, wanted=wanted, every_frame=True) as camera:
        assert camera.actual == CameraFormat(
            size=(320, 240), rate=25, fourcc="MJPG", properties={cv2.CAP_PROP_EXPOSURE: 100}
        )
        assert [(await camera.receive()).number for _ in range(4)] == [0, 1, 2, 3]
        error = await raises_soon(DeviceGone, camera.receive)
        assert "Camera 0 gives no more frames, after 4: it is unplugged" in str(error)
    (device,) = made_up
    assert device.given == (0, cv2.CAP_V4L2)
    assert device.asked[0] == (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    assert device.released


async def test_a_device_by_its_path_that_says_nothing_of_itself(made_up: list[MadeUp]) -> None:
    async with Camera("/dev/video7") as camera:
        assert camera.actual == CameraFormat(rate=25)
    assert made_up[0].given == ("/dev/video7", cv2.CAP_V4L2)
    assert made_up[0].asked == []


async def test_an_error_in_opencv_is_not_hidden(
    made_up: list[MadeUp], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: MadeUp) -> Any:
        raise cv2.error("out of memory")

    monkeypatch.setattr(MadeUp, "read", fail)
    async with Camera(0) as camera:
        error = await raises_soon(cv2.error, camera.receive)
    assert "out of memory" in str(error)
    assert made_up[0].released


# Servers


class Answers:
    """A server that answers every connection with the same, in a thread."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.questions: list[bytes] = []
        self.listener = socket.create_server((HOST, 0))
        self.port: int = self.listener.getsockname()[1]

    def serve(self) -> None:
        """Until the listener is shut down."""
        held: list[socket.socket] = []
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                break
            if self.answer is None:
                held.append(connection)
                continue
            with connection:
                if question := connection.recv(65536):
                    self.questions.append(question)
                    connection.sendall(self.answer)
        for connection in held:
            connection.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


async def why_not_served(answer: bytes | None, address: str, **options: Any) -> tuple[str, Answers]:
    """What `open` says of a server that answers so."""
    server = Answers(answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, server.serve)
        try:
            return await why_not(address.format(port=server.port), **options), server
        finally:
            server.close()


def http(status: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers, "", body]).encode()


async def test_nothing_listens_there() -> None:
    for scheme in ("http", "rtsp", "tcp"):
        said = await why_not(f"{scheme}://{HOST}:{free_port()}/video")
        assert "nothing listens at port" in said
        assert "start what should, or check the port" in said


async def test_a_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = await why_not("http://no-such-camera.invalid/video")
    assert "'no-such-camera.invalid' cannot be resolved" in said


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silent)
    assert "it has not answered" in await why_not(f"http://{HOST}:{free_port()}/")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http("404 Not Found"), "it refuses: 404 Not Found; check the path in the address"),
        (http("200 OK", "Content-Type: text/html", body="<p>hello"), "no video, but text/html"),
        (http("401 Unauthorized"), "a name and a password: give http://NAME:PASSWORD@…"),
        (b"220 mail.example ESMTP\n", "it does not speak HTTP: check the port"),
    ],
)
async def test_a_server_that_serves_no_video(answer: bytes, said: str) -> None:
    text, _ = await why_not_served(answer, f"http://{HOST}:{{port}}/video")
    assert said in text


async def test_a_name_and_a_password_that_are_wrong() -> None:
    answer = http("401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"')
    text, server = await why_not_served(answer, f"http://me:se%40cret@{HOST}:{{port}}/video")
    assert "those in the address may be wrong" in text
    assert "cret" not in text
    assert b"Authorization: Basic bWU6c2VAY3JldA==" in server.questions[-1]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n", "it refuses: 404 Not Found"),
        (b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n", "give rtsp://NAME:PASSWORD@…"),
    ],
)
async def test_an_rtsp_server_that_refuses(answer: bytes, said: str) -> None:
    text, _ = await why_not_served(answer, f"rtsp://{HOST}:{{port}}/live")
    assert said in text


async def test_a_server_that_accepts_and_says_nothing() -> None:
    text, _ = await why_not_served(None, f"http://{HOST}:{{port}}/video", connect_within=0.3)
    assert "has not answered within 0.3 s" in text


# What is written to stderr

NOISE = """
import sys, trio
from horus_trio.drivers import Camera, ConnectFailed

async def main():
    try:
        await Camera(63).open()
    except ConnectFailed:
        print("failed")

assert "cv2" not in sys.modules
trio.run(main)
import cv2
print(cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_ERROR)
"""


@pytest.mark.slow
def test_opencv_does_not_tell_it_all_again() -> None:
    for level, quiet in ((None, True), ("WARNING", False)):
        env = {key: value for key, value in os.environ.items() if key != "OPENCV_LOG_LEVEL"}
        if level is not None:
            env["OPENCV_LOG_LEVEL"] = level
        finished = subprocess.run(
            [sys.executable, "-c", NOISE],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=env,
        )
        assert finished.stdout == f"failed\n{quiet}\n", finished.stderr
        assert (finished.stderr == "") is quiet


def test_numbers_survive_a_codec() -> None:
    for number in (0, 1, 0x5555, 65535):
        good, data = cv2.imencode(".jpg", image_of(number), [cv2.IMWRITE_JPEG_QUALITY, 30])
        assert good
        image = numpy.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), numpy.uint8)
        assert number_in(image) == number
        image[60:] = 128
        assert number_in(image) is None
