"""Garbage collections during a run look only at what has come since its start.

A full collection visits every object there is, and stops all Python code meanwhile: some 50 ms for
each thousand nodes, or for a large library. So what is there when all nodes are initialised is
frozen, which costs nothing. References are counted all the same; what waits until the end of the
run is only a cycle of old objects that becomes garbage meanwhile.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["frozen_heap"]

YOUNG = 1
"""The generations below the oldest."""


@contextlib.contextmanager
def frozen_heap() -> Iterator[None]:
    """Freeze what is there while inside; unless the program collects, or freezes, by itself."""
    if not gc.isenabled() or gc.get_freeze_count():
        yield
        return
    gc.collect(YOUNG)
    # Freezing forgets how many young collections are left until a full one. Programs that run
    # robots again and again would never come to it.
    towards_full = gc.get_count()[2]
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        for _ in range(towards_full):
            gc.collect(YOUNG)
