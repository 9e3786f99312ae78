"""Helpers for the I/O of ticks, ``def`` and ``async``: bounded, and nothing is lost in them."""

from .async_aggregator import AsyncAggregator
from .async_helper import AsyncHelper, AsyncHelperStatistics, OperationRefused
from .batch_processor import BatchProcessor, BatchProcessorStatistics
from .connection_pool import ConnectionPool, ConnectionPoolStatistics, PoolUnavailable
from .helper import Helper
from .operation import (
    OperationCancelled,
    OperationDropped,
    OperationExited,
    OperationResult,
    OperationStatus,
    OperationTimedOut,
)
from .postgres import PostgresPool, postgres_pool
from .rate_limiter import RateLimiter, RateLimiterStatistics
from .register import UnknownOperation
from .round import Gathered, QuorumFailed
from .sqlite import SqlitePool, sqlite_pool
from .sqlite_writer import SqliteWriteStatistics, Written

__all__ = [
    "AsyncAggregator",
    "AsyncHelper",
    "AsyncHelperStatistics",
    "BatchProcessor",
    "BatchProcessorStatistics",
    "ConnectionPool",
    "ConnectionPoolStatistics",
    "Gathered",
    "Helper",
    "OperationCancelled",
    "OperationDropped",
    "OperationExited",
    "OperationRefused",
    "OperationResult",
    "OperationStatus",
    "OperationTimedOut",
    "PoolUnavailable",
    "PostgresPool",
    "QuorumFailed",
    "RateLimiter",
    "RateLimiterStatistics",
    "SqlitePool",
    "SqliteWriteStatistics",
    "UnknownOperation",
    "Written",
    "postgres_pool",
    "sqlite_pool",
]
