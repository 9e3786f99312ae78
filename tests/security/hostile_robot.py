"""What listens at a robot's socket, and is none."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class HostileRobot:
    """Answers each request with what it was told to.

    Arguments:
        listener: Where.
        answer: Called with the request; what it returns is sent, as JSON unless it is bytes. None:
            it is hung up.
    """

    def __init__(self, listener: socket.socket, answer: Callable[[dict[str, Any]], Any]) -> None:
        self._listener = listener
        self._answer = answer
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(30)
        for line in client.makefile("rb"):
            said = self._answer(json.loads(line))
            if said is None:
                return
            client.sendall(said if isinstance(said, bytes) else json.dumps(said).encode() + b"\n")


@contextlib.contextmanager
def hostile_robot(folder: Path, answer: Callable[[dict[str, Any]], Any]) -> Iterator[Path]:
    """One that the commands find."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = folder / f"rover-{os.getpid()}.sock"
    listener.bind(str(path))
    listener.listen(8)
    robot = HostileRobot(listener, answer)
    try:
        yield path
    finally:
        robot.close()
        path.unlink(missing_ok=True)
