"""Where a run was asked for: in which kind of loop, and whether its program is merely imported."""

from __future__ import annotations

import sys
from contextvars import ContextVar

from ..errors import ConfigurationError, NotRunning

__all__ = ["importer", "in_asyncio_loop", "refuse_asyncio", "refuse_importer"]

importer: ContextVar[str] = ContextVar("importer", default="")
"""Who imports a program now in order to run its robot himself; in all that the import calls."""


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


def refuse_asyncio() -> None:
    """Refuse a blocking run in an asyncio loop.

    Raises:
        NotRunning: There is such a loop.
    """
    if in_asyncio_loop():
        raise NotRunning(
            "run() would block the asyncio loop this is called in; `await "
            "run_in_asyncio(scheduler.run)` of horus_trio.bridges, or put the engine into a thread "
            "of its own: `with horus_trio.background(nodes) as scheduler:`"
        )


def refuse_importer() -> None:
    """Refuse a run that begins while its program is merely imported.

    Raises:
        ConfigurationError: It is.
    """
    if who := importer.get():
        raise ConfigurationError(
            f"{who} runs the robot itself, and this run began while it imported the program: put "
            'it under `if __name__ == "__main__":`, or start the program with python'
        )
