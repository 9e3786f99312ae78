"""A Redis server, started on this machine. It keeps nothing on the disk."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator

from simulated.server import free_port, program, serving


@contextlib.asynccontextmanager
async def redis_server() -> AsyncIterator[str]:
    """Its URL."""
    server, port = program("redis-server"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder
        async with serving(port, server, *options):
            yield f"redis://127.0.0.1:{port}"
