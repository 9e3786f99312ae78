"""HORUS's clock functions: they ask for the node whose callback calls them.

Outside a tick there is no timestep, no tick and no budget; in deterministic mode a node's time is
virtual: its ticks times its period.
"""

from __future__ import annotations

import math
import random
import time

from .record import current_record

__all__ = [
    "budget_remaining",
    "dt",
    "elapsed",
    "ms",
    "now",
    "rng_float",
    "tick",
    "timestamp_ns",
    "us",
]

us: float = 1e-6
"""A microsecond in seconds: ``budget=300 * us``."""

ms: float = 1e-3
"""A millisecond in seconds."""

_START = time.perf_counter()


def now() -> float:
    """Seconds since this process began to use the facade; virtual in deterministic ticks."""
    record = current_record.get()
    if record is not None and record.clock.deterministic and record.began is not None:
        return record.tally.total * record.period
    return time.perf_counter() - _START


def dt() -> float:
    """Seconds between the ticks of this node, as its rate says; 0.0 outside a tick."""
    record = current_record.get()
    return 0.0 if record is None or record.began is None else record.period


def elapsed() -> float:
    """Seconds since the run was started; 0.0 outside a tick."""
    record = current_record.get()
    if record is None or record.began is None:
        return 0.0
    if record.clock.deterministic:
        return record.tally.total * record.period
    return time.perf_counter() - record.clock.started


def tick() -> int:
    """How many ticks this node has had before this one; 0 outside a tick."""
    record = current_record.get()
    return 0 if record is None or record.began is None else record.tally.total


def budget_remaining() -> float:
    """Seconds left of this tick's budget, negative once it is used up; infinity without one.

    In deterministic mode none of it is ever used.
    """
    record = current_record.get()
    if record is None or record.began is None:
        return math.inf
    if record.clock.deterministic:
        return record.budget
    return record.budget - (time.perf_counter() - record.began)


def rng_float() -> float:
    """A random number in [0, 1); in deterministic mode each tick's are always the same ones."""
    record = current_record.get()
    if record is None or not record.clock.deterministic:
        return random.random()
    return record.dice().random()


def timestamp_ns() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()
