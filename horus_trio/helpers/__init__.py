"""Helpers for the I/O of ticks, ``def`` and ``async``: bounded, and nothing is lost in them."""

from .batch_processor import BatchProcessor, BatchProcessorStatistics
from .helper import Helper
from .rate_limiter import RateLimiter, RateLimiterStatistics

__all__ = [
    "BatchProcessor",
    "BatchProcessorStatistics",
    "Helper",
    "RateLimiter",
    "RateLimiterStatistics",
]
