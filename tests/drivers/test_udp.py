"""`Udp`: over real sockets on the loopback address."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from drivers.peers import HOST, UdpPeer, free_port, open_udp_peer
from drivers.steps import (
    closes_in_every_state,
    exchange,
    leaks_nothing,
    raises_soon,
    through_a_node,
)

from horus_trio.drivers import (
    ConnectFailed,
    DriverState,
    FrameError,
    ReceiveFailed,
    SendFailed,
    Udp,
)
from horus_trio.errors import ConfigurationError
from horus_trio.testing import cancel_everywhere, check_driver


def make_udp(peer: UdpPeer, **arguments: Any) -> Udp:
    return Udp(peer.driver, peer.address, **arguments)


# What every driver does


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
async def test_it_keeps_the_contract_of_drivers() -> None:
    await check_driver(make_udp, open_udp_peer)


async def test_a_node_of_it_publishes_and_sends() -> None:
    async with open_udp_peer() as peer:
        await through_a_node(make_udp(peer), peer)


async def test_it_closes_in_every_state() -> None:
    async with open_udp_peer() as peer:
        await closes_in_every_state(lambda: make_udp(peer))


async def test_opened_and_closed_it_leaves_nothing() -> None:
    async with open_udp_peer() as peer:
        await leaks_nothing(lambda: make_udp(peer), 500)


async def test_open_and_aclose_can_be_cancelled_anywhere() -> None:
    @contextlib.asynccontextmanager
    async def new() -> AsyncIterator[tuple[Udp, UdpPeer]]:
        async with open_udp_peer() as peer:
            driver = make_udp(peer)
            try:
                yield driver, peer
            finally:
                with trio.CancelScope(shield=True):
                    await driver.aclose()

    @contextlib.asynccontextmanager
    async def new_and_open() -> AsyncIterator[Udp]:
        async with new() as (driver, _):
            await driver.open()
            yield driver

    async def works(line: tuple[Udp, UdpPeer]) -> bool:
        await exchange(*line)
        return True

    await cancel_everywhere(new, lambda line: line[0].open(), observe=works)
    await cancel_everywhere(
        new_and_open, lambda driver: driver.aclose(), observe=lambda driver: driver.state
    )


# Datagrams


async def test_each_datagram_is_a_message_an_empty_one_too() -> None:
    async with open_udp_peer() as peer, make_udp(peer) as driver:
        for message in (b"", b"x", b"two\nlines", bytes(60_000)):
            await exchange(driver, peer, message)
        counted = driver.statistics()
    assert counted.bytes_sent == counted.bytes_received == 60_010
    assert (counted.sent, counted.received) == (4, 4)


async def test_one_that_is_too_long_is_not_sent() -> None:
    async with open_udp_peer() as peer, make_udp(peer, max_datagram=100) as driver:
        error = await raises_soon(FrameError, lambda: driver.send(bytes(101)))
        assert "101 bytes is longer than max_datagram=100" in str(error)
        await exchange(driver, peer, bytes(100))


async def test_one_that_is_no_bytes_is_not_sent() -> None:
    async with open_udp_peer() as peer, make_udp(peer) as driver:
        error = await raises_soon(FrameError, lambda: driver.send("text"))  # type: ignore[arg-type]
        assert "expected a message of bytes, got str" in str(error)


async def test_one_that_is_too_long_for_the_network_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """IPv6 takes a little more than IPv4, whose limit this is."""
    monkeypatch.setattr("horus_trio.drivers.udp.MAX_DATAGRAM", 100_000)
    async with open_udp_peer() as peer, make_udp(peer, max_datagram=70_000) as driver:
        error = await raises_soon(FrameError, lambda: driver.send(bytes(70_000)))
        assert "too long for the network" in str(error)
        await exchange(driver, peer)


async def test_one_that_is_too_long_is_rejected_when_it_comes() -> None:
    async with open_udp_peer() as peer, make_udp(peer, max_datagram=100) as driver:
        await peer.send(bytes(5000))
        await peer.send(b"good")
        assert await driver.receive() == b"good"
        counted = driver.statistics()
    assert (counted.rejected, counted.received) == (1, 1)
    assert counted.discarded == 101  # as much of it as was read


async def test_without_a_remote_it_hears_everybody_and_can_send_to_nobody() -> None:
    async with Udp((HOST, 0)) as driver:
        host, port = driver.address
        assert (host, port > 0) == (HOST, True)
        for _ in range(2):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
                anybody.sendto(b"hello", (host, port))
            assert await driver.receive() == b"hello"
        error = await raises_soon(SendFailed, lambda: driver.send(b"x"))
        assert "has nobody to send to; give it remote=(host, port)" in str(error)
        assert driver.state is DriverState.OPEN


async def test_with_a_remote_it_hears_nobody_else() -> None:
    async with open_udp_peer() as peer, make_udp(peer) as driver:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"strange", driver.address)
        await peer.send(b"known")
        assert await driver.receive() == b"known"


async def test_where_nobody_listens_is_said_and_it_stays_open() -> None:
    remote = (HOST, free_port(socket.SOCK_DGRAM))
    async with Udp(remote=remote) as driver:
        await driver.send(b"into the void")
        error = await raises_soon(ReceiveFailed, driver.receive)
        assert "nothing listens there" in str(error)
        await driver.send(b"into the void")
        await trio.sleep(0.01)
        error = await raises_soon(SendFailed, lambda: driver.send(b"not sent"))
        assert "nothing listens there" in str(error)
        assert driver.state is DriverState.OPEN
        assert driver.statistics().failures == 2
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.bind(remote)
            late.settimeout(10)
            await driver.send(b"hello")
            data, sender = late.recvfrom(100)
            assert data == b"hello"
            late.sendto(b"here", sender)
            assert await driver.receive() == b"here"


async def test_a_cancelled_receive_takes_nothing() -> None:
    async with open_udp_peer() as peer, make_udp(peer) as driver:
        for number in range(200):
            if number % 2:
                await peer.send(b"%d" % number)
            with trio.CancelScope() as scope:
                scope.cancel()
                await driver.receive()
            if not number % 2:
                await peer.send(b"%d" % number)
            assert await driver.receive() == b"%d" % number


# Numbers


async def test_losses_are_counted_by_the_numbers_of_datagrams() -> None:
    def number_of(data: bytes) -> int | None:
        if data == b"no number":
            return None
        return int(struct.unpack_from(">H", data)[0])

    async with open_udp_peer() as peer, make_udp(peer, sequence=number_of) as driver:
        for number in (65534, 65535, 3, 2, 2, 5):
            await peer.send(struct.pack(">H", number) + b"data")
        for data in (b"x", b"no number"):
            await peer.send(data)
        came = [await driver.receive() for _ in range(7)]
        counted = driver.statistics()
    assert came[-1] == b"no number"
    assert [number_of(data) for data in came[:-1]] == [65534, 65535, 3, 2, 2, 5]
    assert counted.lost == 3  # 0, 1 and 4
    assert counted.rejected == 1  # too short for a number
    losses = driver.losses
    assert (losses.late, losses.duplicates, losses.restarts) == (1, 1, 0)


async def test_a_new_connection_loses_nothing() -> None:
    async with open_udp_peer() as peer:
        driver = make_udp(peer, sequence=lambda data: data[0], modulus=256)
        for first in (0, 100):
            async with driver:
                await peer.send(bytes([first]))
                await peer.send(bytes([first + 2]))
                await driver.receive()
                await driver.receive()
    assert driver.statistics().lost == 2


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "expected local="),
        ({"local": 9000}, "expected host and port"),
        ({"local": ("", 9000)}, "expected a name or an address"),
        ({"local": (HOST, 70_000)}, "expected a whole number from 0 to 65535"),
        ({"remote": (HOST, 0)}, "expected a whole number from 1 to 65535"),
        ({"remote": (HOST, 9000, 0)}, "expected host and port"),
        ({"remote": (HOST, 9000), "max_datagram": 0}, "expected bytes, from 1 to 65507"),
        ({"remote": (HOST, 9000), "sequence": 2}, "expected a function"),
        ({"remote": (HOST, 9000), "modulus": 2}, "expected a whole number, 8 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Udp(**arguments)


async def test_a_port_that_another_program_has() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, 0))
        error = await raises_soon(ConnectFailed, Udp(other.getsockname()).open)
    assert "another program has this port" in str(error)


async def test_a_name_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    driver = Udp(remote=("no-such-robot.invalid", 9000))
    error = await raises_soon(ConnectFailed, driver.open)
    assert "'no-such-robot.invalid' cannot be resolved" in str(error)


async def test_both_ends_over_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    async with Udp(("::1", 0)) as hears, Udp(remote=hears.address) as speaks:
        await speaks.send(b"hello")
        assert await hears.receive() == b"hello"
        assert "[::1]:" in repr(speaks)
