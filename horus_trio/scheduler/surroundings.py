"""In what kind of loop a blocking call was made."""

from __future__ import annotations

import sys

__all__ = ["in_asyncio_loop"]


def in_asyncio_loop() -> bool:
    """Whether an asyncio loop runs in this thread; asyncio is not imported to find out."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
