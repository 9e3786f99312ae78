"""`Camera` on video files."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy
import pytest
import trio
import trio.testing
from drivers.camera_peers import SIZE, make_video, number_in
from drivers.steps import raises_soon, until

import horus_trio as horus
from horus_trio import ConfigurationError, Sub
from horus_trio.drivers import (
    Camera,
    CameraFormat,
    DeviceGone,
    DriverNode,
    DriverState,
    Frame,
    VideoEnded,
)
from horus_trio.testing import cancel_everywhere

SOON = 10.0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty frames, with the numbers from 0, for a second."""
    return make_video(tmp_path_factory.mktemp("videos") / "numbers.avi")


async def all_of(camera: Camera) -> list[Frame]:
    frames: list[Frame] = []
    with trio.fail_after(SOON), contextlib.suppress(VideoEnded):
        while True:
            frames.append(await camera.receive())
    return frames


# Frames


async def test_every_frame_of_a_file_in_order(video: Path) -> None:
    async with Camera(video, paced=False, every_frame=True) as camera:
        assert camera.lossless
        frames = await all_of(camera)
        assert camera.state is DriverState.BROKEN
    assert [number_in(frame.image) for frame in frames] == list(range(30))
    assert [frame.number for frame in frames] == list(range(30))
    assert {frame.lost for frame in frames} == {0}
    counted = camera.statistics()
    assert (counted.received, counted.lost, counted.connects) == (30, 0, 1)
    assert "has ended after 30 frames" in counted.last_error


async def test_the_newest_frame_wins_and_the_others_are_counted(video: Path) -> None:
    async with Camera(video, paced=False) as camera:
        assert not camera.lossless
        await until(lambda: camera._reader is None or camera._reader.is_over)
        newest = await camera.receive()
        assert (newest.number, newest.lost, number_in(newest.image)) == (29, 29, 29)
        await raises_soon(VideoEnded, camera.receive)
    counted = camera.statistics()
    assert (counted.received, counted.lost) == (1, 29)


async def test_what_is_received_and_what_is_lost_make_up_all(video: Path) -> None:
    async with Camera(video, paced=False) as camera:
        frames = []
        with contextlib.suppress(VideoEnded):
            while True:
                frames.append(await camera.receive())
                await trio.sleep(0.0005 * (len(frames) % 3))
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    assert [number_in(frame.image) for frame in frames] == numbers
    assert numbers[-1] == 29
    assert len(frames) + sum(frame.lost for frame in frames) == 30
    assert camera.statistics().lost == 30 - len(frames)


async def test_what_a_frame_tells(video: Path) -> None:
    async with Camera(video) as camera:
        before = trio.current_time()
        frame = await camera.receive()
        after = trio.current_time()
    assert before - 1 < frame.taken_at <= after
    assert frame.age(frame.taken_at + 2) == pytest.approx(2)
    assert 0 <= frame.age() < SOON
    assert frame.size == SIZE
    assert frame.image.shape == (SIZE[1], SIZE[0], 3)
    assert frame.image.dtype == numpy.uint8
    assert repr(frame) == f"Frame(number=0, taken_at={frame.taken_at!r}, lost=0)"
    with pytest.raises(ValueError, match="read-only"):
        frame.image[0, 0] = 0
    assert frame.image.copy().flags.writeable


async def test_what_the_camera_gives(video: Path) -> None:
    camera = Camera(video, wanted=CameraFormat(properties={cv2.CAP_PROP_N_THREADS: 1}))
    assert camera.actual == CameraFormat()
    async with camera:
        assert camera.actual.size == SIZE
        assert camera.actual.rate == 30
        assert camera.actual.fourcc == "MJPG"
        assert camera.actual.properties == {cv2.CAP_PROP_N_THREADS: 1}
        assert repr(camera) == f"<Camera {video}, open>"


@pytest.mark.slow
async def test_a_file_is_read_at_its_rate(video: Path) -> None:
    """A second long, so there are 29 intervals."""
    async with Camera(video, every_frame=True) as camera:
        frames = await all_of(camera)
    assert len(frames) == 30
    assert frames[-1].taken_at - frames[0].taken_at > 29 / 30 - 0.15
    async with Camera(video, every_frame=True, wanted=CameraFormat(rate=300)) as camera:
        frames = await all_of(camera)
    assert 29 / 300 - 0.05 < frames[-1].taken_at - frames[0].taken_at < 29 / 30


async def test_a_file_begins_again_if_it_is_to(video: Path) -> None:
    async with Camera(video, paced=False, loop=True, every_frame=True) as camera:
        frames = [await camera.receive() for _ in range(95)]
    assert [frame.number for frame in frames] == list(range(95))
    assert [number_in(frame.image) for frame in frames] == [number % 30 for number in range(95)]


