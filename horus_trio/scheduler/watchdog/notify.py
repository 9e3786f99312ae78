"""Tells systemd how the robot is: the protocol of ``sd_notify(3)``: datagrams to a socket.

``READY=1`` once the nodes are initialised, ``STATUS=`` now and then, ``STOPPING=1`` at the stop,
and ``WATCHDOG=1`` only while the robot makes progress: systemd restarts one that makes none.
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
import socket
from collections.abc import Callable, Mapping

from ...printable import one_line
from .thread import Duty

__all__ = ["Notifier"]

STATUS_EVERY = 5.0
"""Seconds."""


class Notifier(Duty):
    """Sends the notifications of one run; does nothing where systemd does not ask for any.

    Arguments:
        progress: Says what keeps the robot from its work, or an empty text.
        status: Describes the robot in a line.
        environment: Where ``NOTIFY_SOCKET`` and the like are looked up.
    """

    def __init__(
        self,
        progress: Callable[[], str],
        status: Callable[[], str],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._progress = progress
        self._status = status
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        self._beat_every = _watchdog_interval(environment)
        self._next_beat = self._next_status = math.inf
        self._obstacle = ""
        self._unsent: collections.deque[str] = collections.deque()

    def ready(self) -> None:
        """Every node is initialised. Any thread."""
        self._send_surely("READY=1")
        if self._socket is not None:
            self._next_status = 0.0
            if self._beat_every < math.inf:
                self._next_beat = 0.0

    def stopping(self, reason: str) -> None:
        """The stop has begun. Any thread."""
        self._next_status = math.inf
        self._send_surely(f"STOPPING=1\nSTATUS={_line(f'stopping: {reason}')}")

    def close(self) -> None:
        """The run is over. Idempotent."""
        self._next_beat = self._next_status = math.inf
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def look(self, now: float) -> float:
        while self._unsent and self._send(self._unsent[0]):
            self._unsent.popleft()
        if now >= self._next_beat:
            self._next_beat = now + self._beat_every
            obstacle = self._progress()
            if not obstacle:
                self._send("WATCHDOG=1")
            elif obstacle != self._obstacle:
                self._send(f"STATUS={_line(f'no progress: {obstacle}')}")
            self._obstacle = obstacle
        if now >= self._next_status:
            self._next_status = now + STATUS_EVERY
            if not self._obstacle:
                self._send(f"STATUS={_line(self._status())}")
        return min(self._next_beat, self._next_status)

    def _send_surely(self, text: str) -> None:
        """Send it, if need be later: systemd acts on it."""
        if not self._send(text):
            self._unsent.append(text)

    def _send(self, text: str) -> bool:
        """Send it; returns False if there is no room for it now."""
        if self._socket is not None:
            try:
                self._socket.sendto(text.encode(), self._address)
            except BlockingIOError:
                return False
            except OSError:
                return True  # nobody listens: the robot goes on
        return True


def _watchdog_interval(environment: Mapping[str, str]) -> float:
    """Seconds between beats: half of what systemd allows; inf: it does not watch this process."""
    with contextlib.suppress(ValueError, OverflowError):
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
        pid = int(environment.get("WATCHDOG_PID", os.getpid()))
        if microseconds > 0 and pid == os.getpid():
            return microseconds / 2e6
    return math.inf


def _line(text: str) -> str:
    return one_line(" ".join(text.split()))
