"""A connection to a broker comes about: TCP, TLS, and what the broker answers.

All of it is waited for by Trio, so that it can be cancelled at any time, and leaves nothing then.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from ..addresses import connect_failed
from ..errors import ConnectFailed
from .line import Line
from .message import MqttSubscription

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from .session import Answer

__all__ = ["judge_answer", "judge_subscriptions", "open_line"]

REMEDIES = {
    0x84: 'try options=MqttOptions(version="3.1.1")',
    0x85: "give another client_id",
    0x86: "check username and password",
    0x87: "check username and password, and what the broker lets this client do",
    0x88: "try again later",
    0x8A: "ask whoever runs the broker",
    0x95: "its will may be too long",
    0x97: "ask whoever runs the broker for a larger quota",
    0x9F: "try again later, and less often",
}
"""What to do when the broker refuses a connection, by its reason."""

REFUSED = 0x80
"""Reasons from here on are refusals."""


async def open_line(name: str, host: str, port: int, tls: ssl.SSLContext | None) -> Line:
    """Connect by TCP, and TLS. A checkpoint.

    Raises:
        ConnectFailed: That cannot be.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise connect_failed(name, repr(host), error) from error
    connected = socket.socket(fileno=stream.socket.detach())
    try:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connected = tls.wrap_socket(
                connected, server_hostname=host, do_handshake_on_connect=False
            )
            await _shake_hands(connected)
    except ssl.SSLError as error:
        connected.close()
        raise ConnectFailed(
            f"{name} cannot be opened: TLS has failed ({error.reason or error}); see whether this "
            "is its TLS port, and whether its certificate is for this host, and trusted: "
            "tls=ssl.create_default_context(cafile=…) trusts one's own"
        ) from error
    except BaseException:
        connected.close()
        raise
    return Line(connected)


def judge_answer(name: str, answer: Answer | None, username: str | None) -> None:
    """Raise `ConnectFailed` if the broker refuses the connection."""
    if answer is not None and answer.reason.is_failure:
        as_whom = "" if username is None else f", as user {username!r}"
        raise ConnectFailed(
            f"{name} cannot be opened: the broker refuses{as_whom}: {answer.reason}; "
            f"{REMEDIES.get(answer.reason.value, 'see its log')}"
        )


def judge_subscriptions(
    name: str, asked: Sequence[MqttSubscription], granted: Sequence[ReasonCode] | None
) -> None:
    """Raise `ConnectFailed` if the broker refuses one, or grants less."""
    for subscription, reason in zip(asked, granted or (), strict=False):
        text = f"{name} cannot be opened: the broker "
        if reason.value >= REFUSED:
            raise ConnectFailed(
                f"{text}refuses the subscription {subscription.filter!r}: {reason}; check it, and "
                "what the broker lets this client read"
            )
        if reason.value < subscription.qos:
            raise ConnectFailed(
                f"{text}grants only QoS {reason.value} for {subscription.filter!r}: say "
                f"MqttSubscription({subscription.filter!r}, qos={reason.value})"
            )


async def _shake_hands(connected: ssl.SSLSocket) -> None:
    """TLS's."""
    while True:
        try:
            connected.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(connected.fileno())
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(connected.fileno())
        else:
            return
