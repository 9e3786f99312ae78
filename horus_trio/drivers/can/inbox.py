"""What has come from a bus and is not received yet, and what is known of it. It does no I/O."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from .frame import CanFilter, CanFrame
from .state import CanBusState, state_told_by, tells_overrun

__all__ = ["Inbox"]

MOST = 65536
"""Frames that are kept when nobody receives: some ten seconds of a full bus."""


class Inbox:
    """Frames in the order in which they came. When it is full the oldest goes, and is counted.

    Arguments:
        filters: What is wanted; empty: all.
        error_frames: Whether error frames are wanted.
        as_linux: Whether they are as Linux has them, so that they tell the state.
        most: How many frames it keeps.
    """

    def __init__(
        self,
        filters: Sequence[CanFilter],
        *,
        error_frames: bool,
        as_linux: bool = True,
        most: int = MOST,
    ) -> None:
        self.frames: collections.deque[CanFrame] = collections.deque()
        self.state: CanBusState = CanBusState.UNKNOWN
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.discarded: int = 0
        self.rejected: int = 0
        self.lost: int = 0
        self.bus_offs: int = 0
        self.error_frames: int = 0
        self.refused: int = 0
        self.overruns: int = 0
        self.unwanted: int = 0
        self._filters = filters
        self._gives_errors = error_frames
        self._as_linux = as_linux
        self._most = most

    def begin(self) -> None:
        """A new connection."""
        self.frames.clear()
        self.state = CanBusState.UNKNOWN

    def put(self, frame: CanFrame) -> None:
        """One has come."""
        if frame.is_error:
            self.error_frames += 1
            if self._as_linux:
                self._read(frame)
            if not self._gives_errors:
                return
        elif self._filters and not any(wanted.matches(frame) for wanted in self._filters):
            self.unwanted += 1
            return
        if len(self.frames) >= self._most:
            self.frames.popleft()
            self.lost += 1
        self.frames.append(frame)

    def _read(self, error: CanFrame) -> None:
        self.overruns += tells_overrun(error)
        told = state_told_by(error)
        if told is not None:
            self.tell(told)

    def tell(self, state: CanBusState) -> None:
        """The controller is in this state."""
        if state is CanBusState.BUS_OFF and self.state is not CanBusState.BUS_OFF:
            self.bus_offs += 1
        self.state = state
