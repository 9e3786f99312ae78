"""Devices that are asked over HTTP, again and again: the driver, whatever is made of an answer.

Polls are on an absolute grid. What the server gave to recognise an answer by (``ETag``,
``Last-Modified``) is sent along with the next question, so that it can say that nothing is new.
That is remembered only in the step in which the answer is given out: a ``receive`` that is
cancelled in the middle of an answer has taken nothing, and the next one is told the same again.

`open` asks the first question, so that a wrong address and refused credentials are told there. The
answer is the first message.

There is no ``send``. A POST is a question, too, and whether one that was cancelled has been carried
out nobody knows: that belongs in a tick, with httpx2 itself.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
import functools
import importlib
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from ...arguments import is_number, is_whole
from ...errors import ConfigurationError
from ...helpers import RateLimiter
from ..driver import DriverStatistics
from ..errand import Errand
from ..errors import ConnectFailed, DeviceGone, DriverError, ReceiveFailed
from ..extra import Extra
from ..one_way import ReceiveOnlyDriver
from .grid import Grid, retry_after
from .location import Location
from .options import HttpOptions
from .reading import HttpReading
from .trouble import BadAnswer, CannotConnect, Trouble, bad_status

if TYPE_CHECKING:
    from .asking import Answer, Asker

__all__ = ["HttpCounts", "Polled"]

T = TypeVar("T")

EXTRA: Final = Extra("http", "httpx2", "httpx2")

SHORTEST = 1e-6
"""Seconds between two polls at least, so that they can be counted."""

LONGEST_WAIT = 600.0
"""Seconds for which a server is left alone at most, whatever it wants."""

EMPTY = frozenset({204, 205})
"""Statuses of a good answer that is none."""

CONDITIONS = ((b"etag", b"If-None-Match"), (b"last-modified", b"If-Modified-Since"))
"""What an answer is recognised by, and what asks whether there is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCounts:
    """What became of the polls of a driver, over all connections.

    Attributes:
        questions: Requests that were sent, also where an answer has led, and repeated ones.
        unchanged: Answers that nothing is new (304).
        empty: Answers that there is nothing (204, 205).
        repeated: Requests sent again, since a connection that was kept had gone bad.
        coalesced: Polls that were left out, since an answer, or whoever receives, was slow.
    """

    questions: int
    unchanged: int
    empty: int
    repeated: int
    coalesced: int


