"""`WebSocketClient`: whether the server is there, and how the two part. Mostly on virtual time."""

from __future__ import annotations

import struct

import pytest
import trio
import trio.testing
from drivers.steps import SOON, until

import horus_trio as horus
from horus_trio.drivers import DeviceGone, DriverNode, DriverState, WebSocketClient
from horus_trio.drivers.websocket.line import Line
from horus_trio.errors import TickAbandoned
from horus_trio.messages import Fence, current_fence

pytest.importorskip("trio_websocket")
from drivers.websocket_peers import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    HandMade,
    frame,
    open_by_hand,
    open_websocket_peer,
)


async def silent(server: HandMade) -> None:
    """Agrees, and takes no notice of anything."""
    await server.agree()
    await trio.sleep_forever()


async def fill(line: Line) -> None:
    """Nothing goes into it any more; what is owed then is whole with what has gone."""
    before = -1
    while before != line._traffic.sent:
        before = line._traffic.sent
        while line.say():
            line.owe(line.talk.ping() * 10_000)
        await trio.sleep(0.2)  # the system moves data from one end to the other


async def test_a_silent_server_is_asked_and_then_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    heard: list[tuple[float, int, bytes]] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        while True:
            opcode, payload = await server.read_frame()
            heard.append((trio.current_time() - began, opcode, payload))

    async with open_by_hand(serve) as url, WebSocketClient(url, keepalive=10) as driver:
        began = trio.current_time()
        with pytest.raises(DeviceGone, match="says nothing, and was asked 10 s ago"):
            await driver.receive()
        assert trio.current_time() - began == 20
        assert driver.state is DriverState.BROKEN
    assert heard == [(10, PING, b"")]


async def test_a_server_that_answers_is_asked_again_and_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked: list[float] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        while True:
            opcode, payload = await server.read_frame()
            if opcode != PING:
                return
            asked.append(trio.current_time() - began)
            await trio.sleep(3)
            await server.stream.send_all(frame(payload, PONG))

    async with open_by_hand(serve) as url, WebSocketClient(url, keepalive=10) as driver:
        began = trio.current_time()
        with trio.move_on_after(60):
            await driver.receive()
        assert driver.state is DriverState.OPEN
    assert asked == [10, 23, 36, 49]


async def test_one_that_is_asked_in_short_calls_is_asked_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_by_hand(silent) as url, WebSocketClient(url, keepalive=10) as driver:
        began = trio.current_time()

        async def receive_in_slices() -> None:
            while True:
                with trio.move_on_after(0.75):
                    await driver.receive()

        with pytest.raises(DeviceGone, match="says nothing"):
            await receive_in_slices()
        assert trio.current_time() - began == 20


async def test_one_that_speaks_is_never_asked(autojump_clock: trio.testing.MockClock) -> None:
    heard: list[tuple[int, bytes]] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        for number in range(10):
            await trio.sleep(9)
            await server.stream.send_all(frame(f"{number}"))
        heard.extend(await server.read_to_the_end())

    async with open_by_hand(serve) as url, WebSocketClient(url, keepalive=10) as driver:
        for number in range(10):
            assert await driver.receive() == f"{number}"
    assert heard == [(CLOSE, struct.pack("!H", 1000))]


async def test_half_a_message_is_a_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(server: HandMade) -> None:
        await server.agree()
        for byte in frame("slowly"):
            await trio.sleep(9)
            await server.stream.send_all(bytes([byte]))
        await server.read_to_the_end()

    async with open_by_hand(serve) as url, WebSocketClient(url, keepalive=10) as driver:
        assert await driver.receive() == "slowly"


