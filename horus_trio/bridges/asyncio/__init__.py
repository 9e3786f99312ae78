"""Between the engine and asyncio, in both directions."""

from .guest import run_in_asyncio
from .node import AsyncioNode
from .topics import Messages, messages, receive, send

__all__ = ["AsyncioNode", "Messages", "messages", "receive", "run_in_asyncio", "send"]
