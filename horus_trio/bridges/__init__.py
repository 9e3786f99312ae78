"""Between the engine and other worlds: asyncio in both directions, and HORUS."""

from .asyncio import AsyncioNode, run_in_asyncio

__all__ = ["AsyncioNode", "run_in_asyncio"]
