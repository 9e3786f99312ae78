"""Devices that only speak, such as cameras and files that grow."""

from __future__ import annotations

from typing import ClassVar, NoReturn, TypeVar

import trio

from ..errors import ConfigurationError
from .driver import Driver

__all__ = ["ReceiveOnlyDriver"]

T = TypeVar("T")


class ReceiveOnlyDriver(Driver[T]):
    """A driver of a device that takes no messages: `send` is refused.

    For authors: define `_connect`, `_receive` and `_disconnect`.
    """

    sends: ClassVar[bool] = False

    async def _send(self, message: T) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise ConfigurationError(
            f"send(): {self.name} takes no messages, it only has some to be received"
        )
