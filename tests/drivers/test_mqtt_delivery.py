"""`MqttClient`: what is promised of messages, over brokers that are killed, and other clients."""

from __future__ import annotations

import functools
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from drivers.mqtt_peers import Broker, Paho, broker_for, make_client, needs_mosquitto
from drivers.peers import HOST
from drivers.steps import SOON, raises_soon, until

import horus_trio as horus
from horus_trio.drivers import (
    ConnectFailed,
    DeviceGone,
    DriverNode,
    DriverState,
    MqttClient,
    MqttMessage,
    MqttSubscription,
    SendInterrupted,
)

T = TypeVar("T")
Require = Callable[[str, bool, str], None]


@pytest.fixture
def broker(require: Require, tmp_path: Path) -> Iterator[Broker]:
    """One that runs, and sends all it has at once."""
    needs_mosquitto(require)
    with broker_for(tmp_path, more="max_inflight_messages 0") as running:
        yield running


async def nothing_comes(client: MqttClient, seconds: float = 0.1) -> bool:
    """Whether that is so, for a while."""
    with trio.move_on_after(seconds):
        await client.receive()
        return False
    return True


async def opened_again(client: MqttClient) -> None:
    """Open it, as soon as there is a broker."""
    with trio.fail_after(SOON):
        while True:
            await client.aclose()
            try:
                await client.open()
            except ConnectFailed:
                await trio.sleep(0.01)
            else:
                return


# Values that are kept


async def test_values_that_were_kept_come_first(broker: Broker) -> None:
    async with make_client(broker.port) as sensor:
        for room in ("kitchen", "hall"):
            await sensor.send(MqttMessage(f"home/{room}/temperature", b"20", retain=True))
        await sensor.flush()
        async with make_client(broker.port, "home/+/temperature") as listener:
            kept = {await listener.receive() for _ in range(2)}
            assert kept == {
                MqttMessage(f"home/{room}/temperature", b"20", retain=True)
                for room in ("kitchen", "hall")
            }
            await sensor.send(MqttMessage("home/hall/temperature", b"21", retain=True))
            live = await listener.receive()
            assert live == MqttMessage("home/hall/temperature", b"21")  # it is no old one
        for room in ("kitchen", "hall"):
            await sensor.send(MqttMessage(f"home/{room}/temperature", retain=True))
        await sensor.flush()
        async with make_client(broker.port, "home/+/temperature") as listener:
            assert await nothing_comes(listener)


async def test_values_that_were_kept_can_be_left_out(broker: Broker) -> None:
    async with make_client(broker.port) as sensor:
        await sensor.send(MqttMessage("a", b"old", retain=True))
        await sensor.flush()
        async with make_client(broker.port, MqttSubscription("a", retained=False)) as listener:
            await sensor.send(MqttMessage("a", b"new"))
            assert (await listener.receive()).payload == b"new"


async def test_one_need_not_hear_oneself(broker: Broker) -> None:
    async with make_client(broker.port, MqttSubscription("a", no_local=True)) as client:
        await client.send(MqttMessage("a", b"own"))
        async with make_client(broker.port) as other:
            await client.flush()
            await other.send(MqttMessage("a", b"other's"))
            assert (await client.receive()).payload == b"other's"


# The last will


@pytest.mark.slow
async def test_the_will_of_a_program_that_is_killed_is_sent(broker: Broker) -> None:
    program = f"""if True:
        import trio
        from horus_trio.drivers import MqttClient, MqttMessage

        async def main():
            will = MqttMessage("sensor/state", b"gone", retain=True)
            async with MqttClient({HOST!r}, {broker.port}, will=will) as client:
                await client.send(MqttMessage("sensor/state", b"here", retain=True))
                await client.attend()

        trio.run(main)
    """
    async with make_client(broker.port, "sensor/#") as listener, trio.open_nursery() as nursery:
        child = await nursery.start(
            functools.partial(trio.run_process, [sys.executable, "-c", program], check=False)
        )
        with trio.fail_after(20):
            assert (await listener.receive()).payload == b"here"
        child.kill()
        with trio.fail_after(SOON):
            assert (await listener.receive()).payload == b"gone"
    async with make_client(broker.port, "sensor/#") as listener:
        assert await listener.receive() == MqttMessage("sensor/state", b"gone", retain=True)


