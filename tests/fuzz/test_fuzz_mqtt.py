"""Packets of MQTT brokers, whatever is in them and however many there are."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import trio
from drivers.mqtt_peers import make_client, publish_packet, scripted_broker
from fuzzing import CUTS, cut, fuzzed, peak, streams
from hypothesis import example
from hypothesis import strategies as st

from horus_trio.drivers import DeviceGone, MqttMessage, MqttOptions
from horus_trio.drivers.mqtt.line import Line
from horus_trio.drivers.mqtt.session import MOST_OWED, MOST_WAITING, Session

CONNACK = {True: b"\x20\x03\x00\x00\x00", False: b"\x20\x02\x00\x00"}

KINDS = st.integers(1, 15)


def length_of(size: int) -> bytes:
    """As MQTT writes it."""
    digits = bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | (128 if size else 0))
        if not size:
            return bytes(digits)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A packet of any kind, whose length is right."""
    kind, flags = draw(KINDS), draw(st.sampled_from((0, 2, 4, 6, 8, 15)))
    rest = draw(st.binary(max_size=20))
    number = draw(st.integers(0, 3)).to_bytes(2, "big")
    return bytes([kind << 4 | flags]) + length_of(len(number + rest)) + number + rest


PUBLISHED = st.builds(
    publish_packet,
    st.sampled_from((b"a", b"a/b", b"", b"\xff\xfe", b"a\0b", b"+/#")),
    st.binary(max_size=150),
    qos=st.integers(0, 2),
    number=st.integers(0, 3),
    flags=st.sampled_from((0, 1, 8)),
)
TOKENS = (
    b"\x20\x03\x00\x00\x00",
    b"\xd0\x00",
    b"\xc0\x00",
    b"\xe0\x00",
    b"\x62\x02\x00\x01",
    b"\x40\x02\x00\x01",
    b"\x90\x04\x00\x01\x00\x80",
    b"\x30\xff\xff\xff\x7f",
    b"\x30\xff\xff\xff\xff\x01",
    b"\x26\x03\x00\x01x",
    b"HTTP/1.1 400\r\n\r\n",
)
STREAM = streams(PUBLISHED | packets(), *TOKENS)


class Conversation:
    """A session with a broker that is written here."""

    def __init__(self, *, five: bool = True, **options: int) -> None:
        self.options = MqttOptions(version=5 if five else "3.1.1", **options)
        self.session = Session("broker", self.options, "me", clean=False)
        self.received: list[MqttMessage] = []
        self.connect()

    def connect(self) -> None:
        """There is a new connection, and no session on the broker's side."""
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.far.setblocking(False)
        self.line = Line(near)
        self.session.connect(self.line, "broker", 1883)
        self.say(CONNACK[self.options.is_version_5], take=False)

    def end(self) -> None:
        """The connection is over."""
        self.session.disconnect(self.line)
        self.line.close()
        self.far.close()

    def say(self, data: bytes, *, take: bool = True) -> None:
        """The broker says this, and the session hears all of it, and answers."""
        rest = memoryview(data)
        while rest and not self.line.closed:
            rest = rest[self.far.send(rest[:65536]) :]
            self.hear()
            while take and self.session.has_message:
                self.received.append(self.session.take())

    def hear(self) -> None:
        """What has come is read, as the driver does it."""
        while not (self.session.lost or self.line.closed):
            self.session.read(self.line)
            self.session.write()
            if not self.line.ahead and self.line.blocked:
                break

    def answers(self) -> bytes:
        """What the broker has been told."""
        said = b""
        try:
            while data := self.far.recv(65536):
                said += data
        except BlockingIOError:
            pass
        return said


@contextmanager
def talk(*, five: bool = True, **options: int) -> Iterator[Conversation]:
    conversation = Conversation(five=five, **options)
    try:
        yield conversation
    finally:
        conversation.end()


@fuzzed(60, stream=STREAM, cuts=CUTS, five=st.booleans())
@example(stream=b"\x30\xff\xff\xff\x7f" + bytes(1000), cuts=[], five=True)
@example(stream=publish_packet(b"a", bytes(150), qos=1, number=1), cuts=[5], five=False)
async def test_packets_are_messages_or_rejected_or_the_end(
    stream: bytes, cuts: list[int], five: bool
) -> None:
    with talk(five=five, max_message=100) as broker:
        session = broker.session
        for piece in cut(stream, cuts):
            broker.say(piece)
            assert len(session._client._in_packet["packet"]) <= 100 + 2 * 65536 + len(piece)
        assert all(len(message.payload) <= 100 for message in broker.received)
        assert session.discarded <= len(stream)
        assert session.lost or not broker.line.closed


