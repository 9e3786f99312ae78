"""`TcpClient` and `TcpServer`: over real connections on the loopback address."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing
from drivers.peers import (
    HOST,
    TcpClientPeer,
    TcpServerPeer,
    descriptors,
    free_port,
    noticed,
    open_tcp_client_peer,
    open_tcp_server_peer,
)
from drivers.steps import (
    SOON,
    closes_in_every_state,
    exchange,
    fills_up,
    gone_in_receive,
    raises_soon,
    through_a_node,
    until,
)

from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    DriverState,
    FrameError,
    Lines,
    SendInterrupted,
    TcpClient,
    TcpServer,
)
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere, check_driver


def make_client(peer: TcpServerPeer) -> TcpClient:
    return TcpClient(HOST, peer.port, framing=Lines())


def make_server(peer: TcpClientPeer) -> TcpServer:
    return noticed(TcpServer(HOST, peer.port, framing=Lines()), peer)


Kind = tuple[Callable[[Any], Any], Callable[[], Any]]

CLIENT: Kind = (make_client, open_tcp_server_peer)
SERVER: Kind = (make_server, open_tcp_client_peer)

both = pytest.mark.parametrize("kind", [CLIENT, SERVER], ids=["client", "server"])


# What every driver does


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@both
async def test_they_keep_the_contract_of_drivers(kind: Kind) -> None:
    await check_driver(*kind)


@both
async def test_a_node_of_them_publishes_and_sends(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer:
        await through_a_node(make(peer), peer)


@both
async def test_they_wait_while_the_other_end_takes_nothing(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer, make(peer) as driver:
        await exchange(driver, peer)
        # Else the system's buffers take megabytes.
        wire = driver._plugged()
        with socket.socket(fileno=socket.dup(wire._write)) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        peer.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await fills_up(driver, peer)


@both
async def test_they_close_in_every_state(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer:
        await closes_in_every_state(lambda: make(peer))


@both
async def test_opened_and_closed_they_leave_nothing(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer:
        driver = make(peer)
        before = descriptors()
        for _ in range(200):
            async with driver:
                pass
        await until(lambda: descriptors() <= before + (kind is SERVER))  # it tries to connect


@both
async def test_open_and_aclose_can_be_cancelled_anywhere(kind: Kind) -> None:
    make, open_peer = kind

    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[tuple[Any, Any]]:
        async with open_peer() as peer:
            driver = make(peer)
            try:
                yield driver, peer
            finally:
                with trio.CancelScope(shield=True):
                    await driver.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[tuple[Any, Any]]:
        async with new() as (driver, peer):
            await driver.open()
            await exchange(driver, peer)
            yield driver, peer

    async def use_open(line: tuple[Any, Any]) -> None:
        await line[0].open()

    async def use_close(line: tuple[Any, Any]) -> None:
        await line[0].aclose()

    async def works(line: tuple[Any, Any]) -> bool:
        await exchange(*line)
        return True

    await cancel_everywhere(new, use_open, observe=works)
    await cancel_everywhere(new_and_open, use_close, observe=lambda line: line[0].state)


@both
async def test_others_run_between_a_question_and_its_answer(kind: Kind) -> None:
    """Though an answer that has come by then is not waited for."""
    make, open_peer = kind
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with open_peer() as peer, make(peer) as driver, trio.open_nursery() as nursery:
        await exchange(driver, peer)
        nursery.start_soon(count)
        for number in range(100):
            before = turns
            await peer.send(b"%d" % number)
            await driver.send(b"?")
            assert await driver.receive() == b"%d" % number
            assert turns > before
        with trio.move_on_after(0.05) as scope:
            await driver.receive()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


# The other end leaves


@both
async def test_the_other_end_leaves_while_a_receive_waits(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer:
        driver = make(peer)
        await driver.open()
        await exchange(driver, peer)
        await gone_in_receive(driver, peer)


@both
async def test_what_came_before_the_other_end_left_is_given_out(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer, make(peer) as driver:
        await peer.write(b"one\ntwo\nthr")
        assert await driver.receive() == b"one"
        await peer.vanish()
        assert await driver.receive() == b"two"
        await raises_soon(DeviceGone, driver.receive)


@both
async def test_the_other_end_leaves_between_sends(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer, make(peer) as driver:
        await exchange(driver, peer)
        await peer.vanish()

        async def send() -> None:
            while True:  # the first may still be taken, until the other end has said no
                await driver.send(b"hello")

        await raises_soon(DeviceGone, send)


@both
async def test_the_other_end_leaves_while_a_send_waits_for_room(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer, make(peer) as driver:
        await exchange(driver, peer)
        peer.pause_reading()
        caught: list[BaseException] = []

        async def fill() -> None:
            while True:
                await driver.send(b"x" * 60_000)

        async def send() -> None:
            caught.append(await raises_soon(DeviceGone, fill))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(0.2)
            await peer.vanish()
        assert len(caught) == 1


@both
async def test_a_send_that_is_cut_says_so(kind: Kind) -> None:
    make, open_peer = kind
    async with open_peer() as peer:
        driver = make(peer)
        driver._framing.max_frame = 30_000_000
        async with driver:
            await exchange(driver, peer)
            peer.pause_reading()
            with trio.move_on_after(0.3) as scope:
                await driver.send(b"x" * 20_000_000)
            assert scope.cancelled_caught
            await raises_soon(SendInterrupted, lambda: driver.send(b"hello"))


async def test_the_client_connects_again() -> None:
    driver = TcpClient(HOST, free_port(), framing=Lines())
    for _ in range(3):
        await raises_soon(ConnectFailed, driver.open)
        [listener] = await trio.open_tcp_listeners(driver._address[1], host=HOST)
        async with listener, driver:
            stream = await listener.accept()
            await stream.send_all(b"hello\n")
            assert await driver.receive() == b"hello"
            await stream.aclose()
            await raises_soon(DeviceGone, driver.receive)
    assert driver.statistics().connects == 3


# The client: hosts that cannot be had


async def refused(host: str, port: int, **arguments: Any) -> ConnectFailed:
    driver = TcpClient(host, port, framing=Lines(), **arguments)
    before = descriptors()
    error = await raises_soon(ConnectFailed, driver.open)
    assert driver.state is DriverState.CLOSED
    assert descriptors() == before
    assert isinstance(error, ConnectFailed)
    assert str(error).startswith(f"TcpClient {host}:{port} cannot be opened: ")
    return error


async def test_nobody_listens() -> None:
    error = await refused(HOST, free_port())
    assert "Connection refused; nothing listens there: start what should" in str(error)
    assert isinstance(error.__cause__, OSError)


async def test_a_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    monkeypatch.setattr("trio._highlevel_open_tcp_stream.getaddrinfo", unknown)
    said = str(await refused("no-such-robot.invalid", 5025))
    assert "'no-such-robot.invalid' cannot be resolved (Name or service not known)" in said
    assert "check the name and the network, or give the address in numbers" in said


async def test_a_host_that_does_not_answer() -> None:
    """A listener whose queue is full says nothing to whoever else wants to connect."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(address)
        said = str(await refused(HOST, address[1], connect_within=0.2))
    assert "it has not answered within 0.2 s; see whether it is switched on" in said