async def test_a_client_that_is_closed_leaves_no_will(broker: Broker) -> None:
    """Nor does one to which there is still much to be said."""
    will = MqttMessage("will", b"gone", expiry=5, content_type="text/plain")
    async with make_client(broker.port, "will") as listener, make_client(broker.port) as other:
        for number in range(10):
            async with make_client(
                broker.port, MqttSubscription("flood", 0), will=will, session_expiry=0
            ) as client:
                for _ in range(50 * number):
                    await other.send(MqttMessage("flood", bytes(1000), qos=0))
                if number % 2:
                    await client.send(MqttMessage("a", b"x", qos=0))
        assert await nothing_comes(listener, 0.2)
        client = make_client(broker.port, will=will)
        await client.open()
        assert client._line is not None
        client._line.close()  # without a word
        assert await raises_soon(DeviceGone, client.receive)
        await client.aclose()
        with trio.fail_after(SOON):
            came = await listener.receive()
        assert (came.payload, came.content_type) == (b"gone", "text/plain")


# What is received


async def test_what_was_not_given_out_comes_again(broker: Broker) -> None:
    """To another driver, too, of a program that has not said goodbye."""
    with Paho(broker.port, "talker") as talker:
        first = make_client(broker.port, "a", client_id="robot")
        await first.open()
        for number in range(60):
            talker.publish("a", b"%d" % number)
        for number in range(3):
            assert (await first.receive()).payload == b"%d" % number
        await first.aclose()
        await first.open()
        for number in range(3, 6):
            assert (await first.receive()).payload == b"%d" % number
        assert first._line is not None
        first._line.close()
        await first.aclose()
        async with make_client(broker.port, "a", client_id="robot") as second:
            came = [int((await second.receive()).payload)]
            while came[-1] < 59:
                came.append(int((await second.receive()).payload))
            assert list(dict.fromkeys(came)) == list(range(came[0], 60))
            assert came[0] in range(3, 7)  # an acknowledgement may have been on its way
            await second.flush()
        async with make_client(broker.port, "a", client_id="robot") as third:
            assert await nothing_comes(third)


async def test_without_a_session_nothing_comes_again(broker: Broker) -> None:
    with Paho(broker.port, "talker") as talker:
        client = make_client(broker.port, "a", session_expiry=0)
        async with client:
            for number in range(10):
                talker.publish("a", b"%d" % number)
            assert (await client.receive()).payload == b"0"
        async with client:
            talker.publish("a", b"new")
            assert (await client.receive()).payload == b"new"


async def test_one_that_does_not_receive_is_sent_no_more_than_its_window(broker: Broker) -> None:
    with Paho(broker.port, "talker") as talker:
        async with make_client(broker.port, "a", window=5) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.attend)
                for number in range(50):
                    talker.publish("a", b"%d" % number)
                await until(lambda: talker.unacknowledged == 0)
                await trio.sleep(0.05)
                assert client._session is not None
                assert len(client._session._incoming) == 5
                for number in range(50):
                    with trio.fail_after(SOON):
                        assert (await client.receive()).payload == b"%d" % number
                nursery.cancel_scope.cancel()
            assert client.statistics().lost == 0


async def test_of_quality_0_the_newest_are_held(broker: Broker) -> None:
    async with make_client(broker.port, "a", held=10) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.attend)
        async with make_client(broker.port) as other:
            await other.send(MqttMessage("a", b"kept", qos=1))
            for number in range(100):
                await other.send(MqttMessage("a", b"%d" % number, qos=0))
        await until(lambda: client.statistics().lost == 90)
        assert (await client.receive()).payload == b"kept"
        for number in range(90, 100):
            assert (await client.receive()).payload == b"%d" % number
        nursery.cancel_scope.cancel()


# What is sent


@pytest.mark.slow
async def test_a_broker_that_is_killed_costs_nothing_that_was_sent(broker: Broker) -> None:
    """What `send` has taken arrives at another program, at least once.

    The broker writes a message to the listener before it acknowledges it. That of QoS 0 has nothing
    to answer, so all that was written is read, also when the broker is dead.
    """
    client = make_client(broker.port, client_id="robot")
    with Paho(broker.port, "listener", "stream", qos=0) as listener:
        await until(lambda: listener.subscriptions)
        await client.open()
        failed = kills = sent_again = 0
        for number in range(1500):
            while True:
                try:
                    await client.send(MqttMessage("stream", b"%d" % number))
                    break
                except DeviceGone:
                    failed += 1
                    unsent = client.unacknowledged
                    broker.start()
                    await until(lambda: listener.subscriptions > failed)  # noqa: B023
                    await opened_again(client)
                    sent_again += len(unsent)
            if number in (400, 800, 1200):
                broker.kill()
                kills += 1
        await client.flush()
        await until(lambda: listener.came and listener.came[-1].payload == b"1499")
        came = [int(message.payload) for message in listener.came]
        assert list(dict.fromkeys(sorted(came))) == list(range(1500))
        assert (kills, failed) == (3, 3)
        assert sent_again > 0
        assert client.unacknowledged == ()
        await client.aclose()


