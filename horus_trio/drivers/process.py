"""Programs as devices: the standard input and output of a child process are the line."""

from __future__ import annotations

import errno
import functools
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from ..arguments import is_positive
from ..errors import ConfigurationError
from .child import Child
from .errand import Errand
from .errors import ConnectFailed, DeviceGone
from .framing import Framing
from .stream import StreamDriver
from .wire import Wire

__all__ = ["Subprocess"]

LAST_WORDS = 2000
"""Bytes of stderr that an error shows."""

PATIENCE = 1.0
"""Seconds in which a process that has closed its output should have ended."""


class Subprocess(StreamDriver):
    """A program that writes messages to its standard output, and reads them from its input.

    ::

        async with Subprocess(["python3", "-u", "lidar.py"], framing=Lines()) as lidar:
            print(await lidar.receive())

    Many programs keep their output back until there is much of it, if it goes to a pipe: tell them
    not to, as by ``python3 -u`` or ``stdbuf -oL``.

    The last 64 KiB of its stderr are kept, see `stderr`, and the end of that is in the `DeviceGone`
    that is raised when the program has ended. It has a session of its own, which Ctrl-C does not
    reach.

    `aclose` closes its input and output; if it does not end by itself within `grace` it gets
    SIGTERM, and after `grace` again SIGKILL. `aclose` waits for that; if it is cancelled, SIGKILL
    comes at once. What the program has started itself, in its group, is killed when it has ended.

    Arguments:
        command: Program and arguments.
        framing: How messages lie in its output and input.
        cwd: Folder it runs in; None: the present one.
        env: Variables it has beside those of this process.
        grace: Seconds it has to end.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        framing: Framing,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        grace: float = 1.0,
    ) -> None:
        super().__init__(framing)
        if isinstance(command, str):
            raise ConfigurationError(
                f"Subprocess(command={command!r:.80}): expected program and arguments one by one, "
                f"such as {shlex.split(command) or ['cat']!r:.80}"
            )
        parts = [os.fsdecode(part) for part in command if isinstance(part, (str, os.PathLike))]
        if not parts or len(parts) < len(command) or not parts[0]:
            raise ConfigurationError(
                f"Subprocess(command={command!r:.80}): expected program and arguments as strings, "
                'such as ["cat", "-u"]'
            )
        if not is_positive(grace, or_zero=True):
            raise ConfigurationError(
                f"Subprocess(grace={grace!r}): expected a finite number of seconds, 0 or more"
            )
        self._command = parts
        self._cwd = None if cwd is None else os.fsdecode(cwd)
        self._env = env
        self._grace = float(grace)
        self._child: Child | None = None

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {shlex.join(self._command)[:60]}"

    @property
    def pid(self) -> int | None:
        """The process, the latest one, or None if there was none."""
        return None if self._child is None else self._child.pid

    @property
    def returncode(self) -> int | None:
        """Exit code of the latest process, below 0 if a signal killed it; None while it runs."""
        return None if self._child is None else self._child.returncode

    @property
    def stderr(self) -> bytes:
        """The last 64 KiB that the latest process has written to stderr."""
        return b"" if self._child is None else self._child.stderr

    async def _open_wire(self) -> Wire:
        token = trio.lowlevel.current_trio_token()
        env = None if self._env is None else {**os.environ, **self._env}
        start = functools.partial(Child.start, self._command, self._cwd, env, token)
        starting = Errand(start, put_away=Child.put_away, name=f"starts {self._command[0]}")
        try:
            self._child = await starting.result()
        except OSError as error:
            raise ConnectFailed(f"{self.name} cannot be started: {self._reason(error)}") from error
        return Wire(self._child.stdout, self._child.stdin)

    def _close_wire(self) -> None:
        if self._child is not None:
            self._child.tell_to_end(self._grace)

    async def _wait_disconnected(self) -> None:
        child = self._child
        if child is None:
            await trio.lowlevel.checkpoint()
            return
        try:
            await child.ended()
        except BaseException:
            child.kill()
            with trio.move_on_after(PATIENCE, shield=True):
                await child.ended()
            raise

    async def _receive(self) -> bytes:
        try:
            return await super()._receive()
        except DeviceGone:
            pass
        raise await self._gone()

    async def _send(self, message: bytes) -> None:
        try:
            await super()._send(message)
        except BrokenPipeError as error:
            raise await self._gone() from error

    async def _gone(self) -> DeviceGone:
        """What to raise when it has closed its end; it has its exit code, and its last words."""
        child = self._child
        if child is None:
            return DeviceGone(f"{self.name} has ended")
        with trio.move_on_after(PATIENCE):
            await child.ended()
        code = child.returncode
        if code is None:
            how = "has closed its end, and runs on"
        elif code < 0:
            how = f"was killed by {_name_of(-code)}"
        else:
            how = f"has ended with exit code {code}"
        words = child.stderr[-LAST_WORDS:].decode(errors="replace").strip()
        said = f"; the end of its stderr:\n{words}" if words else "; its stderr is empty"
        return DeviceGone(f"{self.name} {how}{said}")

    def _reason(self, error: OSError) -> str:
        program = self._command[0]
        if self._cwd is not None and not Path(self._cwd).is_dir():
            return f"there is no folder {self._cwd!r} to run it in; give cwd= one that is there"
        if isinstance(error, FileNotFoundError):
            if os.sep in program:
                return f"there is no file {program!r}, or not the interpreter in its first line"
            return f"there is no command {program!r} in PATH: install it, or give its whole path"
        if isinstance(error, PermissionError):
            return (
                f"{program!r} may not be executed: `chmod +x` it, or put its interpreter before it"
            )
        if error.errno == errno.ENOEXEC:
            return f"{program!r} is no program: put its interpreter before it, such as python3"
        return error.strerror or str(error)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