async def test_a_time_out_of_the_system_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr("trio._highlevel_open_tcp_stream.open_tcp_stream", connect)
    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    said = str(await refused(HOST, 9))
    assert "it has not answered (Connection timed out); see whether it is switched on" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"host": ""}, "expected a name or an address"),
        ({"host": None}, "expected a name or an address"),
        ({"port": 0}, "expected a whole number from 1 to 65535"),
        ({"port": "5025"}, "expected a whole number from 1 to 65535"),
        ({"port": True}, "expected a whole number from 1 to 65535"),
        ({"connect_within": 0}, "expected a finite number of seconds above 0"),
        ({"keepalive": 0.5}, "expected seconds from 1 to 32767, or None"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        TcpClient(**{"host": HOST, "port": 5025, "framing": Lines(), **arguments})


# Options of connections


@both
@pytest.mark.parametrize("keepalive", [None, 5.0])
async def test_small_messages_leave_at_once_and_the_dead_are_noticed(
    kind: Kind, keepalive: float | None
) -> None:
    make, open_peer = kind
    async with open_peer() as peer:
        driver = type(make(peer))(HOST, peer.port, framing=Lines(), keepalive=keepalive)
        async with driver:
            await exchange(driver, peer)
            with socket.socket(fileno=socket.dup(driver._plugged()._read)) as end:
                assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                asks = end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert bool(asks) == (keepalive is not None)
                if keepalive is not None and hasattr(socket, "TCP_KEEPIDLE"):
                    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5


# The server


async def test_it_listens_at_a_free_port_and_says_which() -> None:
    server = TcpServer(framing=Lines())
    with pytest.raises(trio.ClosedResourceError):
        _ = server.address
    async with server:
        host, port = server.address
        assert host == HOST
        assert port > 0
        assert f"{HOST}:{port}" in repr(server)
        assert server.client is None
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(b"hello\n")
            assert await server.receive() == b"hello"
            assert server.client == stream.socket.getsockname()
            assert server.address == (host, port)
    assert server.client is None


async def test_it_listens_only_where_it_was_told() -> None:
    async with TcpServer(framing=Lines()) as server:
        other = "127.0.0.2"  # this machine, too
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream(other, server.address[1])


async def test_a_send_waits_for_the_device() -> None:
    async with TcpServer(framing=Lines()) as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.send, b"hello")
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with await trio.open_tcp_stream(*server.address) as stream:
            assert await stream.receive_some() == b"hello\n"