class Polled(ReceiveOnlyDriver[T]):
    """Asks a server, and gives out what `_parse` makes of the answers."""

    def __init__(
        self,
        url: str,
        *,
        every: float = 1.0,
        limiter: RateLimiter | None = None,
        answer_within: float = 10.0,
        gone_after: int = 3,
        max_bytes: int = 2**20,
        unchanged: bool = False,
        options: HttpOptions | None = None,
    ) -> None:
        super().__init__()
        owner = type(self).__qualname__
        self._location = Location.of(owner, url)
        _check_seconds(owner, "every", every, least=SHORTEST, zero=True)
        _check_seconds(owner, "answer_within", answer_within)
        _check_count(owner, "gone_after", gone_after)
        _check_count(owner, "max_bytes", max_bytes)
        if limiter is not None and not isinstance(limiter, RateLimiter):
            raise ConfigurationError(
                f"{owner}(limiter={limiter!r:.80}): expected a horus_trio.helpers.RateLimiter"
            )
        if options is not None and not isinstance(options, HttpOptions):
            raise ConfigurationError(
                f"{owner}(options=…): expected HttpOptions(…), got {type(options).__name__}"
            )
        self._options = options or HttpOptions()
        if self._location.user is not None and (
            self._options.auth is not None
            or any(name.lower() == "authorization" for name in self._options.headers)
        ):
            raise ConfigurationError(
                f"{owner}(url=…): there are credentials in it, and others in options; give one"
            )
        EXTRA.check(owner)
        self._limiter = limiter
        self._answer_within = float(answer_within)
        self._gone_after = gone_after
        self._max_bytes = max_bytes
        self._gives_unchanged = bool(unchanged)
        self._grid = Grid(float(every))
        self._kind: type[Asker] | None = None  # once it has been imported
        self._asker: Asker | None = None
        self._past = (0, 0, 0, 0)  # of askers there were before
        self._unchanged = self._empty = self._rejected = 0
        self._scope: trio.CancelScope | None = None
        self._left: trio.Event | None = None
        self._limit = trio.CancelScope()
        self._waited = 0.0  # for the limiter, in this poll
        self._ahead: HttpReading | BadAnswer | None = None
        self._forget()

    @property
    def name(self) -> str:
        return f"{type(self).__qualname__} {self._location.shown}"

    @property
    def counts(self) -> HttpCounts:
        """What became of its polls, in every state."""
        questions, repeated, _, _ = self._totals()
        return HttpCounts(
            questions=questions,
            unchanged=self._unchanged,
            empty=self._empty,
            repeated=repeated,
            coalesced=self._grid.coalesced,
        )

    def statistics(self) -> DriverStatistics:
        _, _, received, sent = self._totals()
        return dataclasses.replace(
            super().statistics(),
            bytes_received=received,
            bytes_sent=sent,
            rejected=self._rejected,
        )

    @abc.abstractmethod
    def _parse(self, reading: HttpReading) -> T:
        """The message that an answer is.

        Raises:
            ReceiveFailed: It is none.
        """

    # The life of a driver

    async def _connect(self) -> None:
        await self._wait_disconnected()
        self._forget()
        try:
            self._asker = await self._new_asker()
            self._grid.begin(trio.current_time())
            try:
                self._ahead = await self._poll(self._asker)
            except BadAnswer as trouble:
                if trouble.lasting:
                    raise
                self._ahead = trouble
        except Trouble as trouble:
            raise ConnectFailed(
                f"{self.name} cannot be opened: it {trouble.text}"
            ) from trouble.cause

    async def _receive(self) -> T:
        self._left = left = trio.Event()
        try:
            with trio.CancelScope() as self._scope:
                return await self._next()
        finally:
            self._scope = None
            left.set()
        raise trio.ClosedResourceError(f"{self.name} is closed")

    def _disconnect(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
        if self._asker is not None:
            self._asker.close()
            self._past = self._totals()
            self._asker = None
        self._forget()

    async def _wait_disconnected(self) -> None:
        """A receive that waited has to tidy up."""
        if self._left is not None:
            await self._left.wait()
        else:
            await trio.lowlevel.checkpoint()

    def _forget(self) -> None:
        """Begin anew: what was known of the server may be true no more."""
        self._ahead = None
        self._conditions: list[tuple[bytes, bytes]] = []
        self._offered: list[tuple[bytes, bytes]] = []
        self._last = b""
        self._misses = 0

    async def _new_asker(self) -> Asker:
        """Be ready to ask; the first time httpx2 is imported, in a thread."""
        owner, module = type(self).__qualname__, f"{__package__}.asking"

        def load() -> type[Asker]:
            EXTRA.load(owner)
            return importlib.import_module(module).Asker  # type: ignore[no-any-return]

        if self._kind is None:
            self._kind = await Errand(load, name="imports httpx2").result()
        limiter = self._limiter
        turn = None if limiter is None else functools.partial(self._take_turn, limiter)
        return self._kind(self._location, self._options, self._max_bytes, turn)

    # Polls

    async def _next(self) -> T:
        """The next message. Nothing is remembered of it before the last await."""
        if self._ahead is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
            ahead, self._ahead = self._ahead, None
            if isinstance(ahead, BadAnswer):
                raise self._failure(ahead) from ahead.cause
            return self._give(ahead)
        while True:
            if self._grid.due > trio.current_time():
                await trio.sleep_until(self._grid.due)
            asker = self._asker
            if asker is None:
                raise trio.ClosedResourceError(f"{self.name} is not connected")
            try:
                reading = await self._poll(asker)
            except Trouble as trouble:
                raise self._failure(trouble) from trouble.cause
            if reading is not None:
                return self._give(reading)

    async def _poll(self, asker: Asker) -> HttpReading | None:
        """Ask once; None: there is nothing new. Cancelled, it is as if it had not been."""
        asked, self._waited = trio.current_time(), 0.0
        answer: Answer | None = None
        try:
            with trio.move_on_after(self._answer_within) as self._limit:
                answer = await asker.get(self._conditions)
            if answer is None:
                raise asker.unanswered(self._answer_within)
            self._misses = 0
            reading = self._judge(answer, trio.current_time() - asked - self._waited)
        except Trouble as trouble:
            now = trio.current_time()
            self._grid.asked(now, not_before=now + trouble.retry_after)
            raise
        self._grid.asked(trio.current_time())
        return reading

    async def _take_turn(self, limiter: RateLimiter) -> None:
        """Wait until the limiter lets a question through; that is not the server's time."""
        limit = self._limit
        began, deadline = trio.current_time(), limit.deadline
        limit.deadline = math.inf
        try:
            await limiter.acquire()
        finally:
            waited = trio.current_time() - began
            self._waited += waited
            limit.deadline = deadline + waited

    def _judge(self, answer: Answer, elapsed: float) -> HttpReading | None:
        """What an answer is: a reading, nothing, or of no use."""
        now = trio.current_time()
        if answer.status in EMPTY:
            self._empty += 1
            return None
        if answer.status == 304 and self._conditions:
            self._unchanged += 1
            self._offered = self._conditions
            if not self._gives_unchanged:
                return None
        elif not 200 <= answer.status < 300 or answer.status == 206:  # half of it, unasked
            raise bad_status(answer.status, retry_after=_retry_after(answer))
        else:
            self._offered = [
                (condition, value)
                for name, condition in CONDITIONS
                if (value := answer.header(name)) is not None
            ]
        return HttpReading(
            status=answer.status,
            body=self._last if answer.status == 304 else answer.body,
            headers=answer.headers,
            at=now,
            elapsed=elapsed,
            unchanged=answer.status == 304,
        )

    def _give(self, reading: HttpReading) -> T:
        """Give an answer out: from now on the server need not give it again."""
        try:
            message = self._parse(reading)
        except ReceiveFailed:
            self._rejected += 1
            raise
        self._conditions = self._offered
        if self._gives_unchanged:
            self._last = reading.body
        return message

    def _failure(self, trouble: Trouble) -> DriverError:
        """What it means that a poll failed."""
        if isinstance(trouble, CannotConnect):
            return DeviceGone(f"{self.name} is gone: it {trouble.text}")
        if isinstance(trouble, BadAnswer):
            self._misses = 0  # one that was not heard to its end, too
            self._rejected += 1
            return ReceiveFailed(f"{self.name} {trouble.text}")
        self._misses += 1
        if self._misses < self._gone_after:
            return ReceiveFailed(f"{self.name} {trouble.text}")
        times = f", the last of {self._misses} polls in a row" if self._misses > 1 else ""
        return DeviceGone(f"{self.name} is gone: it {trouble.text}{times}")

    def _totals(self) -> tuple[int, int, int, int]:
        """Questions, repeated ones, bytes received and sent, of all askers."""
        asker = self._asker
        if asker is None:
            return self._past
        questions, repeated, received, sent = self._past
        network = asker.network
        return (
            questions + asker.questions,
            repeated + asker.repeats,
            received + network.bytes_received,
            sent + network.bytes_sent,
        )


def _retry_after(answer: Answer) -> float:
    """Seconds for which the server wants to be left alone, as far as it gets its will."""
    if answer.status not in (429, 503):
        return 0.0
    value = answer.text_of(b"retry-after")
    # A date is one of wall clocks, the server's if it says what that shows.
    now = datetime.datetime.now(datetime.UTC)
    return min(LONGEST_WAIT, retry_after(value, answer.text_of(b"date"), now))


def _check_seconds(
    owner: str, option: str, value: object, *, least: float = sys.float_info.min, zero: bool = False
) -> None:
    if not is_number(value) or not (least <= value <= sys.float_info.max or (zero and value == 0)):
        bound = f"{least:g} or more, or 0" if zero else "above 0"
        raise ConfigurationError(
            f"{owner}({option}={value!r:.80}): expected a finite number of seconds, {bound}"
        )


def _check_count(owner: str, option: str, value: object) -> None:
    if not is_whole(value, 1):
        raise ConfigurationError(
            f"{owner}({option}={value!r:.80}): expected a whole number, 1 or more"
        )
