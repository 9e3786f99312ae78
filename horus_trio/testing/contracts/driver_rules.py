"""The rules for drivers, in the order in which `check_driver` tries them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .driver_basics import (
    after_close,
    before_open,
    cancelled_close,
    cancelled_open,
    cancelled_receive,
    cancelled_send,
    close_from_every_state,
    close_twice,
    exchange,
    leaves_nothing,
    open_again,
    statistics,
    two_receivers,
)
from .driver_cycles import many_openings
from .driver_loss import peer_vanishes
from .driver_pressure import back_pressure, half_a_message
from .driver_stream import bursts, numbered_stream, one_byte_at_a_time, slow_peer
from .driver_walk import every_order
from .line import Lines

__all__ = ["DRIVER_RULES", "OF_CHANCE", "PATIENCE"]

DRIVER_RULES: dict[str, Callable[[str, Lines[Any]], Awaitable[str | None]]] = {
    "exchange": exchange,
    "statistics": statistics,
    "before open": before_open,
    "close twice": close_twice,
    "leaves nothing": leaves_nothing,
    "close from every state": close_from_every_state,
    "after close": after_close,
    "two receivers": two_receivers,
    "cancelled receive": cancelled_receive,
    "cancelled send": cancelled_send,
    "open again": open_again,
    "every order": every_order,
    "cancelled open": cancelled_open,
    "cancelled close": cancelled_close,
    "bursts": bursts,
    "slow peer": slow_peer,
    "one byte at a time": one_byte_at_a_time,
    "back-pressure": back_pressure,
    "half a message": half_a_message,
    "peer vanishes": peer_vanishes,
    "numbered stream": numbered_stream,
    "many openings": many_openings,
}

PATIENCE: dict[str, int] = {
    "cancelled receive": 20,
    "cancelled send": 20,
    "every order": 20,
    "cancelled open": 20,
    "cancelled close": 20,
    "bursts": 2,
    "slow peer": 2,
    "one byte at a time": 4,
    "back-pressure": 8,
    "half a message": 20,
    "peer vanishes": 20,
    "numbered stream": 40,
    "many openings": 60,
}
"""How many times as long as a plain rule these may take, which repeat an operation."""

OF_CHANCE = frozenset({"bursts", "slow peer", "half a message", "numbered stream"})
"""The rules in which something is left to chance."""