async def test_receive_and_send_wait_for_the_same_device() -> None:
    async with TcpServer(framing=Lines()) as server, trio.open_nursery() as nursery:
        came: list[bytes] = []

        async def receive() -> None:
            came.append(await server.receive())

        nursery.start_soon(receive)
        nursery.start_soon(server.send, b"hello")
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(SOON):
            stream = await trio.open_tcp_stream(*server.address)
            await stream.send_all(b"here\n")
            assert await stream.receive_some() == b"hello\n"
            await until(lambda: came)
            await stream.aclose()
    assert came == [b"here"]


async def test_what_cannot_be_sent_is_refused_before_a_device_is_there() -> None:
    async with TcpServer(framing=Lines()) as server:
        await raises_soon(FrameError, lambda: server.send(b"two\nlines"))


async def test_a_second_device_is_refused() -> None:
    async with TcpServer(framing=Lines()) as server:
        first = await trio.open_tcp_stream(*server.address)
        async with first:
            await first.send_all(b"first\n")
            assert await server.receive() == b"first"
            with pytest.raises(OSError, match="failed"):
                await trio.open_tcp_stream(*server.address)
            await first.send_all(b"still here\n")
            assert await server.receive() == b"still here"


async def test_the_next_device_is_served_after_it_was_opened_again() -> None:
    server = TcpServer(HOST, free_port(), framing=Lines())
    for number in range(3):
        async with server:
            async with await trio.open_tcp_stream(*server.address) as stream:
                await stream.send_all(b"device %d\nhal" % number)
                assert await server.receive() == b"device %d" % number
            await raises_soon(DeviceGone, server.receive)
    assert server.statistics().connects == 3
    assert server.statistics().discarded == 2 * len(b"hal")  # the third is to be forgotten yet


async def test_receive_waits_cancelled_and_closed_while_there_is_no_device() -> None:
    server = TcpServer(framing=Lines())
    async with server:
        with trio.move_on_after(0.05) as scope:
            await server.receive()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            for call in (server.receive, lambda: server.send(b"x")):
                nursery.start_soon(raises_soon, trio.ClosedResourceError, call)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await server.aclose()


async def test_a_port_that_another_program_has() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        server = TcpServer(HOST, other.getsockname()[1], framing=Lines())
        error = await raises_soon(ConnectFailed, server.open)
    assert "Address already in use; another program has this port" in str(error)


async def test_an_address_that_is_not_ours() -> None:
    server = TcpServer("192.0.2.1", 9000, framing=Lines())
    error = await raises_soon(ConnectFailed, server.open)
    assert "this machine has no such address" in str(error)


async def test_a_server_without_descriptors_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever receives again would be told so again, as fast as it can."""

    def accept(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with TcpServer(framing=Lines()) as server:
        async with await trio.open_tcp_stream(*server.address):
            monkeypatch.setattr(socket.socket, "accept", accept)
            error = await raises_soon(DeviceGone, server.receive)
        assert "can take no connection" in str(error)


def test_every_address_is_not_meant_by_none() -> None:
    with pytest.raises(ConfigurationError, match=r'all addresses of this machine are "0\.0\.0\.0"'):
        TcpServer("", 9000, framing=Lines())