@pytest.mark.slow
async def test_a_broker_that_is_killed_costs_nothing_that_comes(broker: Broker) -> None:
    """What the broker has written down, that is; and what was given out once is not lost either."""
    client = make_client(broker.port, "stream", client_id="robot", window=10)
    await client.open()
    with Paho(broker.port, "talker") as talker:
        came: list[int] = []
        for part in range(3):
            for number in range(part * 200, part * 200 + 200):
                talker.publish("stream", b"%d" % number)
            await until(lambda: talker.unacknowledged == 0)
            for _ in range(70):
                came.append(int((await client.receive()).payload))
            broker.save()
            broker.kill()
            with trio.fail_after(SOON):
                while True:
                    try:
                        came.append(int((await client.receive()).payload))
                    except DeviceGone:
                        break
            broker.start()
            await opened_again(client)
        while came[-1] != 599:
            with trio.fail_after(SOON):
                came.append(int((await client.receive()).payload))
    assert list(dict.fromkeys(came)) == list(range(600))
    await client.aclose()


@pytest.mark.slow
async def test_of_quality_2_everything_comes_once(broker: Broker) -> None:
    """Both ways, though the connection is cut at random moments."""
    rng = random.Random(7)
    client = make_client(broker.port, MqttSubscription("back", 2), client_id="robot")
    cuts = 0
    await client.open()

    async def again(call: Callable[[], Awaitable[T]]) -> T:
        nonlocal cuts
        while True:
            try:
                return await call()
            except (DeviceGone, trio.ClosedResourceError):
                cuts += 1
                await opened_again(client)

    with Paho(broker.port, "other", "there", qos=2) as other:
        await until(lambda: other.subscriptions)
        came: list[bytes] = []
        for number in range(300):
            message = MqttMessage("there", b"%d" % number, qos=2)
            other.publish("back", message.payload, qos=2)
            await again(lambda: client.send(message))  # noqa: B023
            if number % 3:
                with trio.fail_after(SOON):
                    came.append((await again(client.receive)).payload)
            if rng.random() < 0.1:
                assert client._line is not None
                client._line.close()
        await again(client.flush)
        while len(came) < 300:
            with trio.fail_after(SOON):
                came.append((await again(client.receive)).payload)
        await until(lambda: len(other.came) >= 300)
        assert await nothing_comes(client)
        assert came == [b"%d" % number for number in range(300)]
        assert sorted(int(message.payload) for message in other.came) == list(range(300))
    assert cuts > 10
    await client.aclose()


async def test_a_send_waits_for_room_and_can_be_cancelled(broker: Broker) -> None:
    client = make_client(broker.port, "a", window=3)
    async with client:
        await client.flush()
        broker.signal(signal.SIGSTOP)
        try:
            for number in range(3):
                await client.send(MqttMessage("a", b"%d" % number))
            assert len(client.unacknowledged) == 3
            with trio.move_on_after(0.1) as scope:
                await client.send(MqttMessage("a", b"cancelled"))
            assert scope.cancelled_caught
            with trio.move_on_after(0.1) as scope:
                await client.flush()
            assert scope.cancelled_caught
            assert client.state is DriverState.OPEN
        finally:
            broker.signal(signal.SIGCONT)
        with trio.fail_after(SOON):
            await client.send(MqttMessage("a", b"3"))
            assert [int((await client.receive()).payload) for _ in range(4)] == [0, 1, 2, 3]
            await client.flush()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_send_that_is_cancelled_in_the_middle_breaks_it(broker: Broker, qos: int) -> None:
    """And what was half out is not sent later."""
    client = make_client(broker.port, MqttSubscription("a", 2), max_message=50_000_000)
    async with client:
        await client.flush()
        broker.signal(signal.SIGSTOP)
        try:
            with trio.move_on_after(0.3) as scope:
                await client.send(MqttMessage("a", bytes(30_000_000), qos=qos))
            assert scope.cancelled_caught
            assert isinstance(await raises_soon(DeviceGone, client.receive), SendInterrupted)
            assert client.unacknowledged == ()
        finally:
            broker.signal(signal.SIGCONT)
        await opened_again(client)
        await client.send(MqttMessage("a", b"next"))
        assert (await client.receive()).payload == b"next"
        assert await nothing_comes(client)


async def test_one_that_is_closed_in_the_middle_of_a_message_says_no_goodbye(
    broker: Broker,
) -> None:
    client = make_client(broker.port, max_message=50_000_000, will=MqttMessage("will"))
    async with make_client(broker.port, ("a", "will"), max_message=50_000_000) as listener:
        await client.open()
        broker.signal(signal.SIGSTOP)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                message = MqttMessage("a", bytes(30_000_000))
                await raises_soon(trio.ClosedResourceError, lambda: client.send(message))

            await trio.sleep(0.2)
            broker.signal(signal.SIGCONT)
            await client.aclose()
        with trio.fail_after(SOON):
            assert (await listener.receive()).topic == "will"
        assert await nothing_comes(listener)
        assert client.unacknowledged == ()


