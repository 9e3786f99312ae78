"""What can go wrong with a device: one small tree under `DriverError`.

The operating system's errors are turned into these once, at the seam, and stay their
``__cause__``. Trio's meanings hold: `trio.ClosedResourceError` is raised for what the program has
closed or never opened, `trio.BusyResourceError` for two tasks that want the same.
"""

from __future__ import annotations

import trio

from ..errors import HorusError

__all__ = [
    "ConnectFailed",
    "DeviceGone",
    "DriverError",
    "FrameError",
    "MissingExtra",
    "QueryTimeout",
    "ReceiveFailed",
    "SendFailed",
    "SendInterrupted",
    "WrongReply",
]


class DriverError(HorusError):
    """Base of what a driver raises about its device."""


class ConnectFailed(DriverError, ConnectionError):
    """The device could not be opened: it is not there, not ours, or in use. `open` may be tried
    again."""


class ReceiveFailed(DriverError):
    """One `receive` failed; the connection is still there."""


class SendFailed(DriverError):
    """One `send` failed and nothing of it went out; the connection is still there."""


class DeviceGone(DriverError, trio.BrokenResourceError):
    """The connection is lost: unplugged, hung up, reset, exited. `aclose`, then `open` again."""


class SendInterrupted(DeviceGone):
    """A `send` was cancelled in the middle of a message, so the line is of no use any more.

    The other end has got the beginning, and whatever came next would be taken for the rest.
    """


class FrameError(DriverError, ValueError):
    """A message cannot be framed: too long, or with what may not be in it."""


class QueryTimeout(DriverError, TimeoutError):
    """The device has not answered in time, however often it was asked."""


class WrongReply(DriverError):
    """The device has answered, and not with what was asked for: an error, or nonsense."""


class MissingExtra(DriverError, ImportError):
    """An optional package is not installed; the message says which, and how to get it."""
