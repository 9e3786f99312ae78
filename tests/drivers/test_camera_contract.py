"""`Camera` over a local MJPEG server: what every driver does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from drivers.camera_peers import MjpegPeer, NumberCamera, open_mjpeg_peer, part_of
from drivers.steps import closes_in_every_state, leaks_nothing, until

import horus_trio as horus
from horus_trio.drivers import DriverNode, DriverState
from horus_trio.testing import cancel_everywhere, check_driver


def make_camera(peer: MjpegPeer, **options: Any) -> NumberCamera:
    return NumberCamera(peer, stalled_after=20, **options)


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("every_frame", [False, True])
async def test_it_keeps_the_contract_of_drivers(every_frame: bool) -> None:
    report = await check_driver(
        lambda peer: make_camera(peer, every_frame=every_frame),
        open_mjpeg_peer,
        messages=(1, 2, 3),
        number=lambda number: number + 10,
        encode=part_of,
        stream_bytes=100_000,
        cycles=200,
    )
    assert {str(one.rule) for one in report.not_tried} == {
        "cancelled send",
        "back-pressure",
        "half a message",
    }


async def test_it_closes_in_every_state() -> None:
    async with open_mjpeg_peer() as peer:
        await closes_in_every_state(lambda: make_camera(peer))


async def test_opened_and_closed_it_leaves_nothing() -> None:
    async with open_mjpeg_peer() as peer:
        await leaks_nothing(lambda: make_camera(peer), 50)


async def test_open_receive_and_aclose_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[tuple[NumberCamera, MjpegPeer]]:
        async with open_mjpeg_peer() as peer:
            camera = make_camera(peer, max_abandoned=100)
            try:
                yield camera, peer
            finally:
                with trio.CancelScope(shield=True):
                    await camera.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[tuple[NumberCamera, MjpegPeer]]:
        async with new() as (camera, peer):
            await camera.open()
            await peer.send(7)
            yield camera, peer

    async def works(pair: tuple[NumberCamera, MjpegPeer]) -> bool:
        camera, peer = pair
        await peer.send(8)
        number: Any = await camera.receive()
        assert number == 8
        return True

    async def refused(pair: tuple[NumberCamera, MjpegPeer]) -> DriverState:
        return pair[0].state

    async def received(pair: tuple[NumberCamera, MjpegPeer]) -> object:
        camera, peer = pair
        await peer.send(8)
        number: Any = None
        while number != 8:
            number = await camera.receive()
        return number

    await cancel_everywhere(new, lambda pair: pair[0].open(), observe=works)
    await cancel_everywhere(new_and_open, lambda pair: pair[0].receive(), observe=received)
    await cancel_everywhere(new_and_open, lambda pair: pair[0].aclose(), observe=refused)


async def test_a_thread_that_connects_late_takes_nothing_away() -> None:
    """As that of an `open` that was cancelled may."""
    async with open_mjpeg_peer() as peer, make_camera(peer) as camera:
        async with await trio.open_tcp_stream("127.0.0.1", peer.port) as late:
            await late.send_all(b"GET /video HTTP/1.1\r\n\r\n")
            await until(lambda: len(peer.served) == 2)
            await peer.send(1)
            number: Any = await camera.receive()
            assert number == 1
        await until(lambda: len(peer.served) == 1)
        await peer.send(2)
        number = await camera.receive()
        assert number == 2


async def test_a_node_connects_again_when_the_server_has_been_away() -> None:
    async with open_mjpeg_peer() as peer:
        camera = make_camera(peer)
        scheduler = horus.Scheduler(signals=False)
        scheduler.add(DriverNode("camera", camera, publish="number"))
        came = scheduler.topic("number").subscribe()
        async with trio.open_nursery() as nursery:
            with trio.fail_after(20):
                await nursery.start(scheduler.run)
                for number in range(3):
                    await until(lambda times=number + 1: camera.statistics().connects == times)  # type: ignore[misc]
                    await peer.send(number)
                    assert await came.receive() == number
                    await trio.aclose_forcefully(await peer.connected())
            scheduler.stop()
    statistics = camera.statistics()
    assert statistics.connects >= 3
    assert "gives no more frames" in statistics.last_error
