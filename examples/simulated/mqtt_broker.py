"""An MQTT broker: mosquitto, started on this machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from simulated.server import free_port, program, serving


@contextlib.asynccontextmanager
async def mqtt_broker() -> AsyncIterator[tuple[str, str]]:
    """Its host and port."""
    mosquitto, port = program("mosquitto"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "mosquitto.conf"
        configuration.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        )
        async with serving(port, mosquitto, "-c", str(configuration)):
            yield "127.0.0.1", str(port)
