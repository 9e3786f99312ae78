"""`MqttClient`: packet by packet, with a broker that says what a test wants it to say."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing
from drivers.mqtt_peers import make_client, publish_packet, scripted_broker
from drivers.steps import SOON, raises_soon, until

from horus_trio.drivers import DeviceGone, DriverState, MqttClient, MqttMessage, MqttSubscription
from horus_trio.errors import TickAbandoned
from horus_trio.messages import Fence, current_fence

PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, PINGREQ = 0x30, 0x40, 0x50, 0x60, 0x70, 0xC0
DISCONNECT = 0xE0
ALL = MqttSubscription("#", 2)


def answer(kind: int, number: int, reason: int = 0) -> bytes:
    """An acknowledgement."""
    return bytes([kind | (2 if kind == PUBREL else 0), 4, *number.to_bytes(2, "big"), reason, 0])


def number_of(packet: bytes) -> int:
    """Of an acknowledgement."""
    return int.from_bytes(packet[2:4], "big")


# What comes


async def test_a_message_may_come_a_byte_at_a_time() -> None:
    message = MqttMessage("a/b", b"x" * 300)
    data = publish_packet(b"a/b", message.payload, qos=1, number=7)
    async with scripted_broker() as scripted, make_client(scripted.port, ALL) as client:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def dribble() -> None:
                for at in range(len(data)):
                    await scripted.write(data[at : at + 1])
                    await trio.lowlevel.checkpoint()

            with trio.fail_after(SOON):
                assert await client.receive() == message
        assert [number_of(packet) for packet in await scripted.came(PUBACK)] == [7]


async def test_many_messages_may_come_at_once() -> None:
    """More than are read at once: nothing tells of the rest, which is in a buffer."""
    async with (
        scripted_broker() as scripted,
        make_client(scripted.port, ALL, keepalive=600) as client,
    ):
        await scripted.write(b"".join(publish_packet(b"a", b"%d" % n) for n in range(1000)))
        with trio.fail_after(SOON):
            for number in range(1000):
                assert (await client.receive()).payload == b"%d" % number


async def test_half_a_message_is_none() -> None:
    data = publish_packet(b"a/b", b"x" * 300)
    async with scripted_broker() as scripted, make_client(scripted.port, ALL) as client:
        await scripted.write(publish_packet(b"a", b"whole") + data[:100])
        assert scripted.stream is not None
        await scripted.stream.aclose()
        assert (await client.receive()).payload == b"whole"
        await raises_soon(DeviceGone, client.receive)


async def test_a_message_is_acknowledged_when_it_is_given_out() -> None:
    async with scripted_broker() as scripted, make_client(scripted.port, ALL) as client:
        for number in (1, 2, 3):
            await scripted.write(publish_packet(b"a", b"%d" % number, qos=1, number=number))
        assert (await client.receive()).payload == b"1"
        with trio.move_on_after(0) as scope:
            await client.receive()
        assert scope.cancelled_caught
        await trio.sleep(0.05)
        assert [number_of(packet) for packet in await scripted.came(PUBACK)] == [1]
        assert [(await client.receive()).payload for _ in range(2)] == [b"2", b"3"]
        assert [number_of(packet) for packet in await scripted.came(PUBACK, 3)] == [1, 2, 3]


async def test_one_that_may_have_come_before_says_so() -> None:
    async with scripted_broker() as scripted, make_client(scripted.port, ALL) as client:
        await scripted.write(publish_packet(b"a", b"x", qos=1, number=1, flags=8))
        message = await client.receive()
        assert message.duplicate
        assert message == MqttMessage("a", b"x")


async def test_what_is_not_valid_is_rejected_and_acknowledged() -> None:
    async with (
        scripted_broker() as scripted,
        make_client(scripted.port, ALL, max_message=1000) as client,
    ):
        await scripted.write(
            publish_packet(b"\xff\xfe", b"bad", qos=1, number=1)
            + publish_packet(b"a", bytes(1001), qos=1, number=2)
            + publish_packet(b"a", bytes(1001))
            + publish_packet(b"a", b"good", qos=1, number=3)
        )
        assert (await client.receive()).payload == b"good"
        assert [number_of(packet) for packet in await scripted.came(PUBACK, 3)] == [1, 2, 3]
        counted = client.statistics()
        assert (counted.rejected, counted.discarded, counted.received) == (3, 2005, 1)


async def test_of_quality_2_what_is_held_is_given_out_once_over_connections() -> None:
    async with scripted_broker() as scripted:
        client = make_client(scripted.port, ALL)
        await client.open()
        await scripted.write(publish_packet(b"a", b"x", qos=2, number=5))
        await scripted.write(answer(PUBREL, 5))
        with trio.move_on_after(0.1):
            await client.attend()
        assert len(await scripted.came(PUBREC)) == 1
        await client.aclose()
        scripted.connack = b"\x01\x00\x00"  # it has the session still
        scripted.packets.clear()
        await client.open()
        await scripted.write(answer(PUBREL, 5) + answer(PUBREL, 6))
        with trio.move_on_after(0.1):
            await client.attend()
        # It knows nothing of 6, and has 5 still.
        assert [number_of(packet) for packet in await scripted.came(PUBCOMP)] == [6]
        assert (await client.receive()).payload == b"x"
        assert [number_of(packet) for packet in await scripted.came(PUBCOMP, 2)] == [6, 5]
        with trio.move_on_after(0.1):
            raise AssertionError(await client.receive())
        await client.aclose()


@pytest.mark.parametrize("resumed", [True, False])
async def test_what_is_held_when_the_connection_ends(resumed: bool) -> None:
    """A broker with the session sends it again; without it nobody does."""
    async with scripted_broker() as scripted:
        client = make_client(scripted.port, ALL)
        await client.open()
        for qos in (0, 1, 2):
            await scripted.write(publish_packet(b"a", b"%d" % qos, qos=qos, number=qos))
        await scripted.write(answer(PUBREL, 2))
        with trio.move_on_after(0.1):
            await client.attend()
        await client.aclose()
        assert client.statistics().lost == 1  # that of QoS 0
        scripted.packets.clear()
        scripted.connack = bytes([resumed, 0, 0])
        async with client:
            came = []
            with trio.move_on_after(0.1):
                while True:
                    came.append((await client.receive()).payload)
            assert came == ([b"2"] if resumed else [b"1", b"2"])
            assert not scripted.packets  # it is not known to that broker, or not yet asked for


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x00",  # no kind of packet
        b"\x20\x03\x00\x00\x00\x00\x00",
        b"\x36\x05\x00\x01a\x00\x00",  # QoS 3
        b"\x30\x02\x00\x09",  # a topic that is longer than the packet
        b"\x30\x06\x00\x01a\x7fxx",  # properties that are longer than the packet
        b"\x30\x07\x00\x01a\x02\xffxx",  # no such property
        b"\x40\x00",
        b"\x40\x03\x00\x01\xee",  # no such reason
        b"\x90\x01\x00",
        b"\xd0\x01\x00",
        b"\x30\xff\xff\xff\xff\xff",
        b"\xe0\x01\x33",
    ],
)
async def test_what_is_no_mqtt_ends_the_connection(said: bytes) -> None:
    async with scripted_broker() as scripted, make_client(scripted.port, ALL) as client:
        await client.send(MqttMessage("a"))
        await scripted.write(said + publish_packet(b"a", b"after"))
        with trio.fail_after(SOON):
            error = None
            try:
                while True:
                    await client.receive()
            except DeviceGone as caught:
                error = caught
        assert "says what is no MQTT" in str(error) or "has hung up" in str(error)
        assert client.state is DriverState.BROKEN
        await client.aclose()
        await client.open()
        assert len(await scripted.came(PUBLISH, 2)) == 2


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (0x8B, "has hung up: Server shutting down"),
        (0x8E, "since another client has connected as 'robot': give each a client_id of its own"),
        (0x98, "has hung up: Administrative action"),
    ],
)
async def test_why_the_broker_hangs_up_is_said(reason: int, said: str) -> None:
    async with (
        scripted_broker() as scripted,
        make_client(scripted.port, ALL, client_id="robot") as client,
    ):
        await scripted.write(publish_packet(b"a", b"last") + bytes([DISCONNECT, 1, reason]))
        assert (await client.receive()).payload == b"last"
        error = await raises_soon(DeviceGone, client.receive)
        assert said in str(error)
        assert said in client.statistics().last_error


# What goes


async def test_the_broker_says_how_many_may_be_under_way() -> None:
    async with scripted_broker() as scripted:
        scripted.connack = b"\x00\x00\x03\x21\x00\x02"
        async with make_client(scripted.port) as client, trio.open_nursery() as nursery:
            sent: list[int] = []

            @nursery.start_soon
            async def send() -> None:
                for number in range(5):
                    await client.send(MqttMessage("a", b"%d" % number, qos=1 + number % 2))
                    sent.append(number)

            await scripted.came(PUBLISH, 2)
            await trio.sleep(0.05)
            assert sent == [0, 1]
            assert [message.payload for message in client.unacknowledged] == [b"0", b"1"]
            await scripted.write(answer(PUBACK, 1))
            await until(lambda: sent == [0, 1, 2])
            await scripted.write(answer(PUBREC, 2))
            await scripted.came(PUBREL)
            assert sent == [0, 1, 2]
            await scripted.write(answer(PUBCOMP, 2) + answer(PUBACK, 3))
            await until(lambda: sent == [0, 1, 2, 3, 4])


async def test_what_was_not_acknowledged_is_sent_again_marked_and_in_order() -> None:
    async with scripted_broker() as scripted:
        client = make_client(scripted.port)
        await client.open()
        for number in range(4):
            await client.send(MqttMessage("a", b"%d" % number, qos=1 + number % 2))
        first = await scripted.came(PUBLISH, 4)
        await scripted.write(answer(PUBACK, 1) + answer(PUBREC, 2))
        await until_read(client)
        await client.aclose()
        assert [message.payload for message in client.unacknowledged] == [b"1", b"2", b"3"]
        scripted.packets.clear()
        scripted.connack = b"\x01\x00\x00"
        await client.open()
        again = await scripted.came(PUBLISH, 2)
        assert [packet[0] & 8 for packet in again] == [8, 8]
        assert [packet[1:] for packet in again] == [packet[1:] for packet in first[2:]]
        assert [number_of(packet) for packet in await scripted.came(PUBREL)] == [2]
        await scripted.write(answer(PUBCOMP, 2) + answer(PUBACK, 3) + answer(PUBREC, 4))
        await until_read(client)
        await scripted.came(PUBREL, 2)
        await scripted.write(answer(PUBCOMP, 4))
        with trio.fail_after(SOON):
            await client.flush()
        await client.aclose()


async def until_read(client: MqttClient) -> None:
    """Have it read what was said."""
    with trio.move_on_after(0.1):
        await client.attend()


async def test_a_broker_that_takes_fewer_than_before_gets_no_more_at_once() -> None:
    async with scripted_broker() as scripted:
        client = make_client(scripted.port)
        await client.open()
        for number in range(6):
            await client.send(MqttMessage("a", b"%d" % number))
        await client.aclose()
        scripted.connack = b"\x01\x00\x03\x21\x00\x02"
        scripted.packets.clear()
        await client.open()
        for number in range(6):
            packets = await scripted.came(PUBLISH, number + 1)
            await trio.sleep(0.02)
            assert len([one for one in scripted.packets if one[0] & 0xF0 == PUBLISH]) <= number + 2
            await scripted.write(answer(PUBACK, number_in(packets[number])))
            await until_read(client)
        assert client.unacknowledged == ()
        await client.aclose()


def number_in(packet: bytes) -> int:
    """Of a PUBLISH under the topic `a`."""
    return int.from_bytes(packet[5:7], "big")


async def test_numbers_begin_again_and_pass_over_those_in_use() -> None:
    async with scripted_broker() as scripted, make_client(scripted.port) as client:
        await client.send(MqttMessage("a", b"first"))
        assert client._session is not None
        client._session._client._last_mid = 65_534
        for qos in (1, 0, 1):  # that of QoS 0 takes one, too
            await client.send(MqttMessage("a", b"x", qos=qos))
        packets = await scripted.came(PUBLISH, 4)
        assert [number_in(packet) for packet in packets if packet[0] & 6] == [1, 65_535, 3]
        assert len(client.unacknowledged) == 3


async def test_one_that_only_sends_reads_what_comes_now_and_then() -> None:
    """Also if it never has to wait."""
    async with scripted_broker() as scripted, make_client(scripted.port, keepalive=1) as client:
        await client.send(MqttMessage("a"))
        await scripted.write(answer(PUBACK, 1))
        with trio.fail_after(SOON):
            while client.unacknowledged:
                await client.send(MqttMessage("a", qos=0))
                await trio.sleep(0.01)


async def test_a_tick_that_is_abandoned_while_its_send_waits_sends_nothing() -> None:
    fence = Fence("node")
    failed: list[BaseException] = []
    async with (
        scripted_broker() as scripted,
        make_client(scripted.port, window=1) as client,
        trio.open_nursery() as nursery,
    ):
        await client.send(MqttMessage("a", b"0"))

        @nursery.start_soon
        async def send() -> None:
            current_fence.set(fence)
            failed.append(
                await raises_soon(TickAbandoned, lambda: client.send(MqttMessage("a", b"1")))
            )

        await trio.testing.wait_all_tasks_blocked(0.01)
        fence.close()
        await scripted.write(answer(PUBACK, 1))
        await until(lambda: failed)
        assert client.state is DriverState.OPEN
        assert client.unacknowledged == ()
        assert len(await scripted.came(PUBLISH)) == 1


async def test_goodbye_is_said_and_nothing_after_it() -> None:
    async with scripted_broker() as scripted:
        async with make_client(scripted.port) as client:
            await client.send(MqttMessage("a", qos=0))
        await scripted.came(DISCONNECT)
        assert [packet[0] & 0xF0 for packet in scripted.packets] == [PUBLISH, DISCONNECT]


# What else


@pytest.mark.slow
async def test_the_broker_may_say_how_often_it_wants_to_hear() -> None:
    async with scripted_broker() as scripted:
        scripted.connack = b"\x00\x00\x03\x13\x00\x01"
        async with make_client(scripted.port, keepalive=600) as client:
            with trio.move_on_after(1.5):
                await client.attend()
            await scripted.came(PINGREQ)
            error = await raises_soon(DeviceGone, client.attend)
            assert "has not answered for 1 s" in str(error)


@pytest.mark.slow
async def test_a_flood_does_not_keep_it_from_saying_that_it_is_there() -> None:
    """Of messages that need no acknowledgement: it would say nothing all the time."""
    flood = publish_packet(b"a", b"x") * 500
    async with (
        scripted_broker() as scripted,
        make_client(scripted.port, ALL, keepalive=1) as client,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def speak() -> None:
            while True:
                await scripted.write(flood)

        with trio.fail_after(SOON):
            while not [one for one in scripted.packets if one[0] == PINGREQ]:
                await client.receive()
        nursery.cancel_scope.cancel()


async def test_one_that_is_not_closed_is_no_trouble() -> None:
    """It is a mistake, of which Python warns, and no more."""
    async with scripted_broker() as scripted:
        client = make_client(scripted.port)
        await client.open()
        assert client._line is not None
        client._line._socket.close()
        del client
        gc.collect()
