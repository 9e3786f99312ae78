"""Between the engine and other worlds: asyncio in both directions, and HORUS."""

from .asyncio import AsyncioNode, run_in_asyncio
from .horus_process import (
    HorusBridge,
    HorusBridgeStatistics,
    HorusReceived,
    HorusSent,
    HorusTopic,
    HorusTopicError,
)

__all__ = [
    "AsyncioNode",
    "HorusBridge",
    "HorusBridgeStatistics",
    "HorusReceived",
    "HorusSent",
    "HorusTopic",
    "HorusTopicError",
    "run_in_asyncio",
]
