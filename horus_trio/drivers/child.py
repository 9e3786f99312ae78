"""A child process that is always reaped, and that nothing it writes to stderr can hold up.

A thread of its own reads its stderr, keeps the end of that, and waits for its death. So it is
reaped however those who use it end: cancelled, failed, or forgotten.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Self

import trio

from .errand import Errand

__all__ = ["Child"]

KEPT = 65536
"""Bytes of stderr that are kept: the last ones."""


class Child:
    """A child process, which has a process group and a session of its own.

    So a Ctrl-C at the terminal does not reach it before its parent has done with it, and what it
    has started itself ends with it, if that has not left the group.

    Attributes:
        pid: Its process.
        stdin: Descriptor of its input, for the caller to write to and to close.
        stdout: Descriptor of its output, for the caller to read from and to close.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], stdin: int, stdout: int, stderr: int
    ) -> None:
        self.pid: int = process.pid
        self.stdin: int = stdin
        self.stdout: int = stdout
        self._process = process
        self._stderr = stderr
        self._exit = _pidfd_of(process.pid)
        self._tail = b""
        self._lock = threading.Lock()  # between a signal and the end of the process's number
        self._reaped = threading.Event()
        self._minding: Errand[None] | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._told = False

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        cwd: str | None,
        env: Mapping[str, str] | None,
        token: trio.lowlevel.TrioToken,
    ) -> Self:
        """Start one; it may block, so it is called in a thread.

        Raises:
            OSError: It cannot be started.
        """
        with contextlib.ExitStack() as unless_started, contextlib.ExitStack() as its_own:

            def pipe(kept: int) -> tuple[int, int]:
                ends = os.pipe()
                unless_started.callback(os.close, ends[kept])
                its_own.callback(os.close, ends[1 - kept])
                return ends[kept], ends[1 - kept]

            stdin, its_stdin = pipe(1)
            stdout, its_stdout = pipe(0)
            stderr, its_stderr = pipe(0)
            process = subprocess.Popen(
                command,
                stdin=its_stdin,
                stdout=its_stdout,
                stderr=its_stderr,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
            child = cls(process, stdin, stdout, stderr)
            try:
                child._token = token
                child._minding = Errand(child._mind, name=f"minds {command[0]}", token=token)
            except BaseException:  # there are no more threads
                unless_started.pop_all()
                child.put_away()
                child._close()
                process.wait()
                raise
            unless_started.pop_all()
            return child

    @property
    def returncode(self) -> int | None:
        """Its exit code, the number of a signal below 0, or None while it runs; any thread."""
        return self._process.returncode if self._reaped.is_set() else None

    @property
    def stderr(self) -> bytes:
        """The last 64 KiB that it has written to stderr; any thread."""
        return self._tail

    async def ended(self) -> None:
        """Wait until it has ended and was reaped. A checkpoint."""
        if self._minding is not None:
            await self._minding.ended()

    def tell_to_end(self, grace: float) -> None:
        """Have it end, on the loop; idempotent. Its pipes have been closed before.

        Arguments:
            grace: Seconds that it has until SIGTERM, and again until SIGKILL.
        """
        if self._told or self._reaped.is_set():
            return
        self._told = True
        try:
            Errand(functools.partial(self._press, grace), name="ends a child", token=self._token)
        except RuntimeError:  # there are no more threads
            self.kill()

    def kill(self) -> None:
        """End it at once; any thread, idempotent. It is reaped soon afterwards."""
        self._signal(signal.SIGKILL)

    def put_away(self) -> None:
        """Close its pipes and end it at once, if nobody wants it."""
        os.close(self.stdin)
        os.close(self.stdout)
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if not self._reaped.is_set():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, number)

    # In threads

    def _press(self, grace: float) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._reaped.wait(grace):
                return
            self._signal(number)

    def _mind(self) -> None:
        os.set_blocking(self._stderr, False)
        try:
            self._keep_until_exit()
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._signal(signal.SIGKILL)  # what it has left behind
            self._keep()
        finally:
            self._close()
            with self._lock:
                self._process.wait()
                self._reaped.set()

    def _close(self) -> None:
        os.close(self._stderr)
        if self._exit >= 0:
            os.close(self._exit)

    def _keep_until_exit(self) -> None:
        """Read stderr until it has exited, or has closed that."""
        poll = select.poll()
        poll.register(self._stderr, select.POLLIN)
        if self._exit >= 0:
            poll.register(self._exit, select.POLLIN)
        while self._exit not in (ready := [descriptor for descriptor, _ in poll.poll()]):
            if self._stderr in ready and not self._keep(once=True):
                return

    def _keep(self, *, once: bool = False) -> bool:
        """Keep what stderr has now; whether there may be more later."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._stderr, KEPT):
                self._tail = (self._tail + data)[-KEPT:]
                if once:
                    return True
            return False
        return True


def _pidfd_of(pid: int) -> int:
    """A descriptor that is readable when a process has exited; -1 if there is none.

    Without one, an exit shows by the end of stderr, which children of its own may hold open.
    """
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # no more descriptors
            return os.pidfd_open(pid)
    return -1
