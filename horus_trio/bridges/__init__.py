"""Between the engine and other worlds: asyncio in both directions, and HORUS."""

from .asyncio import run_in_asyncio

__all__ = ["run_in_asyncio"]
