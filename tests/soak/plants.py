"""Faults that are planted, so that it is seen whether they are noticed; called in each tick.

They do as much as is due by the clock, however seldom a busy machine lets the node tick.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

__all__ = ["PLANTS"]


def leak_memory() -> Callable[[], object]:
    """6 MB a second, of pages that are written to."""
    kept: list[bytes] = []
    return _often(50, lambda: kept.append(bytes([len(kept) % 255 + 1]) * 120_000))


def leak_descriptors() -> Callable[[], object]:
    """Five descriptors a second."""
    return _often(5, lambda: os.open(os.devnull, os.O_RDONLY))


def leak_threads() -> Callable[[], object]:
    """Five threads a second that wait for ever."""
    never = threading.Event()
    return _often(5, lambda: threading.Thread(target=never.wait, daemon=True).start())


def block_loop() -> Callable[[], object]:
    """The loop stands still for 60 ms, five times a second: that costs ticks of 100 Hz."""
    return _often(5, lambda: time.sleep(0.06))


def _often(rate: float, act: Callable[[], object]) -> Callable[[], object]:
    """Act so many times a second, counted from the first call on."""
    begun = time.monotonic()
    done = 0

    def call() -> None:
        nonlocal begun, done
        if not done:
            begun = time.monotonic()
        while done <= (time.monotonic() - begun) * rate:
            act()
            done += 1

    return call


PLANTS: dict[str, Callable[[], Callable[[], object]]] = {
    "memory": leak_memory,
    "descriptors": leak_descriptors,
    "threads": leak_threads,
    "rates": block_loop,
}
"""By what is to fail because of them."""
