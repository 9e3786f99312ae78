"""`Camera` whose reads hang: on a named pipe, where a read waits while nobody writes."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from drivers.camera_peers import make_video, number_in
from drivers.peers import descriptors
from drivers.steps import raises_soon, until

import horus_trio as horus
from horus_trio.drivers import Camera, ConnectFailed, DeviceGone, DriverNode, DriverState

SOON = 10.0


class Pipe:
    """A named pipe through which a video comes, in two halves."""

    def __init__(self, path: Path, video: bytes) -> None:
        self.path = path
        self.writer = -1
        self.halves = [video[: len(video) // 2], video[len(video) // 2 :]]
        os.mkfifo(path)

    async def feed(self) -> None:
        """Write the next half. The first time it waits until somebody reads."""
        while self.writer < 0:
            with contextlib.suppress(OSError):
                self.writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            await trio.sleep(0.002)
        half = memoryview(self.halves.pop(0))
        while half:
            with contextlib.suppress(BlockingIOError):
                half = half[os.write(self.writer, half) :]
            await trio.sleep(0.002)

    def close(self) -> None:
        """What hangs comes to its end."""
        if self.writer < 0:  # who opens it still waits for the other end
            with contextlib.suppress(OSError):
                self.writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[list[Pipe]]:
    video = make_video(tmp_path / "piped.avi", 100).read_bytes()
    made = [Pipe(tmp_path / f"pipe {number}", video) for number in range(3)]
    yield made
    for pipe in made:
        pipe.close()


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """Where the camera looks; it can lead to something else the next time."""
    return tmp_path / "camera"


def lead(link: Path, path: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(path)


async def hang(camera: Camera, pipe: Pipe) -> int:
    """Open it, receive what comes through the pipe, and have it hang; how many came."""
    received = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.feed)
        with trio.fail_after(SOON):
            await camera.open()
            with pytest.raises(DeviceGone, match=r"stalled: no frame for 0\.3 s"):  # noqa: PT012
                while True:
                    await camera.receive()
                    received += 1
    return received


async def free(camera: Camera, *pipes: Pipe) -> None:
    """Have all that hangs come to its end."""

    def ended() -> bool:
        for pipe in pipes:
            pipe.close()
        return camera.abandoned == 0

    await until(ended)


async def open_and_read(camera: Camera, pipe: Pipe) -> None:
    """Until a read of it hangs, and long before that is too much."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.feed)
        with trio.fail_after(SOON):
            await camera.open()
            came = True
            while came:
                came = False
                with trio.move_on_after(0.3):
                    await camera.receive()
                    came = True


async def test_one_that_hangs_is_left_and_another_is_opened_at_once(
    pipes: list[Pipe], link: Path, tmp_path: Path
) -> None:
    lead(link, pipes[0].path)
    camera = Camera(link, stalled_after=0.3, every_frame=True)
    assert await hang(camera, pipes[0]) > 0
    assert camera.state is DriverState.BROKEN
    assert repr(camera) == f"<Camera {link}, broken, 1 abandoned thread>"
    began = trio.current_time()
    await camera.aclose()
    assert camera.statistics().abandoned == 1
    assert [thread.name for thread in threading.enumerate() if str(link)[:40] in thread.name]
    lead(link, make_video(tmp_path / "video.avi"))
    async with camera:
        assert trio.current_time() - began < 0.9  # it has not waited for the other one
        await pipes[0].feed()  # what it reads now is nobody's
        for expected in range(10):
            frame = await camera.receive()
            assert frame.number == number_in(frame.image) == expected
    await free(camera, pipes[0])
    assert repr(camera) == f"<Camera {link}, closed>"


@pytest.mark.slow
async def test_no_more_are_left_than_may_be(pipes: list[Pipe], link: Path, tmp_path: Path) -> None:
    camera = Camera(link, stalled_after=0.3, max_abandoned=2)
    for pipe in pipes[:2]:
        lead(link, pipe.path)
        await hang(camera, pipe)
        await camera.aclose()
    assert repr(camera) == f"<Camera {link}, closed, 2 abandoned threads>"
    lead(link, make_video(tmp_path / "video.avi"))
    error = await raises_soon(ConnectFailed, camera.open)
    assert "2 threads hang in reads of it, which is max_abandoned=2" in str(error)
    pipes[0].close()
    async with camera:  # it waits until that thread has ended
        await camera.receive()
        assert camera.abandoned == 1
    await free(camera, *pipes)


async def test_an_open_that_hangs_is_left(pipes: list[Pipe]) -> None:
    camera = Camera(pipes[0].path, connect_within=0.2)
    error = await raises_soon(ConnectFailed, camera.open)
    assert "has not answered within 0.2 s" in str(error)
    assert camera.abandoned == 1
    await free(camera, pipes[0])


