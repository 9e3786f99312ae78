"""The errors users see: one small tree under `HorusError`.

Every message says what was expected, what came, and what to do. An error that also has a natural
builtin meaning derives from that builtin as well (`ValueError`, `LookupError`, `TimeoutError`), so
that code which knows nothing of this package still catches it sensibly.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "AlreadyRunning",
    "AsyncCallInThread",
    "ConfigurationError",
    "HookTimedOut",
    "HorusError",
    "MessageChanged",
    "MessageTypeError",
    "NodeError",
    "NodeExited",
    "NotRunning",
    "RunFailed",
    "TickAbandoned",
    "TickCancelled",
    "TickTimedOut",
    "UnknownNode",
    "UnknownTopic",
    "WorkerFailed",
    "add_remedy",
    "nearest",
]


class HorusError(Exception):
    """Base of every error this package raises."""


class ConfigurationError(HorusError, ValueError):
    """An option, a name or an argument has a value that makes no sense."""


class NodeError(HorusError, TypeError):
    """A node is not built as a node must be: no tick, two ticks, no ``super().__init__()``."""


class UnknownNode(HorusError, LookupError):
    """No node of that name is in the scheduler."""


class UnknownTopic(HorusError, LookupError):
    """No such topic is known here."""


class MessageChanged(HorusError):
    """A message was changed after it was sent: subscribers share it. Development mode looks."""


class MessageTypeError(HorusError, TypeError):
    """A message is not of the type its topic declares."""


class AlreadyRunning(HorusError, RuntimeError):
    """`run` was called while the same scheduler is running, or a node serves another engine."""


class NotRunning(HorusError, RuntimeError):
    """The call needs a running engine, and there is none."""


class AsyncCallInThread(HorusError, RuntimeError):
    """An async method was called where nothing can be awaited, such as in a ``def tick``."""


class TickAbandoned(HorusError):
    """The tick this code belongs to was given up, or its run is over; it can no longer publish."""


class TickCancelled(HorusError):
    """A tick was cancelled before it completed: by a stop, a removal, or while it still waited."""


class TickTimedOut(HorusError, TimeoutError):
    """A tick took longer than its ``tick_timeout``."""


class HookTimedOut(HorusError, TimeoutError):
    """A hook (``init``, ``shutdown``, …) took longer than its limit."""


class WorkerFailed(HorusError):
    """The worker process of a ``thread="process"`` node died, did not start, or broke its answer.

    It also stands in for what a tick raised there, where that cannot be pickled.
    """


class NodeExited(HorusError):
    """A node raised `SystemExit`, the ``__cause__`` of this: nodes fail, they do not exit."""


class RunFailed(HorusError, ExceptionGroup[Exception]):
    """The run failed: the *original* exceptions of the nodes that made it fail, one level deep.

    Each exception carries a note that says in which node, at which tick and after how many
    failures it was final.

    Attributes:
        report: The run's `RunReport`, or None when the group was split from another one.
    """

    report: Any

    def __new__(cls, message: str, exceptions: Sequence[Exception], report: Any = None) -> Self:
        self = super().__new__(cls, message, exceptions)
        self.report = report
        return self

    def __init__(self, message: str, exceptions: Sequence[Exception], report: Any = None) -> None:
        super().__init__(message, exceptions)

    def derive(self, excs: Sequence[Exception], /) -> RunFailed:  # type: ignore[override]
        """A group of some of the exceptions, with the same message and report.

        `split`, `subgroup` and ``except*`` call it.
        """
        return RunFailed(self.message, excs, self.report)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'camera'?`` for a mistyped `name`.

    Where nothing is close it lists what is known, at most eight names.
    """
    names = sorted(known)
    if not names:
        return "; there are none yet"
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    listed = ", ".join(repr(n) for n in names[:8]) + (", …" if len(names) > 8 else "")
    return f"; there are {listed}"


def add_remedy(error: BaseException) -> None:
    """Note on an error what to do, if it says what is short or which world the code belongs to."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            add_remedy(inner)
    elif isinstance(error, OSError):
        _note(error, _REMEDIES.get(error.errno or 0))
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        _note(error, _MORE_THREADS)
    elif isinstance(error, (RuntimeError, TypeError, AttributeError)):
        text = str(error)
        if any(saying in text for saying in _ASYNCIO_SAYINGS):
            _note(error, _NO_ASYNCIO)


def _note(error: BaseException, remedy: str | None) -> None:
    if remedy is not None and remedy not in getattr(error, "__notes__", ()):
        error.add_note(remedy)


_REMEDIES = {
    errno.EMFILE: "this process has no descriptor left: raise its limit (ulimit -n), or close what "
    "/proc/self/fd shows to be left open",
    errno.ENFILE: "the machine has no descriptor left: close what other programs leave open, or "
    "raise fs.file-max",
    errno.ENOSPC: "the disk is full: make room, or write to another one",
    errno.EDQUOT: "the quota of this disk is used up: make room, or write to another one",
    errno.EFBIG: "the file may not grow: raise the limit (ulimit -f), or begin a new file",
}

_MORE_THREADS = (
    "the machine has no thread left for this process: raise the limit (ulimit -u, or the pids "
    "limit of its container), or have fewer nodes with thread='own'"
)

_ASYNCIO_SAYINGS = (
    "no running event loop",
    "no current event loop",
    "trio.run received unrecognized yield message",
    "'NoneType' object has no attribute 'create_future'",
)
"""What Trio and asyncio say to asyncio code that no asyncio loop runs."""

_NO_ASYNCIO = (
    "if this is asyncio code: it belongs in the `async def` hooks of a "
    "horus_trio.bridges.AsyncioNode; in other nodes write Trio's spelling, such as trio.sleep"
)