@fuzzed(40, given=st.lists(PUBLISHED, max_size=10), cuts=CUTS)
async def test_each_message_is_received_or_counted(given: Sequence[bytes], cuts: list[int]) -> None:
    """Of QoS 2, those that are released; of one number, the last."""
    quick = [packet for packet in given if not packet[0] & 4]
    with talk(max_message=100) as broker:
        for piece in cut(b"".join(quick), cuts):
            broker.say(piece)
        session = broker.session
        if session.lost:  # an empty topic, or one with a wildcard, breaks the rules
            return
        assert len(broker.received) + session.rejected == len(quick)
        broker.say(publish_packet(b"after", b"x"))
        assert broker.received[-1] == MqttMessage("after", b"x", qos=0)


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("five", [True, False])
async def test_too_long_a_payload_is_not_kept(five: bool, qos: int) -> None:
    size = 20_000_000
    topic, number = b"\x00\x01a", b"\x00\x07" if qos else b""
    head = topic + number + (b"\0" if five else b"")
    with talk(five=five, max_message=1000) as broker:
        broker.say(bytes([0x30 | qos << 1]) + length_of(size + len(head)) + head)
        piece = bytes(200_000)

        def flood() -> None:
            for _ in range(size // len(piece)):
                broker.say(piece)

        assert peak(flood) < 9_000_000
        assert (broker.session.rejected, broker.session.discarded) == (1, size)
        assert (b"\x40\x02\x00\x07" in broker.answers()) is bool(qos)
        broker.say(publish_packet(b"a", b"x") if five else b"\x30\x04\x00\x01ax")
        assert broker.received == [MqttMessage("a", b"x", qos=0)]


async def test_what_was_cut_off_is_never_given_out() -> None:
    """Its properties may be so long that the rest looks short enough."""
    long = b"\x26\xff\xff" + bytes(65535)
    properties = length_of(4 * len(long)) + 4 * long
    with talk(max_message=100_000) as broker:
        rest = b"\x00\x01a" + properties + bytes(40_000_000)
        broker.say(b"\x30" + length_of(len(rest)) + rest)
        assert broker.received == []
        assert broker.session.rejected == 1 or broker.session.lost


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_broker_that_waits_for_no_acknowledgement_is_hung_up_on(qos: int) -> None:
    most = MOST_OWED + 20
    with talk(window=5, held=20) as broker:
        for number in range(1, most + 1):
            broker.say(publish_packet(b"a", b"x", qos=qos, number=number), take=False)
            assert not broker.session.lost
        broker.say(publish_packet(b"a", b"x", qos=qos, number=most + 1), take=False)
        assert broker.session.lost == f"sends {most} messages, and waits for no acknowledgement"
        assert broker.line.closed


async def test_a_broker_that_reads_no_answers_is_hung_up_on() -> None:
    with talk() as broker:
        for _ in range(100):
            broker.say(b"\xc0\x00" * 1000)
            assert broker.session._client.waiting <= MOST_WAITING + 1
        assert f"reads none of {MOST_WAITING} answers" in broker.session.lost


async def test_what_a_broker_has_forgotten_is_bounded() -> None:
    """It comes back again and again without the session, and nobody receives."""
    with talk(window=5, held=12) as broker:
        session = broker.session
        for connection in range(6):
            for number in range(1, 6):
                broker.say(
                    publish_packet(b"a", b"%d" % connection, qos=1, number=number), take=False
                )
            broker.say(publish_packet(b"a", b"x", qos=2, number=9), take=False)
            broker.end()
            broker.connect()
            assert not session.lost
            assert session._client.incoming == 0
        assert len(session._incoming) == 12
        assert session.dropped == 30 - 12
        broker.say(b"")
        while session.has_message:
            session.take()


# The whole driver


@fuzzed(25, stream=streams(PUBLISHED, *TOKENS))
async def test_a_client_of_a_broker_that_lies(stream: bytes) -> None:
    with trio.fail_after(20):
        async with scripted_broker() as scripted, make_client(scripted.port, max_message=100) as it:
            received = 0
            try:
                await scripted.write(stream)
                assert scripted.stream is not None
                await scripted.stream.send_eof()
                while True:
                    await it.receive()
                    received += 1
            except (DeviceGone, trio.BrokenResourceError):
                pass
            counted = it.statistics()
            assert counted.received == received
            assert counted.bytes_received <= len(stream) + 200
