"""MQTT: messages under topics, by way of a broker.

The protocol is paho's; this waits for its socket, in Trio's way, and has it read and written. That
is done by whoever waits for something: for a message, in `receive`; for room, in `send`; for
acknowledgements, in `flush`. There is no task and no thread of its own. So if nobody waits, nobody
answers for this client, and after a time the broker takes it for gone: a program that is not in
`receive` all the time has a task in `attend`, as a `DriverNode` has.
"""

from __future__ import annotations

import dataclasses
import secrets
import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

import trio

from ...errors import ConfigurationError
from ..addresses import checked, host_and_port
from ..driver import Driver, DriverState, DriverStatistics
from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, SendFailed
from ..extra import Extra
from .arguments import checked_subscriptions, checked_text, checked_will
from .line import Line
from .message import MqttMessage, MqttSubscription, check_message
from .opening import judge_answer, judge_subscriptions, open_line
from .options import MqttOptions

if TYPE_CHECKING:
    from .session import Session

__all__ = ["MqttClient"]

PAHO = Extra("mqtt", "paho-mqtt", "paho.mqtt.client")

PORT, TLS_PORT = 1883, 8883

REMEMBERED = 100
"""Refused messages that the next `flush` tells of at most."""


class MqttClient(Driver[MqttMessage]):
    """A client of an MQTT broker. Needs the extra ``mqtt``.

    ::

        async with MqttClient("192.168.0.2", subscribe="home/+/temperature") as home:
            await home.send(MqttMessage("home/hall/lamp", b"on"))
            reading = await home.receive()

    What the broker has kept (`MqttMessage.retain`) comes first.

    A message of QoS 1 or 2 is acknowledged to the broker when `receive` gives it out. What was not
    given out when the connection ends comes again with the next one: over `aclose` and `open`, and
    of QoS 1 also in another run of the program, if that has the same `client_id`, before
    `MqttOptions.session_expiry` is over. So of QoS 1 it may come twice, and `MqttMessage.duplicate`
    says that it may. While `MqttOptions.window` of them are not given out, the broker sends no
    more. Those of QoS 0 that nobody receives are held, up to `MqttOptions.held`; then the oldest
    are dropped, which ``statistics().lost`` counts.

    `send` returns when a message is written. One of QoS 1 or 2 is held until the broker has
    acknowledged it, and sent again with the next connection of this driver if need be. `send` waits
    while `MqttOptions.window` of them are not acknowledged; `flush` waits until all are. If `send`
    raises, or is cancelled, the message will not be sent: if a part of it was out, the driver is
    broken. What is held is lost with the program.

    Somebody has to be in `receive`, `send`, `flush` or `attend` for the connection to stay alive:
    else the broker takes this client for gone after one and a half times `MqttOptions.keepalive`.

    Arguments:
        host: Name or address of the broker.
        port: Its port; None: 1883, or 8883 with `tls`.
        subscribe: What to receive: a filter, an `MqttSubscription`, or several. A filter alone is
            one of QoS 1. It is subscribed each time it is opened.
        client_id: By which the broker knows this client, and no other at the same time; None: one
            is made up, which is the driver's as long as it lives.
        username: And `password`: for brokers that ask who one is.
        will: What the broker is to send when this client is gone without having been closed.
        tls: True, or a context of one's own: an encrypted connection. True trusts whom the
            operating system trusts.
        options: What else there is to say.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        subscribe: str | MqttSubscription | Iterable[str | MqttSubscription] = (),
        client_id: str | None = None,
        username: str | None = None,
        password: str | None = None,
        will: MqttMessage | None = None,
        tls: ssl.SSLContext | bool = False,
        options: MqttOptions = MqttOptions(),  # noqa: B008 - it is frozen
    ) -> None:
        super().__init__()
        PAHO.check("MqttClient")
        if not isinstance(options, MqttOptions):
            raise ConfigurationError(
                f"MqttClient(options={options!r:.80}): expected MqttOptions(…), such as "
                "MqttOptions(keepalive=60)"
            )
        if not isinstance(tls, (bool, ssl.SSLContext)):
            raise ConfigurationError(
                f"MqttClient(tls={tls!r:.80}): expected True, False, or an ssl.SSLContext"
            )
        if port is None:
            port = TLS_PORT if tls else PORT
        self._address = checked("MqttClient", host, port)
        self._options = options
        self._subscriptions = checked_subscriptions(subscribe, options)
        self._client_id = checked_text("client_id", client_id) or f"horus-{secrets.token_hex(8)}"
        self._username = checked_text("username", username)
        self._password = checked_text("password", password, empty=True)
        if self._password is not None and self._username is None:
            raise ConfigurationError("MqttClient(password=…): expected a username with it")
        self._will = checked_will(will, options)
        if isinstance(tls, ssl.SSLContext):
            self._tls: ssl.SSLContext | None = tls
        else:
            self._tls = ssl.create_default_context() if tls else None
        self._clean = options.session_expiry == 0 or (
            not options.is_version_5 and client_id is None
        )
        self._session: Session | None = None
        self._line: Line | None = None
        self._leaving: Line | None = None
        self._left = 0
        self._old_bytes_received = self._old_bytes_sent = 0
        self._refused = 0
        self._untold: list[str] = []

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {host_and_port(self._address)}"

    @property
    def client_id(self) -> str:
        """By which the broker knows it."""
        return self._client_id

    @property
    def unacknowledged(self) -> tuple[MqttMessage, ...]:
        """What was sent with QoS 1 or 2 and the broker has not acknowledged, in order.

        It is sent again when this is opened again.
        """
        return () if self._session is None else tuple(self._session.unacknowledged.values())

    @property
    def refused(self) -> int:
        """Messages of QoS 1 and 2 that were sent and that the broker has refused; see `flush`."""
        return self._refused

    def statistics(self) -> DriverStatistics:
        line, session = self._line, self._session
        counted = super().statistics()
        return dataclasses.replace(
            counted,
            bytes_received=self._old_bytes_received + (line.bytes_received if line else 0),
            bytes_sent=self._old_bytes_sent + (line.bytes_sent if line else 0),
            discarded=session.discarded if session else 0,
            rejected=session.rejected if session else 0,
            lost=session.dropped if session else 0,
        )

    async def flush(self) -> None:
        """Wait until the broker has acknowledged what was sent. A checkpoint.

        Raises:
            SendFailed: The broker has refused some of what was sent since the last `flush`; the
                error says what, and why.
            DeviceGone: The connection is lost. What was not acknowledged is sent again when it is
                opened again.
            trio.ClosedResourceError: It is not open, or was closed meanwhile.
        """
        if self._state is not DriverState.OPEN:
            self._refuse("flush")
        connection = self._connection
        try:
            await self._flush()
        except Exception as error:
            failure = self._failed(error, SendFailed, "flush", connection)
            if failure is error:
                raise
            raise failure from error
        if self._untold:
            untold, self._untold = self._untold, []
            raise SendFailed(
                f"{self.name} has refused {len(untold)} of what was sent: "
                f"{'; '.join(untold[:5])}{'; …' if len(untold) > 5 else ''}"
            )

    # What a driver is made of

    async def _connect(self) -> None:
        host, port = self._address
        session = await self._load_session()
        stage = "has not answered"
        try:
            with trio.move_on_after(self._options.connect_within):
                self._line = line = await open_line(self.name, host, port, self._tls)
                stage = "has accepted the connection and said nothing"
                session.connect(line, host, port)
                await self._drive(line, session, lambda: session.answer is not None)
                judge_answer(self.name, session.answer, self._username)
                stage = "has not answered the subscriptions"
                if self._subscriptions:
                    session.subscribe(self._subscriptions)
                    await self._drive(line, session, lambda: session.granted is not None)
                    judge_subscriptions(self.name, self._subscriptions, session.granted)
                return
        except DeviceGone as error:
            raise ConnectFailed(
                f"{self.name} cannot be opened: it {session.lost}; is it an MQTT broker, and "
                f"{'one with' if self._tls else 'one without'} TLS?"
            ) from error
        raise ConnectFailed(
            f"{self.name} cannot be opened: it {stage} within {self._options.connect_within:g} s; "
            "see whether it is an MQTT broker, switched on, and behind no firewall"
        )

    async def _receive(self) -> MqttMessage:
        line, session = self._plugged()
        if session.has_message:
            await trio.lowlevel.checkpoint_if_cancelled()
            if trio.current_time() >= line.look_at:
                self._pump(line, session)
        else:
            await self._drive(line, session, lambda: session.has_message)
        return session.take()

    async def _send(self, message: MqttMessage) -> None:
        line, session = self._plugged()
        check_message(message, version=5 if self._options.is_version_5 else 3)
        size = session.check(message)
        await trio.lowlevel.checkpoint_if_cancelled()
        if trio.current_time() >= line.look_at:
            self._pump(line, session)
        await self._drive(
            line,
            session,
            lambda: not session.is_writing and (message.qos == 0 or session.has_room),
        )
        self._check_fence()
        end = line.bytes_sent + size
        number = session.publish(message)
        try:
            if session.lost:
                raise self._gone(session) from session.cause
            if line.bytes_sent >= end or not session.is_writing:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return
            self._mid_message = line.is_torn = True
            line.nudge()
            await self._drive(
                line, session, lambda: line.bytes_sent >= end or not session.is_writing
            )
            self._mid_message = line.is_torn = False
        except BaseException:
            session.withdraw(number)
            line.close()  # else the rest of it might still be written
            raise

    def _disconnect(self) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        if line.is_torn:
            line.close()  # saying goodbye might complete it, and its send is going to fail
        elif self._state is DriverState.CLOSED and self._connects > self._left:
            line.lingers = True  # aclose() waits for its end
            self._leaving = line
        self._left = self._connects
        if self._session is not None:
            self._session.disconnect(line)
        line.close()
        self._old_bytes_received += line.bytes_received
        self._old_bytes_sent += line.bytes_sent

    async def _wait_disconnected(self) -> None:
        line, self._leaving = self._leaving, None
        if line is not None:
            await line.linger()
        else:
            await trio.lowlevel.checkpoint()

    async def _attend(self) -> NoReturn:
        line, session = self._plugged()
        while True:
            await self._drive(line, session, lambda: False)

    async def _flush(self) -> None:
        line, session = self._plugged()
        await trio.lowlevel.checkpoint()
        waited_for = set(session.unacknowledged)
        await self._drive(
            line,
            session,
            lambda: not session.is_writing and not waited_for & session.unacknowledged.keys(),
        )

    # Connecting

    async def _load_session(self) -> Session:
        """The session, of which there is one; paho is imported in a thread, which takes a while."""
        if self._session is None:
            await Errand(lambda: PAHO.load("MqttClient"), name="imports paho").result()
            from .session import Session

            self._session = Session(self.name, self._options, self._client_id, clean=self._clean)
            self._session.identify(self._username, self._password)
            if self._will is not None:
                self._session.leave(self._will)
        return self._session

    # Driving the line

    async def _drive(self, line: Line, session: Session, done: Callable[[], bool]) -> None:
        """Have what comes read and what goes written, until that is so.

        A checkpoint if it has to wait. One task does it, and others wait for what it has done.
        """
        while not done():
            if self._line is not line:
                raise trio.ClosedResourceError(f"{self.name} was closed")
            if session.lost or line.closed:
                raise self._gone(session) from session.cause
            if line.ahead:
                await trio.lowlevel.checkpoint()
            elif line.is_driven:
                await line.news.park()
                continue
            else:
                try:
                    await line.ready(to_write=session.is_writing)
                except trio.ClosedResourceError:
                    continue  # why is known
            if self._line is line:
                self._pump(line, session)

    def _pump(self, line: Line, session: Session) -> None:
        """Read and write what can be, and let everybody look what has come of it."""
        session.read(line)
        session.write()
        session.look(line)
        for message, reason in session.refused:
            self._refused += 1
            self._untold.append(f"{message.topic!r:.80} ({reason})")
            self._note(SendFailed(f"{self.name} has refused {message.topic!r:.80}: {reason}"))
        session.refused.clear()
        del self._untold[:-REMEMBERED]
        line.nudge()
        line.news.unpark_all()

    def _gone(self, session: Session) -> DeviceGone:
        return DeviceGone(f"{self.name} {session.lost or 'is gone'}")

    def _plugged(self) -> tuple[Line, Session]:
        if self._line is None or self._session is None:
            raise trio.ClosedResourceError(f"{self.name} is not connected")
        return self._line, self._session
