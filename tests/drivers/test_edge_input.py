"""`EdgeInput`: over real pipes, FIFOs, terminals, and what has urgent data (POLLPRI)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import socket
import struct
import termios
import time
import tty
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from drivers.file_peers import EdgeBytes, PipePeer, open_pipe_peer
from drivers.steps import closes_in_every_state, leaks_nothing, raises_soon, until

import horus_trio as horus
from horus_trio.drivers import ConnectFailed, DeviceGone, DriverNode, DriverState, Edge, EdgeInput
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere, check_driver

SOON = 10.0


def mixed(number: int) -> bytes:
    """Levels in disorder."""
    return b"%d" % (number * 2654435761 >> 9 & 1)


async def levels(source: EdgeInput, count: int) -> str:
    with trio.fail_after(SOON):
        edges = [await source.receive() for _ in range(count)]
    return "".join(str(int(edge.level)) for edge in edges)


# What every driver does


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers() -> None:
    report = await check_driver(
        lambda peer: EdgeBytes(peer.read),
        open_pipe_peer,
        messages=(b"1", b"0"),
        number=mixed,
        encode=bytes,
        stream_bytes=300_000,
        cycles=1000,
    )
    assert {rule.reason for rule in report.not_tried} == {"the driver takes no messages"}


async def test_it_closes_in_every_state() -> None:
    async with open_pipe_peer() as peer:
        await closes_in_every_state(lambda: EdgeInput(peer.read))


async def test_opened_and_closed_it_leaves_nothing() -> None:
    async with open_pipe_peer() as peer:
        await leaks_nothing(lambda: EdgeInput(peer.read), 300)


async def test_a_node_of_it_publishes_edges_and_opens_it_again(tmp_path: Path) -> None:
    fifo = tmp_path / "button"
    scheduler = horus.Scheduler(signals=False)
    driver = EdgeInput(fifo)
    scheduler.add(DriverNode("button", driver, publish="edge"))
    came = scheduler.topic("edge").subscribe()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(SOON):
            await nursery.start(scheduler.run)
            os.mkfifo(fifo)
            numbers = []
            for _ in range(3):
                writer = await trio.to_thread.run_sync(os.open, fifo, os.O_WRONLY)
                os.write(writer, b"10")
                numbers += [(await came.receive()).number, (await came.receive()).number]
                os.close(writer)
                await until(lambda: driver.state is not DriverState.OPEN)
        scheduler.stop()
    assert numbers == list(range(6))
    assert driver.statistics().connects >= 3


@pytest.mark.parametrize("debounce", [None, 0.001])
async def test_it_can_be_cancelled_anywhere(debounce: float | None) -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[tuple[EdgeInput, PipePeer]]:
        async with open_pipe_peer() as peer:
            source = EdgeInput(peer.read, debounce=debounce)
            try:
                yield source, peer
            finally:
                with trio.CancelScope(shield=True):
                    await source.aclose()

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[tuple[EdgeInput, PipePeer]]:
        async with new() as (source, peer):
            await source.open()
            await peer.send(b"1")
            yield source, peer

    async def works(line: tuple[EdgeInput, PipePeer]) -> str:
        await line[1].send(b"1")
        return await levels(line[0], 1)

    async def then_low(line: tuple[EdgeInput, PipePeer]) -> str:
        await line[1].send(b"0")
        return await levels(line[0], 1)

    async def receive(line: tuple[EdgeInput, PipePeer]) -> tuple[bool, int]:
        edge = await line[0].receive()
        return edge.level, edge.number

    async def closed(line: tuple[EdgeInput, PipePeer]) -> DriverState:
        return line[0].state

    await cancel_everywhere(new, lambda line: line[0].open(), observe=works)
    await cancel_everywhere(opened, lambda line: line[0].aclose(), observe=closed)
    await cancel_everywhere(opened, receive, observe=then_low)


# Levels


async def test_each_byte_is_an_edge_and_other_bytes_are_counted() -> None:
    async with open_pipe_peer() as peer, EdgeInput(peer.read) as source:
        assert source.level is None
        before = trio.current_time()
        await peer.send(b"1\n0 x1\r\n1?")
        with trio.fail_after(SOON):
            edges = [await source.receive() for _ in range(4)]
        assert [edge.level for edge in edges] == [True, False, True, True]
        assert [edge.number for edge in edges] == [0, 1, 2, 3]
        assert all(before <= edge.at <= trio.current_time() for edge in edges)
        assert source.level is True
        counted = source.statistics()
    assert (counted.bytes_received, counted.discarded, counted.lost) == (10, 2, 0)


async def test_no_edge_is_lost_however_late_and_cancelled_the_receiver_is() -> None:
    count = 20_000
    sent = b"".join(map(mixed, range(count)))
    async with open_pipe_peer() as peer, EdgeInput(peer.read) as source:
        await peer.send(sent)
        came = bytearray()
        with trio.fail_after(SOON):
            for number in range(count):
                if number % 7 == 0:
                    with trio.CancelScope() as scope:
                        scope.cancel()
                        await source.receive()
                came += b"%d" % (await source.receive()).level
        assert came == sent


async def test_the_times_are_those_of_trios_clock(mock_clock: trio.testing.MockClock) -> None:
    async with open_pipe_peer() as peer, EdgeInput(peer.read) as source:
        mock_clock.jump(100.0)
        await peer.send(b"1")
        assert await source.receive() == Edge(level=True, number=0, at=100.0)


async def test_what_came_before_a_hang_up_is_given_out() -> None:
    async with open_pipe_peer() as peer, EdgeInput(peer.read, debounce=0.01) as source:
        await peer.send(b"101")
        await peer.vanish()
        assert await levels(source, 1) == "1"
        error = await raises_soon(DeviceGone, source.receive)
        assert "is gone: the other end has closed it" in str(error)
        assert source.bounces == 2


async def test_a_terminal_and_its_hang_up() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        async with EdgeInput(os.ttyname(slave)) as source:
            os.close(slave)
            os.write(master, b"10\r\n")
            assert await levels(source, 2) == "10"
            os.close(master)
            master = -1
            await raises_soon(DeviceGone, source.receive)
    finally:
        if master >= 0:
            os.close(master)


# Debounce


@contextlib.asynccontextmanager
async def debounced(clock: trio.testing.MockClock) -> AsyncIterator[tuple[EdgeInput, Player]]:
    async with (
        open_pipe_peer() as peer,
        EdgeInput(peer.read, debounce=0.02) as source,
        trio.open_nursery() as nursery,
    ):
        player = Player(clock, peer, source)
        nursery.start_soon(player.listen)
        yield source, player
        nursery.cancel_scope.cancel()


class Player:
    """Makes edges at given instants of a virtual clock, and keeps those that come."""

    def __init__(self, clock: trio.testing.MockClock, peer: PipePeer, source: EdgeInput) -> None:
        self.clock = clock
        self.peer = peer
        self.source = source
        self.came: list[tuple[bool, float]] = []

    async def listen(self) -> None:
        while True:
            edge = await self.source.receive()
            self.came.append((edge.level, round(edge.at, 6)))

    async def play(self, *edges: tuple[float, bytes]) -> None:
        for at, level in edges:
            await self.until(at)
            await self.peer.send(level)
            await trio.testing.wait_all_tasks_blocked(0.002)

    async def until(self, at: float) -> None:
        while (left := at - trio.current_time()) > 1e-9:
            self.clock.jump(left if left > 0.5 else min(left, 0.001))
            await trio.testing.wait_all_tasks_blocked(0.0002)


async def test_an_edge_counts_when_the_level_has_stayed(mock_clock: trio.testing.MockClock) -> None:
    async with debounced(mock_clock) as (source, player):
        await player.play((1.0, b"1"))
        await player.until(1.019)
        assert player.came == []
        await player.until(1.025)
        assert player.came == [(True, 1.0)]
        assert source.bounces == 0


async def test_bounces_are_left_out_and_counted(mock_clock: trio.testing.MockClock) -> None:
    async with debounced(mock_clock) as (source, player):
        await player.play((1.0, b"1"), (1.004, b"0"), (1.008, b"1"))  # a contact that bounces
        await player.until(1.03)
        assert player.came == [(True, 1.008)]
        assert source.bounces == 2
        await player.play((2.0, b"0"), (2.005, b"1"))  # a glitch leads back
        await player.until(2.03)
        assert player.came == [(True, 1.008)]
        assert source.bounces == 4
        await player.play((3.0, b"0"))
        await player.until(3.03)
        assert player.came == [(True, 1.008), (False, 3.0)]


async def test_thousands_of_glitches_at_once_are_left_out() -> None:
    async with open_pipe_peer() as peer, EdgeInput(peer.read, debounce=0.001) as source:
        await peer.send(b"1" + b"01" * 30_000)
        assert await levels(source, 1) == "1"
        assert source.bounces == 60_000


# A value that is read again


@contextlib.contextmanager
def urgent() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection whose urgent data is POLLPRI, and is read in its place."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        speaks = socket.create_connection(listener.getsockname())
        hears, _ = listener.accept()
    hears.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    with speaks, hears:
        yield speaks, hears


async def test_an_exception_of_the_descriptor_is_an_edge() -> None:
    with urgent() as (speaks, hears):
        async with EdgeInput(hears.fileno(), form="value") as source:
            for number in range(10):
                got: list[Edge] = []

                async def receive(got: list[Edge] = got) -> None:
                    got.append(await source.receive())

                with trio.fail_after(SOON):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(receive)
                        await trio.testing.wait_all_tasks_blocked(0.001)
                        speaks.send(b"%d" % (number % 2), socket.MSG_OOB)
                assert (got[0].level, got[0].number) == (bool(number % 2), number)


async def test_what_is_readable_without_an_exception_is_no_edge() -> None:
    with urgent() as (speaks, hears):
        async with EdgeInput(hears.fileno(), form="value") as source:
            speaks.send(b"1")
            with trio.move_on_after(0.05) as scope:
                await source.receive()
            assert scope.cancelled_caught


async def test_a_status_of_a_terminal_in_packet_mode_is_an_exception() -> None:
    """Another thing that has POLLPRI; its status is no level, and says so."""
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(master, termios.TIOCPKT, struct.pack("i", 1))
        async with EdgeInput(master, form="value") as source:
            termios.tcflush(slave, termios.TCOFLUSH)
            with trio.move_on_after(0.05):
                await source.receive()
            assert source.statistics().discarded == 1
    finally:
        os.close(master)
        os.close(slave)


async def test_a_value_whose_edges_nobody_looks_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "value")
    (tmp_path / "edge").write_text("none\n")
    error = await raises_soon(ConnectFailed, EdgeInput(tmp_path / "value", form="value").open)
    assert f"echo both > {tmp_path / 'edge'}" in str(error)


async def test_a_level_that_has_not_changed_was_elsewhere_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edge").write_text("both\n")
    (tmp_path / "value").touch()
    with urgent() as (speaks, hears):
        monkeypatch.setattr(EdgeInput, "_open", lambda self: os.dup(hears.fileno()))
        async with EdgeInput(tmp_path / "value", form="value") as source:
            for level in (b"1", b"1", b"0"):
                speaks.send(level, socket.MSG_OOB)
                assert await levels(source, 1) == level.decode()
            assert source.statistics().lost == 1


async def test_a_level_that_has_changed_while_it_was_closed_is_an_edge() -> None:
    with urgent() as (speaks, hears):
        source = EdgeInput(hears.fileno(), form="value")
        speaks.send(b"0")
        await readable(hears)
        async with source:
            assert source.level is False
        speaks.send(b"1")
        await readable(hears)
        async with source:
            assert await levels(source, 1) == "1"
        speaks.send(b"1")
        await readable(hears)
        async with source:
            with trio.move_on_after(0.02) as scope:
                await source.receive()
            assert scope.cancelled_caught


async def readable(end: socket.socket) -> None:
    with trio.fail_after(SOON):
        await trio.lowlevel.wait_readable(end)


# Records of a gpiochip


def record(nanoseconds: int, kind: int, number: int) -> bytes:
    return struct.pack("=QIIII", nanoseconds, kind, 17, number, number) + bytes(24)


async def test_records_have_their_times_and_losses() -> None:
    async with open_pipe_peer() as peer, EdgeInput(peer.read, form="gpiochip") as source:
        now = time.monotonic_ns()
        data = b"".join(
            record(now - age, kind, number)
            for age, kind, number in (
                (2_000_000_000, 1, 1),
                (1_000_000_000, 2, 2),
                (500_000_000, 1, 5),
                (400_000_000, 7, 6),
            )
        )
        assert len(data) == 4 * 48
        await peer.send(data[:60])
        assert await levels(source, 1) == "1"
        await peer.send(data[60:])
        with trio.fail_after(SOON):
            edges = [await source.receive() for _ in range(2)]
        assert [edge.level for edge in edges] == [False, True]
        assert edges[1].at - edges[0].at == pytest.approx(0.5, abs=1e-6)
        assert 0.5 <= trio.current_time() - edges[1].at < SOON
        counted = source.statistics()
    assert (counted.lost, counted.discarded) == (2, 48)


async def test_records_are_debounced_by_their_times_however_late() -> None:
    async with (
        open_pipe_peer() as peer,
        EdgeInput(peer.read, form="gpiochip", debounce=0.02) as source,
    ):
        began = time.monotonic_ns() - 10**9
        played = [(0, 1), (5, 2), (9, 1), (100, 2), (300, 1), (301, 2), (500, 1)]
        for number, (milliseconds, kind) in enumerate(played):
            await peer.send(record(began + milliseconds * 10**6, kind, number))
        with trio.fail_after(SOON):
            edges = [await source.receive() for _ in range(3)]
        assert [edge.level for edge in edges] == [True, False, True]
        gaps = [edges[1].at - edges[0].at, edges[2].at - edges[1].at]
        assert gaps == pytest.approx([0.091, 0.4], abs=1e-6)
        assert source.bounces == 4


# What cannot be opened


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"source": -1}, "expected a path, or a descriptor, 0 or more"),
        ({"source": True}, "expected a path, or a descriptor"),
        ({"source": ""}, "expected a path, such as '/sys/class/gpio"),
        ({"source": 3.5}, "expected a path"),
        ({"source": "a\0b"}, "expected a path"),
        ({"source": 0, "form": "sysfs"}, "expected 'levels', 'value' or 'gpiochip'"),
        ({"source": 0, "debounce": 0}, "expected a finite number of seconds above 0"),
        ({"source": 0, "debounce": float("inf")}, "expected a finite number"),
        ({"source": 0, "debounce": True}, "expected a finite number"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        EdgeInput(**arguments)


async def test_what_is_not_there_or_tells_of_nothing(tmp_path: Path) -> None:
    error = await raises_soon(ConnectFailed, EdgeInput(tmp_path / "value").open)
    assert "echo 17 > /sys/class/gpio/export" in str(error)
    error = await raises_soon(ConnectFailed, EdgeInput(tmp_path).open)
    assert "it is a folder; expected the file in it" in str(error)
    (tmp_path / "plain").write_text("1")
    for path in (tmp_path / "plain", Path("/dev/null")):
        error = await raises_soon(ConnectFailed, EdgeInput(path).open)
        assert "tells of no edges" in str(error)
    read, write = os.pipe()
    os.close(write)
    os.close(read)
    error = await raises_soon(ConnectFailed, EdgeInput(read).open)
    assert "there is no such descriptor open in this process" in str(error)


async def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: EdgeInput) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(EdgeInput, "_open", refuse)
    error = await raises_soon(ConnectFailed, EdgeInput(tmp_path / "value").open)
    assert "join the group that owns it" in str(error)


def test_its_repr_says_where_it_is() -> None:
    assert repr(EdgeInput("/sys/class/gpio/gpio17/value")) == (
        "<EdgeInput /sys/class/gpio/gpio17/value, new>"
    )
    assert repr(EdgeInput(5)) == "<EdgeInput 5, new>"