class CannotWindBack:
    """As some formats are. OpenCV's own class cannot be subclassed: that ends in a crash."""

    def __init__(self) -> None:
        self.capture = really_video_capture()
        self.open = self.capture.open
        self.read = self.capture.read
        self.get = self.capture.get
        self.release = self.capture.release

    def set(self, number: int, value: float) -> bool:
        return False


really_video_capture = cv2.VideoCapture


async def test_a_file_that_cannot_be_wound_back_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", CannotWindBack)
    path = make_video(tmp_path / "copy.avi")
    async with Camera(path, paced=False, loop=True, every_frame=True) as camera:
        frames = [await camera.receive() for _ in range(70)]
        assert [number_in(frame.image) for frame in frames] == [number % 30 for number in range(70)]
        path.unlink()
        with trio.fail_after(SOON), pytest.raises(DeviceGone) as caught:  # noqa: PT012
            while True:
                await camera.receive()
    assert "cannot begin again" in str(caught.value)
    assert "there is no such file" in str(caught.value)


async def test_it_can_be_opened_again(video: Path) -> None:
    camera = Camera(video, paced=False, every_frame=True)
    for _ in range(3):
        async with camera:
            assert [frame.number for frame in await all_of(camera)] == list(range(30))
    assert camera.statistics().connects == 3


async def test_it_works_in_one_run_after_the_other(video: Path) -> None:
    camera = Camera(video, paced=False, every_frame=True)

    async def read() -> int:
        async with camera:
            return (await camera.receive()).number

    assert await trio.to_thread.run_sync(trio.run, read) == 0
    assert await read() == 0


async def test_every_frame_waits_for_who_takes_them(video: Path) -> None:
    async with Camera(video, paced=False, loop=True, every_frame=True) as camera:
        reader = camera._reader
        assert reader is not None
        await until(lambda: len(reader.box._frames) == 4)
        await trio.sleep(0.05)
        frames = [await camera.receive() for _ in range(5)]
        assert [frame.number for frame in frames] == list(range(5))
        assert trio.current_time() - frames[3].taken_at > 0.03


async def test_a_cancelled_receive_takes_nothing(video: Path) -> None:
    async with Camera(video, every_frame=True, loop=True, wanted=CameraFormat(rate=2000)) as camera:
        expected = 0
        for attempt in range(300):
            with trio.move_on_after(0.0003 * (attempt % 3)):
                frame = await camera.receive()
                assert frame.number == expected
                expected += 1
        assert (await camera.receive()).number == expected > 0


async def test_receive_can_be_cancelled_anywhere(video: Path) -> None:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Camera]:
        async with Camera(video, every_frame=True, wanted=CameraFormat(rate=500)) as camera:
            yield camera

    async def numbers(camera: Camera) -> int:
        return (await camera.receive()).number

    async def next_one(camera: Camera) -> int:
        return (await camera.receive()).number

    await cancel_everywhere(opened, numbers, observe=next_one)


async def test_a_sibling_of_the_loop_runs_while_frames_are_there(video: Path) -> None:
    async with (
        Camera(video, paced=False, loop=True, every_frame=True) as camera,
        trio.open_nursery() as nursery,
    ):
        turns = 0

        async def sibling() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        nursery.start_soon(sibling)
        for _ in range(100):
            await camera.receive()
        assert turns >= 100
        nursery.cancel_scope.cancel()


async def test_two_cannot_receive(video: Path) -> None:
    async with Camera(video, wanted=CameraFormat(rate=1)) as camera:
        await camera.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(camera.receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await raises_soon(trio.BusyResourceError, camera.receive)
            nursery.cancel_scope.cancel()


async def test_it_takes_no_messages(video: Path) -> None:
    async with Camera(video) as camera:
        error = await raises_soon(ConfigurationError, lambda: camera.send(b"x"))  # type: ignore[arg-type]
        assert "takes no messages" in str(error)
    assert not camera.sends


# Nodes


async def test_a_node_publishes_frames_and_a_file_begins_again(video: Path) -> None:
    camera = Camera(video, paced=False, every_frame=True)
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(DriverNode("camera", camera, publish="frames"))
    came = scheduler.topic("frames").subscribe()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            numbers = [(await came.receive()).number for _ in range(60)]
        scheduler.stop()
    assert numbers == [*range(30), *range(30)]
    assert camera.state is DriverState.CLOSED


async def test_a_run_can_end_with_its_video(video: Path) -> None:
    class Film(DriverNode):
        async def on_error(self, error: BaseException) -> None:
            await super().on_error(error)
            if isinstance(error, VideoEnded):
                self.request_stop()

    seen: list[int] = []

    async def look(node: horus.Node) -> None:
        seen.extend(frame.number for frame in node.recv_all("frames"))

    scheduler = horus.Scheduler(signals=False)
    scheduler.add(Film("film", Camera(video, paced=False, every_frame=True), publish="frames"))
    scheduler.add(horus.Node("viewer", tick=look, on="frames", subs=Sub("frames", capacity=100)))
    with trio.fail_after(SOON):
        await scheduler.run()
    assert seen == list(range(30))
