"""Waiting, in real time, for what a thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio


async def eventually(is_so: Callable[[], object]) -> None:
    """Wait until it is so; on any clock."""
    give_up = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < give_up, "it never was"
        await trio.sleep(0.002)
