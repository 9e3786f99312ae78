"""The end of a process that cannot end itself.

Trio cannot leave behind async code that swallows its cancellation or blocks the loop. When a stop
was asked for and the engine has waited long enough, the command, and only the command, ends the
process: nobody else owns it.
"""

from __future__ import annotations

import contextlib
import os
import threading

from ..printable import entry

__all__ = ["STUCK_EXIT", "end_process"]

STUCK_EXIT = 70
"""Exit code of a process that had to be ended by force; ``EX_SOFTWARE`` of sysexits.h."""

PATIENCE = 0.5
"""Seconds that the message may take."""

STDERR = 2


def end_process(text: str) -> None:
    """Say why on standard error, and end the process; any thread, never waits for a reader.

    Arguments:
        text: What hindered the end.
    """
    message = f"horus-trio: {entry(text.rstrip())}; ending the process\n".encode(errors="replace")
    writer = threading.Thread(target=_write, args=(message,), daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread can be started: end without a word
        writer.start()
        writer.join(PATIENCE)
    os._exit(STUCK_EXIT)


def _write(message: bytes) -> None:
    """Past Python's buffer, whose lock the stuck code may hold."""
    with contextlib.suppress(OSError):
        while message:
            message = message[os.write(STDERR, message) :]
