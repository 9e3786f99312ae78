"""Drivers of streams: bytes that come over a real descriptor, cut anywhere, and then its end.

`SerialPort`, `TcpClient`, `TcpServer` and `Subprocess` read like this; they differ in what opens
the line.
"""

from __future__ import annotations

import socket

import trio
from fuzzing import CUTS, cut, fuzzed, streams
from hypothesis import strategies as st

from horus_trio.drivers import DeviceGone, Lines, Nmea, QueryDriver, StreamDriver, Udp
from horus_trio.drivers.framing import Framing
from horus_trio.drivers.stream import AT_ONCE
from horus_trio.drivers.wire import Wire

SENTENCE = (
    st.text("GPLA01,.", min_size=1, max_size=20)
    .map(str.encode)
    .map(lambda fields: Nmea().encode(fields))
)


class Plugged(StreamDriver):
    """A driver at one end of a pair of sockets."""

    def __init__(self, framing: Framing) -> None:
        super().__init__(framing)
        self._far = socket.socket()

    async def _open_wire(self) -> Wire:
        await trio.lowlevel.checkpoint()
        self._far.close()
        near, self._far = socket.socketpair()
        return Wire(near.detach())

    def _close_wire(self) -> None:
        self._far.close()

    def write(self, data: bytes) -> None:
        """The other end writes; there is room for this."""
        assert self._far.send(data) == len(data)

    def hang_up(self) -> None:
        """The other end closes."""
        self._far.close()


async def received(device: Plugged) -> list[bytes]:
    messages: list[bytes] = []
    try:
        while True:
            messages.append(await device.receive())
    except DeviceGone:
        return messages


@fuzzed(25, stream=streams(SENTENCE, b"$", b"!", b"*00\r\n", b"\r\n", most=8), cuts=CUTS)
async def test_what_comes_is_received_or_counted(stream: bytes, cuts: list[int]) -> None:
    expected = Nmea()
    device = Plugged(Nmea())
    async with device:
        for piece in cut(stream, cuts):
            device.write(piece)
        device.hang_up()
        messages = await received(device)
        counted = device.statistics()
    assert messages == expected.feed(stream)
    assert counted.bytes_received == len(stream)
    assert counted.received == len(messages)
    assert (counted.rejected, counted.discarded) == (expected.rejected, expected.discarded)


async def test_garbage_does_not_hold_others_up() -> None:
    """Of the worst there is, little is looked at before others have their turn."""
    device = Plugged(Nmea())
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with device, trio.open_nursery() as nursery:
        device.write(b"$" * 60_000)
        device.hang_up()
        nursery.start_soon(count_turns)
        assert await received(device) == []
        nursery.cancel_scope.cancel()
    assert turns >= 60_000 // AT_ONCE


async def test_what_was_not_looked_at_is_kept_for_the_next_call() -> None:
    device = Plugged(Lines())
    async with device:
        device.write(b"x" * 3 * AT_ONCE + b"\nlast\n")
        with trio.CancelScope() as scope:
            scope.cancel()
            await device.receive()
        assert await device.receive() == b"x" * 3 * AT_ONCE
        assert await device.receive() == b"last"
        assert device.statistics().bytes_received == 3 * AT_ONCE + 6


@fuzzed(20, noise=st.binary(max_size=100), reply=SENTENCE)
async def test_a_question_is_answered_after_noise(noise: bytes, reply: bytes) -> None:
    """What came before the question is no answer to it, whatever it is."""
    framing = Nmea()
    device = Plugged(framing)
    [message] = framing.feed(reply)
    query = QueryDriver(device, matches=lambda request, answer: answer == message)
    async with query:
        device.write(noise + b"\n")
        device.write(reply)
        with trio.fail_after(10):
            assert await query.query(b"GPQ") == message


@fuzzed(15, datagrams=st.lists(st.binary(max_size=40), min_size=1, max_size=8))
async def test_datagrams_are_received_or_counted(datagrams: list[bytes]) -> None:
    def number(data: bytes) -> int:
        return data[3]

    device = Udp(local=("127.0.0.1", 0), max_datagram=20, sequence=number)
    async with device:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            for data in datagrams:
                far.sendto(data, device.address)
        good = [data for data in datagrams if 4 <= len(data) <= 20]
        with trio.fail_after(10):
            for data in good:
                assert await device.receive() == data
        with trio.move_on_after(0):
            await device.receive()
        # What is at the end and of no use is looked at when the next is waited for.
        with trio.move_on_after(0.01):
            await device.receive()
        counted = device.statistics()
    assert counted.received + counted.rejected == len(datagrams)
