"""Drivers of Redis keep the contract of drivers, over a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drivers.redis_peers import (
    entry,
    message,
    open_redis,
    pubsub_lines,
    stream_lines,
)

from horus_trio.drivers import ConsumerGroup
from horus_trio.testing import check_driver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.patience(120),
    pytest.mark.usefixtures("untraced"),
]


async def test_a_stream_keeps_it(require: Callable[[str, bool, str], None], tmp_path: Path) -> None:
    with open_redis(require, tmp_path) as redis:
        report = await check_driver(
            lambda peer: peer.make(),
            lambda: stream_lines(redis),
            messages=[entry(1), entry(2), entry(3)],
            number=entry,
            cycles=100,
            stream_bytes=200_000,
        )
    assert [one.rule for one in report.not_tried] == ["one byte at a time"]


async def test_a_stream_read_in_a_group_keeps_it(
    require: Callable[[str, bool, str], None], tmp_path: Path
) -> None:
    with open_redis(require, tmp_path) as redis:
        report = await check_driver(
            lambda peer: peer.make(),
            lambda: stream_lines(redis, group=ConsumerGroup(name="readers", consumer="one")),
            messages=[entry(1), entry(2), entry(3)],
            number=entry,
            cycles=100,
            stream_bytes=200_000,
        )
    assert [one.rule for one in report.not_tried] == ["one byte at a time"]


async def test_channels_keep_it(require: Callable[[str, bool, str], None], tmp_path: Path) -> None:
    with open_redis(require, tmp_path) as redis:
        report = await check_driver(
            lambda peer: peer.make(),
            lambda: pubsub_lines(redis),
            messages=[message(1), message(2), message(3)],
            number=message,
            cycles=100,
            stream_bytes=200_000,
        )
    assert [one.rule for one in report.not_tried] == ["one byte at a time"]
