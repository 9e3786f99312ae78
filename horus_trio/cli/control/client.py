"""The other end: finds robots, and asks them. Plain blocking sockets with time limits."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .address import owner_of, peer_uid, sockets
from .errors import ControlError
from .protocol import ANSWER_LIMIT, ERROR_LIMIT, VERSION

__all__ = ["Connection", "RobotAddress", "choose", "running"]

PATIENCE = 10.0
"""Seconds to wait for an answer; a robot gives one within 2, or is not well."""

GREETING = 3.0
"""Seconds to wait for a robot to say its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotAddress:
    """A robot that runs here. `name` is that of its socket if it does not answer."""

    name: str
    pid: int
    path: Path

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


class Connection:
    """A connection to a robot; a context manager.

    Arguments:
        path: Its socket.
        patience: Seconds to wait for each answer.

    Raises:
        ControlError: Nobody listens, or another user does.
    """

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(patience)
        self._patience = patience
        self._follows = False
        self._buffer = bytearray()
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ControlError(f"{path}: {error.strerror or error}") from error
        if peer_uid(self._socket) not in (None, 0, os.getuid()):
            self._socket.close()
            raise ControlError(f"{path}: it is another user's who listens there; remove it")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def ask(self, do: str, **arguments: Any) -> Any:
        """Send a request and return what is answered.

        Raises:
            ControlError: The robot refuses, is gone, or does not answer.
        """
        request = {"do": do, "version": VERSION, **arguments}
        with contextlib.suppress(OSError):  # it may have said why before it hung up
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        return self._answer()

    def follow(self, do: str, **arguments: Any) -> Iterator[Any]:
        """Send a request, and yield what is answered again and again, however long it takes.

        Raises:
            ControlError: As `ask`.
        """
        self.ask(do, **arguments)
        self._socket.settimeout(None)
        self._follows = True
        while True:
            yield self._answer()

    def _answer(self) -> Any:
        line = self._line()
        try:
            answer = json.loads(line)
            if "error" in answer:
                raise ControlError(str(answer["error"])[:ERROR_LIMIT])
            return answer["ok"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ControlError(f"the robot answers {line[:80]!r}: is it one?") from None

    def _line(self) -> bytes:
        searched = 0
        give_up = time.monotonic() + self._patience
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            try:
                if not self._follows:
                    # For the whole answer, however it drips in.
                    if (left := give_up - time.monotonic()) <= 0:
                        raise TimeoutError
                    self._socket.settimeout(left)
                data = self._socket.recv(65536)
            except TimeoutError:
                raise ControlError(
                    f"the robot has not answered within {self._patience:g} s: something keeps "
                    "its whole process busy"
                ) from None
            except OSError:
                data = b""
            if not data or searched > ANSWER_LIMIT:
                raise ControlError("the robot has hung up: its run is over, or it takes too long")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


def running() -> list[RobotAddress]:
    """The robots of this user. What dead ones left behind is removed.

    Raises:
        ControlError: A folder of sockets is not the user's alone.
    """
    found: list[RobotAddress] = []
    for path in sockets():
        pid = owner_of(path)
        try:
            with Connection(path, GREETING) as robot:
                found.append(_introduced(robot.ask("robot"), path))
        except ControlError as error:
            if isinstance(error.__cause__, (ConnectionRefusedError, FileNotFoundError)):
                if not _is_alive(pid):
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)
            else:
                found.append(RobotAddress(name=path.name.rpartition("-")[0], pid=pid, path=path))
    return found


def _introduced(hello: object, path: Path) -> RobotAddress:
    """What a robot says of itself.

    Raises:
        ControlError: It is none.
    """
    match hello:
        case {"name": str(name), "pid": int(pid)}:
            return RobotAddress(name=name, pid=pid, path=path)
        case _:
            raise ControlError(f"it says {hello!r:.80}: is it a robot?")


def choose(which: str | None) -> RobotAddress:
    """The robot of a name or a process number; None: the only one.

    Raises:
        ControlError: There is none, or there are several.
    """
    robots = running()
    if not robots:
        raise ControlError(
            "no robot is running here; start one with `horus-trio run`, or put "
            "`with listening(scheduler):` (of horus_trio.cli.control) around its run"
        )
    listed = ", ".join(map(str, robots))
    if which is not None:
        robots = [r for r in robots if which in (r.name, str(r.pid))]
        if not robots:
            raise ControlError(f"no robot {which!r} is running; there are {listed}")
    if len(robots) > 1:
        raise ControlError(
            f"several robots are running: {listed}; name one with --robot NAME or PID"
        )
    return robots[0]


def _is_alive(pid: int) -> bool:
    if pid == 0:
        return True  # nothing is known
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True
