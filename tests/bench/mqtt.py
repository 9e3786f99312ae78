"""What `MqttClient` costs above bare paho on Trio, and beside paho with a thread of its own.

All of them go through a real broker, mosquitto, in a process of its own: a message is sent under a
topic that its sender has subscribed to. The broker takes part in every figure.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import trio
from _compare import NotMeasured, Target, compare, print_machine
from _quick import either

from horus_trio.drivers import MqttClient, MqttMessage, MqttSubscription

PAYLOAD = b'{"temperature": 20.5}'
ROUNDS = either(2_000, 50)
MESSAGES = either(5_000, 300)
REPETITIONS = either(9, 1)

HOST, TOPIC = "127.0.0.1", "home/kitchen/temperature"


@contextlib.contextmanager
def broker() -> Iterator[int]:
    """The port of a mosquitto."""
    command = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if command is None:
        raise NotMeasured("mosquitto is not installed")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "mosquitto.conf"
        configuration.write_text(
            f"listener {port} {HOST}\nallow_anonymous true\nset_tcp_nodelay true\n"
            "max_queued_messages 0\n"
        )
        process = subprocess.Popen([command, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection((HOST, port)).close()
                    break
                time.sleep(0.005)
            yield port
        finally:
            process.kill()
            process.wait()


async def round_trips(trip: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of one, with a few before that do not count."""
    for _ in range(max(1, ROUNDS // 10)):
        await trip()
    gc.collect()
    began = time.perf_counter()
    for _ in range(ROUNDS):
        await trip()
    return (time.perf_counter() - began) / ROUNDS * 1e6


def paho_client(came: Callable[[bytes], object], port: int, qos: int) -> Any:
    """paho, which waits for its subscription."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    subscribed: list[object] = []

    def on_message(_: object, __: object, message: Any) -> None:
        came(bytes(message.payload))

    def subscribe(*_: object) -> None:
        client.subscribe(TOPIC, qos)

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.on_connect = subscribe
    client.connect(HOST, port)
    sock: Any = client.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while not subscribed:
        client.loop(0.1)
    return client


# A message there and back


def bare_trip(qos: int) -> Callable[[], float]:
    """paho's external loop, as one writes it: no keep-alive, no order of senders, no errors."""

    async def main(port: int) -> float:
        came: list[bytes] = []
        client = paho_client(came.append, port, qos)
        sock = client.socket()

        async def trip() -> None:
            client.publish(TOPIC, PAYLOAD, qos)
            while not came:
                await trio.lowlevel.wait_readable(sock)
                client.loop_read()
            if came.pop() != PAYLOAD:
                raise SystemExit("another message came back")

        try:
            return await round_trips(trip)
        finally:
            client.disconnect()

    return lambda: with_broker(main)


def thread_trip(qos: int) -> Callable[[], float]:
    """paho's thread, which brings what comes to Trio's."""

    async def main(port: int) -> float:
        token = trio.lowlevel.current_trio_token()
        put, take = trio.open_memory_channel[bytes](1000)

        def came(payload: bytes) -> None:
            trio.from_thread.run_sync(put.send_nowait, payload, trio_token=token)

        client = paho_client(came, port, qos)
        client.loop_start()

        async def trip() -> None:
            client.publish(TOPIC, PAYLOAD, qos)
            if await take.receive() != PAYLOAD:
                raise SystemExit("another message came back")

        try:
            return await round_trips(trip)
        finally:
            client.disconnect()
            await trio.to_thread.run_sync(client.loop_stop)
            client._reset_sockets()  # it keeps the pair by which its thread is woken

    return lambda: with_broker(main)


def our_trip(qos: int) -> Callable[[], float]:
    async def main(port: int) -> float:
        message = MqttMessage(TOPIC, PAYLOAD, qos=qos)
        async with MqttClient(HOST, port, subscribe=MqttSubscription(TOPIC, qos)) as client:

            async def trip() -> None:
                await client.send(message)
                if (await client.receive()).payload != PAYLOAD:
                    raise SystemExit("another message came back")

            return await round_trips(trip)

    return lambda: with_broker(main)


# Many on the way at once


def thread_stream() -> float:
    async def main(port: int) -> float:
        token = trio.lowlevel.current_trio_token()
        put, take = trio.open_memory_channel[bytes](MESSAGES)

        def came(payload: bytes) -> None:
            token.run_sync_soon(put.send_nowait, payload)

        client = paho_client(came, port, 1)
        client.loop_start()
        try:
            began = time.perf_counter()
            for _ in range(MESSAGES):
                client.publish(TOPIC, PAYLOAD, 1)
            for _ in range(MESSAGES):
                await take.receive()
            return MESSAGES / (time.perf_counter() - began) / 1e3
        finally:
            client.disconnect()
            await trio.to_thread.run_sync(client.loop_stop)
            client._reset_sockets()  # it keeps the pair by which its thread is woken

    return with_broker(main)


def our_stream() -> float:
    async def main(port: int) -> float:
        message = MqttMessage(TOPIC, PAYLOAD)

        async def send() -> None:
            for _ in range(MESSAGES):
                await client.send(message)

        async with (
            MqttClient(HOST, port, subscribe=TOPIC) as client,
            trio.open_nursery() as nursery,
        ):
            began = time.perf_counter()
            nursery.start_soon(send)
            for _ in range(MESSAGES):
                await client.receive()
            return MESSAGES / (time.perf_counter() - began) / 1e3

    return with_broker(main)


def with_broker(main: Callable[[int], Awaitable[float]]) -> float:
    with broker() as port:
        return trio.run(main, port)


def main() -> None:
    print_machine()
    for qos in (0, 1):
        compare(
            f"a message of QoS {qos} through a broker, and back",
            "us",
            {
                "paho on wait_readable, bare": bare_trip(qos),
                "MqttClient": our_trip(qos),
                "paho's thread": thread_trip(qos),
            },
            base="paho's thread",
            repetitions=REPETITIONS,
            targets={"MqttClient": Target(at_most=0.9)},
        )
    compare(
        "messages of QoS 1 through a broker, many at once",
        "thousand a second",
        {"paho's thread": thread_stream, "MqttClient": our_stream},
        base="paho's thread",
        repetitions=REPETITIONS,
    )


if __name__ == "__main__":
    main()
