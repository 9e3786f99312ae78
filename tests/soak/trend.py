"""A robust line through a course of values: that of Theil and Sen, with its bounds.

The slope is the median of the slopes of all pairs. A third of the values may be anything, as when
a device is unplugged in that moment, and it stays. Sen, "Estimates of the regression coefficient
based on Kendall's tau", 1968.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Trend", "trend"]

Z = 1.96
"""Standard deviations that 95 % of a normal distribution are within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How values change.

    Attributes:
        slope: A minute.
        low, high: Bounds of the slope: 95 % confidence, if the values' noise were independent.
        rise: The median of the last quarter of the values minus that of the first.
        seconds: From the first to the last.
    """

    slope: float
    low: float
    high: float
    rise: float
    seconds: float


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """The trend of values at different times, in seconds, in order; at least three of them.

    Raises:
        ValueError: There are fewer, or not as many times as values, or the times do not rise.
    """
    if len(times) != len(values) or len(times) < 3:
        raise ValueError(
            f"{len(times)} times and {len(values)} values: expected as many of them, 3 at least"
        )
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise ValueError("times do not rise: expected each to be later than the one before")
    points = list(zip(times, values, strict=True))
    slopes = sorted(
        (y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in itertools.combinations(points, 2)
    )
    n = len(times)
    within = Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((len(slopes) - within) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + within) / 2))
    quarter = max(1, n // 4)
    return Trend(
        slope=60 * statistics.median(slopes),
        low=60 * slopes[low],
        high=60 * slopes[high],
        rise=statistics.median(values[-quarter:]) - statistics.median(values[:quarter]),
        seconds=times[-1] - times[0],
    )
