"""Request and response: one question at a time, and every answer to its own question.

::

    async with QueryDriver(TcpClient("127.0.0.1", 5025, framing=Lines())) as supply:
        voltage = float(await supply.query(b"MEAS:VOLT?"))

A query that is cancelled, or not answered in time, leaves a reply that may still come. It is owed:
the next query waits for it first, and throws it away, until it can come no more. So a late reply
never answers another question.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import trio

from ..arguments import is_positive, is_whole
from ..errors import ConfigurationError
from .driver import Driver, DriverState, DriverStatistics
from .errors import QueryTimeout, ReceiveFailed

__all__ = ["QueryDriver"]

T = TypeVar("T")

GLANCE = 0.001
"""Seconds to look for what has come already. Trio reads what is there before time is up."""

Owed: TypeAlias = collections.deque[tuple[float, T]]
"""Requests whose replies have not come, each with the instant until which its reply may come."""


class QueryDriver(Generic[T]):
    """Asks a device that answers each request with one message. An async context manager.

    Arguments:
        driver: How messages get there and back; `open` and `aclose` are its own.
        reply_within: Seconds until a reply, after which the device is asked again.
        retries: How often it is asked again.
        late_within: Seconds after a request in which its reply may still come. A query that
            follows one without an answer waits for that, so long at most. It is at least
            `reply_within`, and four times that by default. If a device can be later than this,
            a question may get the reply to the one before.
        turnaround: Seconds from a message of the device to the next request: what it needs to
            listen again.
        matches: Called with request and reply: whether it can be the reply to that. Others are
            thrown away, such as messages nobody has asked for. It has to take any message.
        numbered: Whether `matches` can tell the replies to two equal requests apart, because they
            carry a number. Then late ones need not be waited for.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        driver: Driver[T],
        *,
        reply_within: float = 1.0,
        retries: int = 0,
        late_within: float | None = None,
        turnaround: float = 0.0,
        matches: Callable[[T, T], bool] | None = None,
        numbered: bool = False,
    ) -> None:
        if not isinstance(driver, Driver):
            raise ConfigurationError(
                f"QueryDriver({driver!r:.80}): expected a Driver, such as TcpClient(…)"
            )
        self._driver: Driver[T] = driver
        self._reply_within = _seconds("reply_within", reply_within, above_zero=True)
        if late_within is None:
            late_within = 4 * self._reply_within
        self._late_within = _seconds("late_within", late_within)
        if self._late_within < self._reply_within:
            raise ConfigurationError(
                f"QueryDriver(late_within={late_within:g}): expected at least reply_within="
                f"{reply_within:g}, since a reply may come until then"
            )
        if not is_whole(retries, 0):
            raise ConfigurationError(
                f"QueryDriver(retries={retries!r}): expected a whole number, 0 or more"
            )
        self._retries = retries
        self._turnaround = _seconds("turnaround", turnaround)
        if matches is not None and not callable(matches):
            raise ConfigurationError(
                f"QueryDriver(matches={matches!r:.80}): expected a function of request and reply"
            )
        if numbered and matches is None:
            raise ConfigurationError(
                "QueryDriver(numbered=True): expected matches=…, a function that compares the "
                "numbers of request and reply"
            )
        self._matches = matches
        self._numbered = numbered
        self._turn = trio.Lock()
        self._late = 0
        self._trouble: ReceiveFailed | None = None
        self._begin()

    def __repr__(self) -> str:
        count = len(self._owed)
        owed = f", {count} {'reply' if count == 1 else 'replies'} owed" if count else ""
        return f"<QueryDriver of {self.name}, {self.state.value}{owed}>"

    @property
    def name(self) -> str:
        """That of its driver."""
        return self._driver.name

    @property
    def state(self) -> DriverState:
        """That of its driver."""
        return self._driver.state

    @property
    def late_replies(self) -> int:
        """Messages thrown away: they came too late for their question, or matched none."""
        return self._late

    def statistics(self) -> DriverStatistics:
        """Those of its driver."""
        return self._driver.statistics()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Connect; a new connection owes nothing. See `Driver.open`."""
        await self._driver.open()
        self._begin()

    async def aclose(self) -> None:
        """Disconnect. See `Driver.aclose`."""
        await self._driver.aclose()

    async def query(self, request: T) -> T:
        """Ask, and wait for the reply. A checkpoint; several who ask take turns.

        Cancelled, the device may have been asked; its reply is owed, and answers nobody.

        Raises:
            QueryTimeout: No reply, however often it was asked.
            DriverError: What `Driver.send` raises, and the `DeviceGone` of `Driver.receive`.
            trio.ClosedResourceError: It is not open, or was closed meanwhile.
        """
        async with self._turn:
            if self._owed or self._astray:
                await self._settle()
            self._trouble = None
            for _ in range(1 + self._retries):
                await self._send(request)
                owed = self._owed
                if not self._numbered:
                    owed.append((trio.current_time() + self._late_within, request))
                with trio.move_on_after(self._reply_within):
                    reply = await self._reply(request)
                    self._forgive(owed)
                    if owed:
                        owed.popleft()
                    return reply
            asked = f", asked {1 + self._retries} times" if self._retries else ""
            trouble = f"; {self._trouble}" if self._trouble else ""
            raise QueryTimeout(
                f"{self.name} has not answered {request!r:.80} within {self._reply_within:g} s"
                f"{asked}{trouble}"
            ) from self._trouble

    async def tell(self, request: T) -> None:
        """Send what is not answered, such as a setting; in turn with the queries. A checkpoint.

        It waits for replies that are owed, as `query` does: a device on a shared line may be
        about to speak.

        Raises:
            DriverError: What `Driver.send` raises.
            trio.ClosedResourceError: It is not open, or was closed meanwhile.
        """
        async with self._turn:
            if self._owed or self._astray:
                await self._settle()
            await self._send(request)
            self._listens_at = trio.current_time() + self._turnaround

    def _begin(self) -> None:
        """A new connection."""
        # Not cleared: a query of the old connection may be looking at the old one.
        self._owed: Owed[T] = collections.deque()
        self._astray = False
        self._listens_at = -math.inf

    async def _settle(self) -> None:
        """Wait until no reply is owed any more, and throw away what has come."""
        await trio.lowlevel.checkpoint()
        owed = self._owed
        self._forgive(owed)
        if self._astray:
            await self._glance()
        while owed:
            until, request = owed[0]
            with trio.move_on_at(until) as patience:
                await self._reply(request)
                self._late += 1
            self._astray |= patience.cancelled_caught
            owed.popleft()

    def _forgive(self, owed: Owed[T]) -> None:
        """Wait no more for replies whose time is over.

        They may have come all the same, since nobody was listening; or come later than they
        should. So from now on it is looked for them before each question.
        """
        now = trio.current_time()
        while owed and owed[0][0] <= now:
            owed.popleft()
            self._astray = True

    async def _glance(self) -> None:
        """Throw away what has come already."""
        with trio.move_on_after(GLANCE):
            while True:
                await self._reply(None)
                self._late += 1

    async def _send(self, request: T) -> None:
        """Send when the device listens."""
        if self._listens_at > trio.current_time():
            await trio.sleep_until(self._listens_at)
        await self._driver.send(request)

    async def _reply(self, request: T | None) -> T:
        """The next message that can be the reply to this; None: to whatever it is."""
        while True:
            try:
                reply = await self._driver.receive()
            except ReceiveFailed as error:
                self._trouble = error
                await trio.lowlevel.checkpoint()
                continue
            self._listens_at = trio.current_time() + self._turnaround
            if request is None or self._matches is None or self._matches(request, reply):
                return reply
            self._late += 1


def _seconds(name: str, value: Any, *, above_zero: bool = False) -> float:
    if not is_positive(value, or_zero=not above_zero):
        raise ConfigurationError(
            f"QueryDriver({name}={value!r}): expected a finite number of seconds, "
            f"{'above 0' if above_zero else '0 or more'}"
        )
    return float(value)
