"""Framing: where messages begin and end in a stream of bytes. No I/O in here.

`Framing.feed` takes bytes as they come, in pieces of any size, and gives the messages that are
complete; `Framing.encode` makes of a message the bytes to send. What is found depends on the bytes
alone, and not on the pieces they come in.

Garbage costs the messages it has hit, and no more, where the format permits: a framing finds the
next beginning by itself. It accounts for every byte: each is part of a message that was given out,
or of what the format adds to it, or it is `Framing.discarded`, or it is `Framing.pending`.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import ClassVar

from ...arguments import is_whole
from ...errors import ConfigurationError
from ..errors import FrameError

__all__ = ["MAX_FRAME", "Framing", "Verify", "check_number"]

MAX_FRAME = 65536

Verify = Callable[[bytes], bytes | None]
"""Gives the message that is in a message, or None if that is not valid."""


class Framing(abc.ABC):
    """How messages lie in a stream, and one stream's state.

    One of your own is a subclass of `Headed`, whose messages are known by their beginning, or of
    `Delimited`, whose messages are known by their end.

    Arguments:
        max_frame: Bytes a message may have, framed; longer ones are discarded, so that memory
            stays bounded whatever comes.

    Attributes:
        frames: Messages found.
        rejected: Messages that were not valid, such as those too long or with a wrong checksum.
        discarded: Bytes that belong to no message that was given out, those of rejected ones
            included.
    """

    _transparent: ClassVar[bool] = True
    """Whether any bytes may be in a message."""

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        check_number(self, "max_frame", max_frame, least=1, what="bytes")
        self.max_frame: int = max_frame
        self.frames: int = 0
        self.rejected: int = 0
        self.discarded: int = 0
        self._buffer = bytearray()
        self._verify: Verify | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._arguments())})"

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their message; fewer than `max_frame`."""
        return len(self._buffer)

    def encode(self, message: bytes) -> bytes:
        """The bytes to send for a message.

        Raises:
            FrameError: It is not made of bytes, too long, or contains what may not be in it.
        """
        if not isinstance(message, (bytes, bytearray, memoryview)):
            raise FrameError(
                f"expected a message of bytes, got {type(message).__name__}: {message!r:.80}; "
                "encode text first, as in text.encode()"
            )
        data = self._wrap(bytes(message))
        if len(data) > self.max_frame:
            raise FrameError(
                f"a message of {len(data)} bytes, framed, is longer than max_frame="
                f"{self.max_frame}; raise max_frame here and at the other end, or send less"
            )
        return data

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes that came in; the messages that are complete now, in order."""
        self._buffer += data
        frames = self._cut()
        self.frames += len(frames)
        return frames

    def _throw_away(self, size: int, messages: int = 0) -> None:
        """Count bytes that are thrown away, and the messages they were."""
        self.discarded += size
        self.rejected += messages

    def reset(self) -> None:
        """A new connection: what is left of the old one belongs to no message."""
        self.discarded += len(self._buffer)
        self._buffer.clear()

    # For authors to define

    @abc.abstractmethod
    def _wrap(self, message: bytes) -> bytes:
        """What `encode` returns; raises `FrameError` for what may not be in a message."""

    @abc.abstractmethod
    def _cut(self) -> list[bytes]:
        """Take the complete messages out of the front of `_buffer`; count what is thrown away.

        Less than `max_frame` bytes may stay there. If `_verify` is not None, each message is what
        it makes of one that was found; None is to be rejected.
        """

    def _arguments(self) -> list[str]:
        """What the constructor was called with, for the repr."""
        return [] if self.max_frame == MAX_FRAME else [f"max_frame={self.max_frame}"]

    # For framings around this one

    def _verify_with(self, verify: Verify | None) -> None:
        """From now on, give out only what this approves of."""
        self._verify = verify


def check_number(
    owner: object, name: str, value: int, *, least: int, most: int | None = None, what: str
) -> None:
    """Refuse an argument that is not a whole number in a range."""
    if not is_whole(value, least, math.inf if most is None else most):
        span = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigurationError(
            f"{type(owner).__name__}({name}={value!r}): expected {what}, {span}"
        )
