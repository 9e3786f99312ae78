"""The inertial sensor's firmware: what it sends, and how its line comes and goes."""

from __future__ import annotations

import itertools
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from horus_trio.cli.demo.codec import FRAME_SIZE, FrameParser
from horus_trio.cli.demo.firmware import RATE, SerialLine, frames


@pytest.fixture
def line(tmp_path: Path) -> Iterator[SerialLine]:
    line = SerialLine(tmp_path / "imu")
    yield line
    line.unplug()


def read(end: int) -> bytes:
    """What the line has now; b"" when it was hung up."""
    ready, _, _ = select.select([end], [], [], 5.0)
    assert ready, "nothing came in 5 s"
    try:
        return os.read(end, 4096)
    except OSError:
        return b""


def test_the_same_seed_sends_the_same() -> None:
    def first(seed: int) -> list[bytes]:
        return list(itertools.islice(frames(seed), 300))

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_frames_are_numbered_and_timed_on_the_grid() -> None:
    parser = FrameParser()
    samples = parser.feed(b"".join(itertools.islice(frames(1, corrupted=0.0), 500)))
    assert [sample.sequence for sample in samples] == list(range(500))
    assert [sample.time for sample in samples] == [number / RATE for number in range(500)]
    assert parser.rejected == 0


def test_about_one_frame_in_a_hundred_is_corrupted_by_one_byte() -> None:
    sent = list(itertools.islice(frames(1), 10_000))
    good = [bool(FrameParser().feed(frame)) for frame in sent]
    assert all(len(frame) == FRAME_SIZE for frame in sent)
    assert 60 <= good.count(False) <= 140


def test_the_line_is_raw_and_hangs_up_and_comes_back(line: SerialLine, tmp_path: Path) -> None:
    every_byte = bytes(range(256))
    line.plug()
    robot = os.open(tmp_path / "imu", os.O_RDWR | os.O_NOCTTY)
    try:
        line.write(every_byte)
        assert read(robot) == every_byte
        line.unplug()
        assert not (tmp_path / "imu").is_symlink()
        assert read(robot) == b""
        line.write(b"nobody there")
    finally:
        os.close(robot)

    line.plug()
    robot = os.open(tmp_path / "imu", os.O_RDWR | os.O_NOCTTY)
    try:
        line.write(b"again")
        assert read(robot) == b"again"
    finally:
        os.close(robot)
    line.unplug()
    line.unplug()


def test_what_nobody_reads_is_lost_without_blocking(line: SerialLine) -> None:
    line.plug()
    for frame in itertools.islice(frames(1), 10_000):  # far more than a line holds
        line.write(frame)
