"""How a CAN controller is: what the standard has it do about errors, and what is counted."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..driver import DriverStatistics
from .frame import CanFrame

__all__ = ["CanBusState", "CanStatistics", "state_told_by"]


class CanBusState(enum.Enum):
    """What the errors on the bus have made of the controller."""

    UNKNOWN = "unknown"
    """The interface does not tell, or has not yet."""
    ACTIVE = "error active"
    """It takes part in the traffic: all is well."""
    WARNING = "error warning"
    """There were many errors: 96 by its counters."""
    PASSIVE = "error passive"
    """There were so many, 128, that it does not mark errors of others any more. A controller that
    is alone on its bus becomes this when it sends."""
    BUS_OFF = "bus off"
    """So many of its own frames were faulty that it has left the bus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanStatistics(DriverStatistics):
    """A `CanBus` at one instant. `lost` counts the frames that nobody received in time.

    Attributes:
        bus_state: How the controller is.
        bus_offs: How often it was off the bus.
        error_frames: Error frames that came, given out or not.
        refused: Frames that were sent, and that the adapter then refused.
        overruns: How often the controller or the adapter said that it has lost frames.
        unwanted: Frames that came and that no filter wanted; those that the kernel filters are not
            seen.
    """

    bus_state: CanBusState = CanBusState.UNKNOWN
    bus_offs: int = 0
    error_frames: int = 0
    refused: int = 0
    overruns: int = 0
    unwanted: int = 0


# Linux's <linux/can/error.h>: classes in the identifier, and what the controller says in data[1].
BUS_OFF = 0x40
CONTROLLER = 0x04
RESTARTED = 0x100
OVERFLOWS = 0x01 | 0x02
WARNINGS = 0x04 | 0x08
PASSIVES = 0x10 | 0x20
ACTIVE_AGAIN = 0x40


def state_told_by(error: CanFrame) -> CanBusState | None:
    """The state that an error frame of Linux's tells, or None."""
    if error.id & BUS_OFF:
        return CanBusState.BUS_OFF
    if error.id & RESTARTED:
        return CanBusState.ACTIVE
    if error.id & CONTROLLER and len(error.data) > 1:
        told = error.data[1]
        if told & PASSIVES:
            return CanBusState.PASSIVE
        if told & WARNINGS:
            return CanBusState.WARNING
        if told & ACTIVE_AGAIN:
            return CanBusState.ACTIVE
    return None


def tells_overrun(error: CanFrame) -> bool:
    """Whether an error frame of Linux's says that frames were lost."""
    return bool(error.id & CONTROLLER and len(error.data) > 1 and error.data[1] & OVERFLOWS)