async def test_what_came_while_nobody_listened_is_a_sign_of_life(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(server: HandMade) -> None:
        await server.agree(frame("1"))
        opcode, payload = await server.read_frame()
        assert opcode == PING
        await trio.sleep(50)
        await server.stream.send_all(frame(payload, PONG))
        await server.read_to_the_end()

    async with open_by_hand(serve) as url, WebSocketClient(url, keepalive=10) as driver:
        await trio.sleep(100)
        assert await driver.receive() == "1"
        await trio.sleep(100)
        with trio.move_on_after(5):  # it is asked at once, since it has been silent for long
            await driver.receive()
        await trio.sleep(100)
        with trio.move_on_after(9.5):  # the answer is there
            await driver.receive()
        assert driver.state is DriverState.OPEN


async def test_without_keepalive_it_is_never_asked(autojump_clock: trio.testing.MockClock) -> None:
    heard: list[tuple[int, bytes]] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        heard.extend(await server.read_to_the_end())

    async with open_by_hand(serve) as url, WebSocketClient(url, keepalive=None) as driver:
        with trio.move_on_after(100_000):
            await driver.receive()
    assert heard == [(CLOSE, struct.pack("!H", 1000))]


async def test_a_server_that_takes_a_long_message_slowly_is_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Though it says nothing, and cannot be asked in the middle of the message."""
    opcodes: list[int] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        read = server._read

        async def read_slowly() -> None:
            await trio.sleep(0.1)
            await read()

        server._read = read_slowly  # type: ignore[method-assign]
        opcodes.extend(opcode for opcode, _ in await server.read_to_the_end())
        done.set()

    done = trio.Event()
    async with open_by_hand(serve) as url:
        driver = WebSocketClient(url, keepalive=10, max_message=2**24)
        async with driver, trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await driver.receive()

            nursery.start_soon(receive)
            began = trio.current_time()
            await driver.send(bytes(2**24))
            assert trio.current_time() - began > 10
            await driver.aclose()
        await done.wait()
    assert opcodes == [BINARY, CLOSE]


@pytest.mark.slow
async def test_a_ping_is_answered_as_soon_as_a_full_line_has_room() -> None:
    """Though nothing else happens."""
    go_on, answered = trio.Event(), trio.Event()

    async def serve(server: HandMade) -> None:
        await server.agree()
        await go_on.wait()
        await server.stream.send_all(frame(b"there?", PING) + frame("received"))
        await until(lambda: received)
        while True:
            opcode, payload = await server.read_frame()
            if (opcode, payload) == (PONG, b"there?"):
                answered.set()

    received: list[object] = []

    async def receive_all() -> None:
        while True:
            received.append(await driver.receive())

    async with open_by_hand(serve) as url:
        driver = WebSocketClient(url, keepalive=None)
        async with driver, trio.open_nursery() as nursery:
            assert driver._line is not None
            await fill(driver._line)
            nursery.start_soon(receive_all)
            go_on.set()
            with trio.fail_after(SOON):
                await answered.wait()
            nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_stopped_server_is_replaced_behind_a_node() -> None:
    """On real sockets and real time: it takes connections, and answers no pings."""
    served = 0

    async def serve(server: HandMade) -> None:
        nonlocal served
        served += 1
        await server.agree()
        opcode, payload = await server.read_frame()
        assert (opcode, payload) == (TEXT, b"subscribe")
        if served == 1:
            await trio.sleep_forever()
        await server.stream.send_all(frame("data"))
        await server.read_to_the_end()

    scheduler = horus.Scheduler(signals=False)
    async with open_by_hand(serve) as url, trio.open_nursery() as nursery:
        driver = WebSocketClient(url, subscribe=["subscribe"], keepalive=0.2)
        scheduler.add(DriverNode("server", driver, publish="in"))
        came = scheduler.topic("in").subscribe()
        nursery.start_soon(scheduler.run)
        with trio.fail_after(SOON):
            assert await came.receive() == "data"
        assert served == 2
        assert driver.statistics().connects == 2
        assert "says nothing, and was asked 0.2 s ago" in driver.statistics().last_error
        scheduler.stop()


async def test_a_node_that_only_sends_answers_pings_and_notices_the_end() -> None:
    served = 0
    over = trio.Event()

    async def serve(server: HandMade) -> None:
        nonlocal served
        served += 1
        await server.agree()
        if served == 2:
            over.set()
            await server.read_to_the_end()
            return
        await server.stream.send_all(frame("news") + frame(b"", opcode=PING))
        assert await server.read_frame() == (PONG, b"")

    scheduler = horus.Scheduler(signals=False)
    async with open_by_hand(serve) as url, trio.open_nursery() as nursery:
        driver = WebSocketClient(url)
        scheduler.add(DriverNode("server", driver, listen="out"))
        nursery.start_soon(scheduler.run)
        with trio.fail_after(SOON):
            await over.wait()
            await until(lambda: driver.statistics().connects == 2 and driver._receiving)
        assert driver.statistics().discarded == len("news")
        with pytest.raises(trio.BusyResourceError):
            await driver.receive()
        scheduler.stop()


async def test_who_receives_need_not_be_attended() -> None:
    async with open_by_hand(silent) as url, WebSocketClient(url) as driver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="another task is receiving"):
                await driver.attend()
            nursery.cancel_scope.cancel()
        with trio.move_on_after(0.01) as scope:
            await driver.attend()
        assert scope.cancelled_caught
        assert driver.state is DriverState.OPEN


# How they part


@pytest.mark.parametrize("closes", [True, False])
async def test_closing_says_so_and_waits_a_little(
    closes: bool, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[tuple[int, bytes]] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        heard.extend(await server.read_to_the_end())
        if not closes:
            await trio.sleep_forever()

    async with open_by_hand(serve) as url:
        driver = WebSocketClient(url)
        await driver.open()
        began = trio.current_time()
        await driver.aclose()
        assert trio.current_time() - began == (0 if closes else 1)
        assert heard == [(CLOSE, struct.pack("!H", 1000))]
        await driver.aclose()


async def test_a_server_that_talks_on_is_not_listened_to_for_long() -> None:
    async def serve(server: HandMade) -> None:
        await server.agree()
        while True:
            await server.stream.send_all(frame(bytes(60_000)))

    async with open_by_hand(serve) as url:
        driver = WebSocketClient(url)
        for _ in range(2):
            await driver.open()
            await driver.receive()
            with trio.fail_after(SOON), trio.move_on_after(0.1) as scope:
                await driver.aclose()
            assert scope.cancelled_caught
            assert driver.state is DriverState.CLOSED
            await driver.aclose()


async def test_opened_again_while_it_is_closed_the_two_do_not_meet() -> None:
    async with open_websocket_peer() as peer:
        driver = WebSocketClient(peer.url)
        await driver.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.aclose)
            await until(lambda: driver.state is DriverState.CLOSED)
            await driver.open()
        assert driver.state is DriverState.OPEN
        await driver.send("new")
        with trio.fail_after(SOON):
            assert await peer.receive() == "new"
        await driver.aclose()


# The fence of a tick that was given up


async def test_an_abandoned_tick_sends_nothing_after_it_has_waited() -> None:
    go_on, done = trio.Event(), trio.Event()
    heard: list[tuple[int, bytes]] = []

    async def serve(server: HandMade) -> None:
        await server.agree()
        await go_on.wait()
        heard.extend(await server.read_to_the_end())
        done.set()

    async def send_in_a_tick() -> None:
        current_fence.set(fence)
        with pytest.raises(TickAbandoned):
            await driver.send("STOP")

    fence = Fence("arm")
    async with open_by_hand(serve) as url:
        driver = WebSocketClient(url)
        async with driver:
            assert driver._line is not None
            await fill(driver._line)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_in_a_tick)
                await trio.testing.wait_all_tasks_blocked()
                fence.close()
                go_on.set()
            await driver.send("from elsewhere")
        with trio.fail_after(SOON):
            await done.wait()
    assert [one for one in heard if one[0] != PING] == [
        (TEXT, b"from elsewhere"),
        (CLOSE, struct.pack("!H", 1000)),
    ]
