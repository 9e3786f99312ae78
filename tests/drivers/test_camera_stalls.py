"""`Camera` beside other nodes, in real time: servers that stall, and many cameras."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import trio
from drivers.camera_peers import make_video, number_in, stalling_server
from drivers.steps import until

import horus_trio as horus
from horus_trio import Overflow, Sub
from horus_trio.drivers import Camera, DriverNode, Frame, VideoEnded

pytestmark = [pytest.mark.slow, pytest.mark.alone]

NUMBERS = (11, 22, 33)


async def control(node: horus.Node) -> None:
    """Ticks, and looks at the newest frame."""
    node.latest("frames")


def of_three_hundred(report: horus.RunReport) -> float:
    """Ticks that a 100 Hz node has kept, if it had had three seconds."""
    ticks = report.statistics.nodes["control"]
    assert ticks.ticks_released >= 250
    return 300 * ticks.ok / ticks.ticks_released


async def beside(camera: Camera, watch: object) -> horus.RunReport:
    """A 100 Hz node beside the camera, until `watch` returns."""
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(DriverNode("camera", camera, publish="frames"))
    frames = Sub("frames", capacity=1, overflow=Overflow.LATEST)
    scheduler.add(horus.Node("control", tick=control, rate=100, subs=frames))
    async with trio.open_nursery() as nursery:
        await nursery.start(scheduler.run)
        await watch(scheduler)  # type: ignore[operator]
        scheduler.stop()
    assert scheduler.report is not None
    return scheduler.report


async def survive_three_stalls(folder: Path) -> float:
    """Ticks of three hundred beside a camera whose server stalls for 5 s, three times."""
    with stalling_server(folder, NUMBERS) as (address, said):
        camera = Camera(address, stalled_after=0.75)

        async def watch(scheduler: horus.Scheduler) -> None:
            came = scheduler.topic("frames").subscribe(capacity=100)
            with trio.fail_after(30):
                for stall in range(1, 5):
                    for _ in range(15):
                        frame = await came.receive()
                        assert number_in(frame.image) in NUMBERS  # and not half of one
                    if stall < 4:
                        await until(lambda n=stall: camera.statistics().failures == n)  # type: ignore[misc]
                await until(lambda: said.read_text().count("stalled ") == 3)

        report = await beside(camera, watch)
        lengths = [
            float(line.split()[1]) for line in said.read_text().splitlines() if "ed " in line
        ]
    assert min(lengths) >= 5
    statistics = camera.statistics()
    assert (statistics.failures, statistics.connects) == (3, 4)
    assert "stalled: no frame for 0.75 s" in statistics.last_error
    assert statistics.abandoned == 0
    return of_three_hundred(report)


async def test_a_server_that_stalls_in_a_frame_three_times_disturbs_nobody(tmp_path: Path) -> None:
    best = 0.0
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        best = max(best, await survive_three_stalls(folder))
        if best >= 295:
            break
    assert best >= 295


async def test_a_camera_disturbs_nobody(tmp_path: Path) -> None:
    """One that is read as fast as it goes, so that its thread is always busy."""
    video = make_video(tmp_path / "video.avi", 300)
    best = 0.0

    async def watch(scheduler: horus.Scheduler) -> None:
        await trio.sleep(3)

    for _ in range(3):
        camera = Camera(video, paced=False, loop=True)
        best = max(best, of_three_hundred(await beside(camera, watch)))
        assert camera.statistics().received > 300
        if best >= 295:
            break
    assert best >= 295


async def test_eight_cameras_at_30_hz_each_give_29(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.avi", 300)

    async def rate_of_one(rates: list[float]) -> None:
        async with Camera(video) as camera:
            frames: list[Frame] = []
            with contextlib.suppress(VideoEnded), trio.move_on_after(4):
                while True:
                    frames.append(await camera.receive())
        rates.append((len(frames) - 1) / (frames[-1].taken_at - frames[0].taken_at))

    slowest = 0.0
    for _ in range(3):
        rates: list[float] = []
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(rate_of_one, rates)
        assert len(rates) == 8
        slowest = max(slowest, min(rates))
        if slowest >= 29:
            break
    assert slowest >= 29