@pytest.mark.slow
async def test_a_large_message_is_written_while_another_task_receives(broker: Broker) -> None:
    """Each has to wait for the same socket, in its own way."""
    message = MqttMessage("a", bytes(range(256)) * 80_000)
    how = {"max_message": 50_000_000, "keepalive": 600}  # it would find out at its next look
    async with make_client(broker.port, "a", **how) as client:
        for _ in range(3):
            came: list[MqttMessage] = []

            async def receive(came: list[MqttMessage] = came) -> None:
                came.append(await client.receive())

            with trio.fail_after(2 * SOON):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    await client.send(message)
            assert came == [message]


async def test_several_tasks_send_flush_and_receive_at_once(broker: Broker) -> None:
    async with make_client(broker.port, "a", window=4) as client:

        async def send(first: int) -> None:
            for number in range(first, first + 50):
                await client.send(MqttMessage("a", b"%d" % number, qos=number % 3))
                if number % 10 == 0:
                    await client.flush()

        came: list[int] = []
        with trio.fail_after(2 * SOON):
            async with trio.open_nursery() as nursery:
                for first in (0, 1000, 2000):
                    nursery.start_soon(send, first)
                nursery.start_soon(client.attend)
                while len(came) < 150:
                    came.append(int((await client.receive()).payload))
                await client.flush()
                nursery.cancel_scope.cancel()
        for first in (0, 1000, 2000):
            own = [number for number in came if first <= number < first + 50]
            for qos in range(3):  # those of one quality stay in order
                assert [number for number in own if number % 3 == qos] == [
                    number for number in range(first, first + 50) if number % 3 == qos
                ]


# Connections that end


async def test_another_client_with_the_same_name_takes_over(broker: Broker) -> None:
    first = make_client(broker.port, "a", client_id="twin")
    async with first, make_client(broker.port, "a", client_id="twin"):
        error = await raises_soon(DeviceGone, first.receive)
        # This broker does not say so.
        assert "it has ended, or another client has connected as 'twin'" in str(error)
        assert first.state is DriverState.BROKEN


async def test_a_broker_that_is_shut_down_says_so(broker: Broker) -> None:
    async with make_client(broker.port, "a") as client:
        broker.signal(signal.SIGTERM)
        error = await raises_soon(DeviceGone, client.receive)
        assert "has hung up" in str(error)


@pytest.mark.slow
async def test_a_broker_that_falls_silent_is_gone_after_twice_the_keepalive(
    broker: Broker,
) -> None:
    async with make_client(broker.port, "a", keepalive=1) as client:
        with trio.move_on_after(3):
            await client.receive()
        assert client.state is DriverState.OPEN  # it was asked, and has answered
        broker.signal(signal.SIGSTOP)
        began = time.monotonic()
        try:
            error = await raises_soon(DeviceGone, client.receive)
        finally:
            broker.signal(signal.SIGCONT)
        assert "has not answered for 1 s" in str(error)
        assert time.monotonic() - began >= 1.0


@pytest.mark.slow
async def test_a_node_that_only_listens_keeps_its_connection_alive(broker: Broker) -> None:
    client = make_client(broker.port, keepalive=1, will=MqttMessage("will"))
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(DriverNode("lamp", client, listen="lamp"))
    async with make_client(broker.port, ("will", "home/lamp")) as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await trio.sleep(3.5)
            scheduler.topic("lamp").send(MqttMessage("home/lamp", b"on"))
            assert (await listener.receive()).topic == "home/lamp"
            scheduler.stop()
        assert client.statistics().connects == 1
        assert await nothing_comes(listener)


@pytest.mark.slow
async def test_a_node_connects_again_to_a_broker_that_was_killed(broker: Broker) -> None:
    client = make_client(broker.port, "home/+/temperature")
    scheduler = horus.Scheduler(signals=False)
    scheduler.add(DriverNode("home", client, publish="readings", listen="orders"))
    async with trio.open_nursery() as nursery:
        readings = scheduler.topic("readings").subscribe()
        await nursery.start(scheduler.run)
        for connects in (1, 2, 3):
            await until(lambda connects=connects: client.statistics().connects == connects)  # type: ignore[misc]
            await until(lambda: client.state is DriverState.OPEN)
            scheduler.topic("orders").send(MqttMessage("home/hall/temperature", b"%d" % connects))
            with trio.fail_after(SOON):
                assert (await readings.receive()).payload == b"%d" % connects
            broker.kill()
            await until(lambda: client.state is not DriverState.OPEN)
            broker.start()
        scheduler.stop()
    assert client.state is DriverState.CLOSED
