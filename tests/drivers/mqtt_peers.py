"""A real broker, mosquitto, on the loopback address; paho in its own thread; a scripted broker."""

from __future__ import annotations

import collections
import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import trio
from drivers.peers import HOST, free_port

from horus_trio.drivers import MqttClient, MqttMessage, MqttOptions, MqttSubscription

__all__ = [
    "MOSQUITTO",
    "TOPIC",
    "Broker",
    "MqttPeer",
    "Paho",
    "Scripted",
    "broker_for",
    "make_client",
    "make_mqtt",
    "needs_mosquitto",
    "open_mqtt_peer",
    "publish_packet",
    "scripted_broker",
]

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

TOPIC = "chat"
"""What driver and peer both send to; neither hears itself."""

CONFIGURATION = """
listener {port} {host}
user root
set_tcp_nodelay true
max_queued_messages 0
max_queued_bytes 0
log_dest file {folder}/log
log_type error
log_type warning
log_type notice
"""


PERSISTENCE = """
persistence true
persistence_location {folder}/
autosave_interval 1
autosave_on_changes true
"""


class Broker:
    """A mosquitto that can be killed, stopped and started again, at the same port."""

    def __init__(
        self, folder: Path, *, more: str = "", anonymous: bool = True, persistent: bool = True
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._more = f"allow_anonymous {'true' if anonymous else 'false'}\n{more}\n"
        if persistent:
            self._more += PERSISTENCE.format(folder=folder)

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start it, and wait until it listens; a few ms."""
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(
            CONFIGURATION.format(port=self.port, host=HOST, folder=self.folder) + self._more
        )
        assert MOSQUITTO is not None
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((HOST, self.port)).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f"mosquitto does not start: {self.log}") from None
                time.sleep(0.002)
            else:
                return

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; it ends at once, and what it has not written down is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def save(self) -> None:
        """Have it write down what it knows."""
        database = self.folder / "mosquitto.db"
        before = database.stat().st_mtime_ns if database.exists() else 0
        self.signal(signal.SIGUSR1)
        until = time.monotonic() + 10
        while not database.exists() or database.stat().st_mtime_ns == before:
            assert time.monotonic() < until
            time.sleep(0.002)


@contextlib.contextmanager
def broker_for(folder: Path, **how: Any) -> Iterator[Broker]:
    """One that runs."""
    broker = Broker(folder, **how)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


def make_client(port: int, subscribe: Any = (), **more: Any) -> MqttClient:
    """A client; keywords of `MqttOptions` may be among the others."""
    options = {name: more.pop(name) for name in MqttOptions.__slots__ if name in more}
    return MqttClient(HOST, port, subscribe=subscribe, options=MqttOptions(**options), **more)


def asked(session_expiry: int) -> Any:
    """What paho asks of the broker: all it has, at once."""
    from paho.mqtt.properties import Properties

    new: Callable[[int], Any] = Properties
    properties = new(1)
    properties.ReceiveMaximum = 65535
    properties.SessionExpiryInterval = session_expiry
    return properties


class MqttPeer:
    """paho, driven by its own thread, on a broker of its own; the line is the broker's.

    Messages are under one topic.
    """

    def __init__(self, broker: Broker) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.subscribeoptions import SubscribeOptions

        self.broker = broker
        self.port = broker.port
        self._token = trio.lowlevel.current_trio_token()
        self._came: collections.deque[MqttMessage] = collections.deque()
        self._news = trio.lowlevel.ParkingLot()
        self._ready = trio.Event()
        self._answered = trio.Event()
        self._gone = False
        self._paused = False
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id="peer",
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.max_inflight_messages_set(0)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._token.run_sync_soon(self._ready.set)
        self._client.on_unsubscribe = lambda *_: self._token.run_sync_soon(self._answered.set)
        self._client.connect(HOST, broker.port, properties=asked(0))
        self._client.subscribe(TOPIC, options=SubscribeOptions(qos=2, noLocal=True))
        self._client.loop_start()

    async def ready(self) -> None:
        """Wait until it has subscribed."""
        await self._ready.wait()

    async def receive(self) -> MqttMessage:
        """The next message.

        By then the broker has acknowledged it to the driver: it has one thread, and has answered.
        """
        while not self._came:
            self._look()
            await self._news.park()
        if len(self._came) == 1:
            self._answered = trio.Event()
            self._client.unsubscribe("nothing")
            await self._answered.wait()
            self._look()
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._came.popleft()

    async def send(self, message: MqttMessage, /) -> None:
        """Send a message."""
        self._client.publish(message.topic, message.payload, message.qos, message.retain)
        await trio.lowlevel.checkpoint()

    async def vanish(self) -> None:
        """The broker is killed."""
        self._gone = True
        self.broker.kill()
        self._news.unpark_all()
        self._answered.set()
        await trio.lowlevel.checkpoint()

    def pause_reading(self) -> None:
        """The broker takes nothing from the line."""
        self._paused = True
        self.broker.signal(signal.SIGSTOP)

    def resume_reading(self) -> None:
        """It goes on."""
        self._paused = False
        self.broker.signal(signal.SIGCONT)

    def close(self) -> None:
        """End the thread."""
        if self._paused:
            self.broker.kill()
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()  # it has a pair to wake itself by, and keeps it

    def _look(self) -> None:
        if self._gone:
            raise trio.BrokenResourceError("this peer has vanished")

    def _on_message(self, client: Any, userdata: Any, came: Any) -> None:
        """In the thread."""
        message = MqttMessage(came.topic, came.payload, qos=came.qos, retain=came.retain)
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._take, message)

    def _take(self, message: MqttMessage) -> None:
        self._came.append(message)
        self._news.unpark_all()


@contextlib.asynccontextmanager
async def open_mqtt_peer() -> AsyncIterator[MqttPeer]:
    """For a `make_mqtt(peer)`."""
    with (
        tempfile.TemporaryDirectory(prefix="mqtt") as folder,
        broker_for(Path(folder), persistent=False) as broker,
    ):
        peer = MqttPeer(broker)
        try:
            with trio.fail_after(10):
                await peer.ready()
            yield peer
        finally:
            peer.close()


def make_mqtt(peer: MqttPeer, **more: Any) -> MqttClient:
    """A driver whose other end is that peer."""
    return make_client(peer.port, MqttSubscription(TOPIC, 2, no_local=True), **more)


class Paho:
    """Another program's client, as far as the broker can tell: paho, which reconnects by itself.

    Attributes:
        came: What it has received, in order.
    """

    def __init__(
        self, port: int, client_id: str, subscribe: str | None = None, *, qos: int = 1
    ) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.came: list[MqttMessage] = []
        self.subscriptions = 0
        self._subscribe = subscribe
        self._qos = qos
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5
        )
        self._client.reconnect_delay_set(0.05, 0.1)  # type: ignore[arg-type]
        self._client.max_inflight_messages_set(20)
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.connect(HOST, port, clean_start=False, properties=asked(600))
        self._client.loop_start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Take it over, to be sent until the broker has acknowledged it."""
        self._client.publish(topic, payload, qos, retain)

    @property
    def unacknowledged(self) -> int:
        """Messages that the broker has not acknowledged."""
        return len(self._client._out_messages)

    def _on_connect(self, client: Any, *_: object) -> None:
        if self._subscribe is not None:
            client.subscribe(self._subscribe, self._qos)

    def _on_subscribe(self, *_: object) -> None:
        self.subscriptions += 1

    def _on_message(self, client: Any, userdata: Any, came: Any) -> None:
        self.came.append(MqttMessage(came.topic, came.payload, qos=came.qos, retain=came.retain))


# A broker that says what a test wants it to say


class Scripted:
    """Takes one connection at a time, answers to CONNECT and SUBSCRIBE, and notes the rest."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.port: int = listener.socket.getsockname()[1]
        self.stream: trio.SocketStream | None = None
        self.packets: list[bytes] = []
        """What has come, without the answered ones."""
        self.connack = b"\x00\x00\x00"
        """The rest of the answer to CONNECT: flags, reason, properties."""
        self.granted = b"\x02"
        self.answers_subscriptions = True
        self._turn = trio.Lock()
        self._news = trio.lowlevel.ParkingLot()

    async def write(self, data: bytes) -> None:
        """Say this."""
        assert self.stream is not None
        async with self._turn:
            await self.stream.send_all(data)

    async def came(self, kind: int, count: int = 1) -> list[bytes]:
        """Wait until so many packets of a kind, such as 0x40, have come."""
        with trio.fail_after(10):
            while True:
                found = [packet for packet in self.packets if packet[0] & 0xF0 == kind]
                if len(found) >= count:
                    return found
                await self._news.park()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Read packets; each has a length of one byte or two."""
        data = b""
        self.stream = stream
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                while (packet := whole_packet(data)) is None:
                    more = await stream.receive_some(65536)
                    if not more:
                        return
                    data += more
                data = data[len(packet) :]
                if packet[0] == 0x10:
                    await self.write(bytes([0x20, len(self.connack)]) + self.connack)
                elif packet[0] == 0x82 and self.answers_subscriptions:
                    number = packet[2:4]
                    await self.write(
                        bytes([0x90, 3 + len(self.granted)]) + number + b"\0" + self.granted
                    )
                else:
                    self.packets.append(packet)
                    self._news.unpark_all()


def whole_packet(data: bytes) -> bytes | None:
    """The first packet, if it is all there."""
    length, shift = 0, 0
    for at, byte in enumerate(data[1:5], 2):
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return data[: at + length] if len(data) >= at + length else None
    return None


def publish_packet(
    topic: bytes, payload: bytes, *, qos: int = 0, number: int = 0, flags: int = 0
) -> bytes:
    """A PUBLISH of MQTT 5."""
    rest = len(topic).to_bytes(2, "big") + topic
    rest += number.to_bytes(2, "big") if qos else b""
    rest += b"\0" + payload
    assert len(rest) < 128 * 128
    return bytes([0x30 | qos << 1 | flags, len(rest) % 128 | 128, len(rest) // 128]) + rest


@contextlib.asynccontextmanager
async def scripted_broker() -> AsyncIterator[Scripted]:
    """One that listens."""
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with trio.open_nursery() as nursery:
        scripted = Scripted(listener)
        nursery.start_soon(trio.serve_listeners, scripted.serve, [listener])
        yield scripted
        nursery.cancel_scope.cancel()


def needs_mosquitto(require: Callable[[str, bool, str], None]) -> None:
    """Skips the test where there is none."""
    require("mosquitto", MOSQUITTO is not None, "apt install mosquitto")
