"""Redis pub/sub: messages for whoever listens at the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio

from ...errors import ConfigurationError
from ..errors import FrameError
from .connection import Lost, understood
from .device import MIB, RedisDriver, plugged
from .replies import Refused
from .server import RedisServer

__all__ = ["ChannelMessage", "RedisPubSub"]

SLOW = (
    "; it does so when it ends, and when what waits for a slow reader is more than its "
    "client-output-buffer-limit for pubsub (32 MB by default): if so, receive faster, or use a "
    "RedisStream"
)

MOST_EARLY = 10_000
"""Messages of the first channels that may come before it has subscribed to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMessage:
    """A message of a channel.

    Attributes:
        channel: Its name.
        data: What it says; to be sent, it may be text as well.
        pattern: The pattern by which it came, or None.
    """

    channel: str
    data: bytes
    pattern: str | None = None


class RedisPubSub(RedisDriver[ChannelMessage]):
    """Channels of a Redis server. Needs the extra ``redis``.

    ::

        async with RedisPubSub("redis://192.168.0.7", channels=["commands"]) as robot:
            command = await robot.receive()
            await robot.send(ChannelMessage(channel="done", data=command.data))

    `receive` gives out what is published on `channels`, and on those that a pattern fits, from the
    moment it is open; a message that comes by a channel and by a pattern comes twice. `send`
    publishes, and returns when the server has passed it on, to nobody perhaps.

    What is published while there is no connection is lost, and nobody knows of it: the server keeps
    nothing. When it is opened again it has subscribed again. What must not be lost belongs into a
    `RedisStream`.

    A server closes the connection of a subscriber who reads too slowly, and what it had for him is
    lost; `DeviceGone` says so. A `send` that is cancelled while the server has not answered leaves
    the driver broken.

    Arguments:
        server: A `RedisServer`, or a URL of one, such as ``redis://:password@192.168.0.7:6379``.
        channels: Names. With neither these nor patterns it can only send.
        patterns: Such as ``"sensors.*"``; ``*``, ``?`` and ``[…]`` are as in a shell.
        max_message: Bytes of a message. Longer ones are not sent, and rejected when they come.
    """

    def __init__(
        self,
        server: str | RedisServer,
        *,
        channels: Sequence[str] = (),
        patterns: Sequence[str] = (),
        max_message: int = MIB,
    ) -> None:
        self._channels = _names("channels", channels)
        self._patterns = _names("patterns", patterns)
        super().__init__(server, max_message=max_message)

    @property
    def name(self) -> str:
        names = ", ".join((*self._channels, *self._patterns))
        return f"{type(self).__qualname__} {names!r:.80} at {self._server}"

    async def _prepare(self) -> None:
        reader = plugged(self._reader)
        for command, names in (("SUBSCRIBE", self._channels), ("PSUBSCRIBE", self._patterns)):
            if names:
                reader.put(command, *names)
        missing = len(self._channels) + len(self._patterns)
        early: list[Any] = []
        while missing:
            push = await reader.next()
            if isinstance(push, Refused):
                raise push
            with understood(push):
                kind = push[0]
            if kind in (b"subscribe", b"psubscribe"):
                missing -= 1
            elif len(early) < MOST_EARLY:
                early.append(push)
            else:
                raise Lost(f"{MOST_EARLY} messages came, and no answer to the subscription")
        reader.put_back(early)

    async def _receive(self) -> ChannelMessage:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._channels and not self._patterns:
            raise ConfigurationError(
                f"receive(): {self.name} listens to nothing; give it channels=[…] or patterns=[…]"
            )
        try:
            while True:
                push = await plugged(self._reader).next()
                if isinstance(push, Refused):
                    raise push
                with understood(push):
                    message = self._message(push)
                if message is not None:
                    return message
        except Refused as error:
            raise self._refused(error) from error
        except Lost as error:
            raise self._gone(error, SLOW) from error

    def _message(self, push: list[Any]) -> ChannelMessage | None:
        kind, *names, data = push
        if kind not in (b"message", b"pmessage"):
            return None
        if data is None or len(data) > self._max_message:
            self._reject(0 if data is None else len(data))
            return None
        if not isinstance(data, bytes):
            raise TypeError(f"{data!r:.80} is no message")
        *pattern, channel = (name.decode("utf-8", "surrogateescape") for name in names)
        return ChannelMessage(channel=channel, data=data, pattern=pattern[0] if pattern else None)

    async def _send(self, message: ChannelMessage) -> None:
        if not isinstance(message, ChannelMessage):
            raise FrameError(
                f'expected a ChannelMessage(channel="…", data=b"…"), got {message!r:.80}'
            )
        data: object = message.data
        if isinstance(data, str):
            data = data.encode()
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise FrameError(
                f"expected a message with data of bytes or text, got {data!r:.80}; encode it first"
            )
        if not isinstance(message.channel, str) or not message.channel:
            raise FrameError(f"expected the name of a channel, got {message.channel!r:.80}")
        self._check_size(len(data))
        await self._store("PUBLISH", message.channel, bytes(data))


def _names(option: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, (str, bytes)) or not isinstance(names, Sequence):
        raise ConfigurationError(
            f'RedisPubSub({option}={names!r:.80}): expected a list of names, such as ["commands"]'
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"RedisPubSub({option}={names!r:.80}): expected names, got {name!r:.80}"
            )
    return tuple(dict.fromkeys(names))
