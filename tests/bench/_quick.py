"""How much the measuring programs measure: all of it, or with ``BENCH_QUICK=1`` a glimpse.

A glimpse shows that a program still runs. Its figures, and the targets they miss, mean nothing.
"""

from __future__ import annotations

import os
from typing import TypeVar

__all__ = ["either"]

T = TypeVar("T")


def either(whole: T, glimpse: T) -> T:
    """The first, unless ``BENCH_QUICK`` is set."""
    return glimpse if os.environ.get("BENCH_QUICK", "0") not in ("", "0") else whole
