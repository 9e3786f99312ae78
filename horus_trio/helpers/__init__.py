"""Helpers for the I/O of ticks, ``def`` and ``async``: bounded, and nothing is lost in them."""

from .async_aggregator import AsyncAggregator, Gathered, QuorumFailed
from .async_helper import AsyncHelper, AsyncHelperStatistics, OperationRefused, UnknownOperation
from .batch_processor import BatchProcessor, BatchProcessorStatistics
from .helper import Helper
from .operation import (
    OperationCancelled,
    OperationDropped,
    OperationExited,
    OperationResult,
    OperationStatus,
    OperationTimedOut,
)
from .rate_limiter import RateLimiter, RateLimiterStatistics

__all__ = [
    "AsyncAggregator",
    "AsyncHelper",
    "AsyncHelperStatistics",
    "BatchProcessor",
    "BatchProcessorStatistics",
    "Gathered",
    "Helper",
    "OperationCancelled",
    "OperationDropped",
    "OperationExited",
    "OperationRefused",
    "OperationResult",
    "OperationStatus",
    "OperationTimedOut",
    "QuorumFailed",
    "RateLimiter",
    "RateLimiterStatistics",
    "UnknownOperation",
]