@pytest.mark.slow
async def test_a_cancelled_open_that_hangs_is_left(pipes: list[Pipe]) -> None:
    camera = Camera(pipes[0].path)
    with trio.move_on_after(0.05) as scope:
        await camera.open()
    assert scope.cancelled_caught
    assert camera.state is DriverState.CLOSED
    assert camera.abandoned == 0  # it has a second to come to its end
    await until(lambda: camera.abandoned == 1)
    await free(camera, pipes[0])


async def test_what_is_opened_too_late_is_put_away(pipes: list[Pipe]) -> None:
    camera = Camera(pipes[0].path)
    with trio.move_on_after(0.05):
        await camera.open()
    before = descriptors()  # a pipe without its other end is not open
    with trio.fail_after(SOON), contextlib.suppress(BrokenPipeError):
        await pipes[0].feed()
    await until(lambda: not camera._ending())
    pipes[0].close()
    assert descriptors() <= before


@pytest.mark.slow
async def test_closing_waits_a_second_for_a_read_to_return(pipes: list[Pipe]) -> None:
    camera = Camera(pipes[0].path, stalled_after=30)
    await open_and_read(camera, pipes[0])
    with trio.fail_after(SOON):
        await camera.aclose()
    assert camera.abandoned == 1
    await camera.aclose()
    await free(camera, pipes[0])


async def test_a_cancelled_close_waits_for_nothing(pipes: list[Pipe]) -> None:
    camera = Camera(pipes[0].path, stalled_after=30)
    await open_and_read(camera, pipes[0])
    began = trio.current_time()
    with trio.CancelScope() as scope:
        scope.cancel()
        await camera.aclose()
    assert scope.cancelled_caught
    assert trio.current_time() - began < 0.9
    assert camera.state is DriverState.CLOSED
    assert camera.abandoned == 1
    await free(camera, pipes[0])


async def test_receives_that_are_cancelled_again_and_again_find_out_too(pipes: list[Pipe]) -> None:
    camera = Camera(pipes[0].path, stalled_after=0.3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipes[0].feed)
        await camera.open()
        with trio.fail_after(SOON), pytest.raises(DeviceGone, match="stalled"):  # noqa: PT012
            while True:
                with trio.move_on_after(0.05):
                    await camera.receive()
    await camera.aclose()
    await free(camera, pipes[0])


@pytest.mark.slow
async def test_a_node_leaves_one_that_hangs(pipes: list[Pipe], link: Path, tmp_path: Path) -> None:
    lead(link, pipes[0].path)
    camera = Camera(link, stalled_after=0.3)
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(DriverNode("camera", camera, publish="frames"))
    came = scheduler.topic("frames").subscribe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        with trio.fail_after(SOON):
            await pipes[0].feed()
            await came.receive()
            lead(link, make_video(tmp_path / "video.avi"))
            await until(lambda: camera.statistics().connects > 1)
            while (await came.receive()).number != 5:
                pass
        scheduler.stop()
    assert "stalled" in camera.statistics().last_error
    await free(camera, pipes[0])


@pytest.mark.slow
async def test_who_waits_for_an_open_that_hangs_can_give_up(
    pipes: list[Pipe], tmp_path: Path
) -> None:
    """OpenCV opens one after the other."""
    video = make_video(tmp_path / "video.avi")
    reading = Camera(video, loop=True, paced=False)
    await reading.open()
    hangs = Camera(pipes[0].path, connect_within=0.1)
    await raises_soon(ConnectFailed, hangs.open)
    waits = Camera(video, connect_within=0.5)
    error = await raises_soon(ConnectFailed, waits.open)
    assert "one that was to be opened before does not come to an end" in str(error)
    await waits.aclose()
    assert waits.abandoned == 0
    with trio.fail_after(SOON):
        seen = (await reading.receive()).number
        while (await reading.receive()).number < seen + 100:  # it even begins again meanwhile
            pass
    await reading.aclose()
    await free(hangs, pipes[0])
    async with waits:
        await waits.receive()


# Cameras that nobody closes


async def test_one_that_is_forgotten_ends_its_thread(tmp_path: Path) -> None:
    camera = Camera(make_video(tmp_path / "video.avi"), loop=True)
    await camera.open()
    reader = camera._reader
    assert reader is not None
    before = descriptors()
    del camera
    gc.collect()
    await until(lambda: reader.is_over)
    assert descriptors() < before


FORGETFUL = """
import sys, trio
from horus_trio.drivers import Camera

cameras = [Camera(sys.argv[1], loop=True, paced=False) for _ in range(4)]

async def main():
    for camera in cameras:
        await camera.open()
        await camera.receive()

trio.run(main)
print("done")
"""


@pytest.mark.slow
def test_a_process_ends_well_though_it_reads(tmp_path: Path) -> None:
    """A thread that is stopped in OpenCV aborts the process."""
    video = make_video(tmp_path / "video.avi")
    for _ in range(3):
        finished = subprocess.run(
            [sys.executable, "-c", FORGETFUL, str(video)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (finished.returncode, finished.stdout) == (0, "done\n"), finished.stderr
