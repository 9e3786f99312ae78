"""An input that is high or low, such as a button or a wheel's pulses: each edge is a message."""

from __future__ import annotations

import collections
import dataclasses
import errno
import math
import os
import select
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import trio

from ...arguments import is_positive
from ...errors import ConfigurationError
from ..driver import DriverStatistics
from ..errors import ConnectFailed, DeviceGone
from ..one_way import ReceiveOnlyDriver
from .edges import EdgeSource, Levels, LineEvents, SysfsValue
from .paths import path_of

__all__ = ["Edge", "EdgeForm", "EdgeInput"]

EdgeForm: TypeAlias = Literal["levels", "value", "gpiochip"]
"""How a descriptor tells of edges; see `EdgeInput`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A change of level.

    Attributes:
        level: What it is since: True is high.
        number: How many edges there were before, over all connections.
        at: When, in seconds on Trio's clock: when it was read, or with ``form="gpiochip"`` when the
            kernel saw it.
    """

    level: bool
    number: int
    at: float


class EdgeInput(ReceiveOnlyDriver[Edge]):
    """Tells of the edges of an input. Needs no other package.

    ::

        async with EdgeInput("/sys/class/gpio/gpio17/value", debounce=0.02) as button:
            edge = await button.receive()

    A descriptor tells of edges in one of these forms:

    - ``"levels"``: each byte is an edge, ``0`` or ``1``; white space means nothing, other bytes are
      discarded, and counted. A pipe, a FIFO, a socket or a terminal: a simulation, or a small
      board. Each edge is told, however late it is received.
    - ``"value"``: a ``value`` file of sysfs, which is read again when the kernel says that there
      was an edge (``POLLPRI``). ``edge`` beside it must say ``both``, ``rising`` or ``falling``.
      Edges that come faster than they are received become one, by nature. If ``edge`` is ``both``
      and the level is what it was, one has been missed, and counts as lost.
    - ``"gpiochip"``: the descriptor of a line that was requested from ``/dev/gpiochip0``, by
      whatever package, with the monotonic clock. Each edge has its time, and those that the kernel
      had no room for count as lost.

    When the other end is closed, or the line is given back, `receive` raises `DeviceGone`, after
    what came before. A value that is another one when it is opened again is an edge.

    Arguments:
        source: A path, or a descriptor. That stays the caller's: it is duplicated, and set to not
            block.
        form: Which form; None: ``"value"`` for a regular file, else ``"levels"``.
        debounce: Seconds for which the level must stay after an edge; those that it does not are
            `bounces`, and so is the last one if it leads back to where the level was. None: each
            edge is told. But for ``"gpiochip"`` that needs a receiver that is always there, since
            times are those of reading.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | int,
        *,
        form: EdgeForm | None = None,
        debounce: float | None = None,
    ) -> None:
        super().__init__()
        if isinstance(source, bool) or (isinstance(source, int) and source < 0):
            raise ConfigurationError(
                f"EdgeInput({source!r}): expected a path, or a descriptor, 0 or more"
            )
        self._source: int | Path = (
            source
            if isinstance(source, int)
            else path_of("EdgeInput", source, "/sys/class/gpio/gpio17/value")
        )
        if form is not None and form not in get_args(EdgeForm):
            raise ConfigurationError(
                f"EdgeInput(form={form!r:.80}): expected 'levels', 'value' or 'gpiochip'"
            )
        if debounce is not None and not is_positive(debounce):
            raise ConfigurationError(
                f"EdgeInput(debounce={debounce!r}): expected a finite number of seconds above 0, "
                "or None"
            )
        self._form = form
        self._debounce = debounce
        self._edges: EdgeSource | None = None
        self._queue: collections.deque[tuple[bool, float]] = collections.deque()
        self._unsettled: tuple[bool, float] | None = None
        self._gone: DeviceGone | None = None
        self._level: bool | None = None
        self._number = self._bounces = 0
        self._bytes_received = self._discarded = self._lost = 0  # of earlier connections

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {self._source}"

    @property
    def level(self) -> bool | None:
        """What the level is after the latest edge that was given out; None before any is known."""
        return self._level

    @property
    def bounces(self) -> int:
        """Edges that were not told since the level did not stay."""
        return self._bounces

    def statistics(self) -> DriverStatistics:
        edges = self._edges
        return dataclasses.replace(
            super().statistics(),
            bytes_received=self._bytes_received + (edges.bytes if edges else 0),
            discarded=self._discarded + (edges.discarded if edges else 0),
            lost=self._lost + (edges.lost if edges else 0),
        )

    # Opening and closing

    async def _connect(self) -> None:
        await trio.lowlevel.checkpoint()
        try:
            descriptor = self._open()
        except OSError as error:
            raise ConnectFailed(f"{self.name} cannot be opened: {_reason(error)}") from error
        try:
            os.set_blocking(descriptor, False)
            if _is_hung_up(descriptor):
                raise ConnectFailed(f"{self.name} cannot be opened: the other end has closed it")
            is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
            form = self._form or ("value" if is_file else "levels")
            if form == "value":
                self._edges = SysfsValue(descriptor, both=self._edge_setting() == "both")
            else:
                self._edges = LineEvents(descriptor) if form == "gpiochip" else Levels(descriptor)
        except PermissionError as error:
            os.close(descriptor)
            raise ConnectFailed(
                f"{self.name} cannot be opened: it is a plain file, or a device that is never "
                "waited for, so it tells of no edges; expected a value file of sysfs, a pipe, or a "
                "terminal"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        try:
            level = self._edges.begin()
        except DeviceGone as error:
            raise ConnectFailed(f"{self.name} cannot be opened: {error}") from error
        if self._level is None:
            self._level = level
        elif level is not None and level is not self._level:  # while it was not open
            self._queue.append((level, trio.current_time()))

    def _open(self) -> int:
        if isinstance(self._source, int):
            return os.dup(self._source)
        if stat.S_ISDIR(os.stat(self._source).st_mode):  # noqa: PTH116
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return os.open(self._source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def _edge_setting(self) -> str:
        """What the kernel tells of, if that is known."""
        if isinstance(self._source, int):
            return ""
        beside = self._source.with_name("edge")
        try:
            setting = beside.read_text().strip()
        except OSError:
            return ""
        if setting == "none":
            raise ConnectFailed(
                f"{self.name} cannot be opened: the kernel does not look for edges there: "
                f"echo both > {beside}"
            )
        return setting

    def _disconnect(self) -> None:
        edges, self._edges = self._edges, None
        if edges is not None:
            edges.close()
            self._bytes_received += edges.bytes
            self._discarded += edges.discarded
            self._lost += edges.lost
        self._queue.clear()
        self._unsettled = self._gone = None

    # Receiving

    async def _receive(self) -> Edge:
        while True:
            edge = self._settled()
            if edge is not None:
                await trio.lowlevel.checkpoint_if_cancelled()
                return self._give(*edge)
            await self._wait()

    def _settled(self) -> tuple[bool, float] | None:
        """The next edge that counts, if there is one; it stays."""
        queue, stay = self._queue, self._debounce
        if stay is None:
            return queue[0] if queue else None
        while True:
            edge = self._unsettled
            following = queue[0][1] if queue else trio.current_time()
            if edge is not None and following - edge[1] >= stay:
                if edge[0] is not self._level:
                    return edge
                self._unsettled = None  # it has only been elsewhere for a moment
                self._bounces += 1
            elif queue:
                self._bounces += edge is not None
                self._unsettled = queue.popleft()
            else:
                return None

    def _give(self, level: bool, at: float) -> Edge:
        if self._debounce is None:
            self._queue.popleft()
        else:
            self._unsettled = None
        self._level = level
        edge = Edge(level=level, number=self._number, at=at)
        self._number += 1
        return edge

    async def _wait(self) -> None:
        edges = self._edges
        if edges is None:
            raise trio.ClosedResourceError(f"{self.name} is not open")
        until = math.inf
        if self._debounce is not None and self._unsettled is not None:
            until = self._unsettled[1] + self._debounce
        with trio.move_on_at(until) as scope:
            if self._gone is not None:
                if self._unsettled is None:
                    raise self._gone
                await trio.sleep_forever()
            await trio.lowlevel.wait_readable(edges.waits_for)
        if scope.cancelled_caught:
            return
        now = trio.current_time()
        try:
            self._queue.extend((seen.level, now - seen.age) for seen in edges.read_nowait())
        except DeviceGone as error:
            self._gone = DeviceGone(f"{self.name} is gone: {error}")


def _is_hung_up(descriptor: int) -> bool:
    """Whether nothing is there and nothing will come.

    Raises:
        PermissionError: It cannot be waited for.
    """
    with select.epoll() as probe:
        probe.register(descriptor, select.EPOLLIN)
        events = [event for _, event in probe.poll(0)]
    return events == [select.EPOLLHUP]


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return (
            "there is no such file; a GPIO is there once it was exported: "
            "echo 17 > /sys/class/gpio/export"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this user may not read it; join the group that owns it, such as gpio"
    if error.errno == errno.EISDIR:
        return "it is a folder; expected the file in it, such as gpio17/value"
    if error.errno == errno.EBADF:
        return "there is no such descriptor open in this process"
    return error.strerror or str(error)
