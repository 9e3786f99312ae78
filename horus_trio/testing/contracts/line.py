"""A driver and the other end of its line, as the rules of `check_driver` use them."""

from __future__ import annotations

import contextlib
import inspect
import math
import random
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

import trio
import trio.testing

from ...drivers import Framing, StreamDriver
from ...errors import ConfigurationError
from ..clock import VirtualClock
from ..leftovers import PAUSE

__all__ = [
    "AblePeer",
    "DriverLike",
    "Line",
    "Lines",
    "NotTried",
    "Patience",
    "PeerLike",
    "PeerT",
    "SpeakingPeer",
    "call",
    "rest",
    "side_by_side",
]


class DriverLike(Protocol):
    """What `check_driver` tries.

    One that takes no messages says so by an attribute ``sends = False``, and one that passes over
    old messages when newer ones have come by ``lossless = False``, as in
    `horus_trio.drivers.Driver`.
    """

    async def open(self) -> object:
        """Connect."""

    async def receive(self) -> Any:
        """Wait for the next message. Cancelled, nothing is taken."""

    async def send(self, data: Any, /) -> object:
        """Send a message. Cancelled, it was not sent, or the driver says that it is broken."""

    async def aclose(self) -> object:
        """Close, from every state, also when cancelled. Idempotent."""

    def statistics(self) -> object:
        """Counters, in every state."""


class SpeakingPeer(Protocol):
    """The other end of a line on which the driver only receives."""

    async def send(self, data: Any, /) -> object:
        """Send a message."""


class PeerLike(SpeakingPeer, Protocol):
    """The other end of the line: what the driver sends it receives, and the other way round.

    A driver may be opened again: the peer serves the newest connection, and closes those that the
    driver has closed. With more abilities, those of `AblePeer`, more rules can be tried.
    """

    async def receive(self) -> Any:
        """Wait for the next message."""


class AblePeer(PeerLike, Protocol):
    """What else a peer may be able to do: any of these, ``async`` or not.

    `check_driver` looks for them by name, and reports the rules it cannot try for want of one. A
    peer that connects to a driver which waits for it, rather than the other way round, says so with
    an attribute ``connects_to_driver = True``.
    """

    async def write(self, data: bytes, /) -> object:
        """Put these bytes on the line, as they are: parts of messages, or many at once."""

    async def vanish(self) -> object:
        """Be gone, as if unplugged, for good: the line is dead, and there is none to open.

        Not for lines on which that cannot be noticed.
        """

    def pause_reading(self) -> object:
        """Take nothing from the line any more, so that the driver's ``send`` has to wait at last.

        It is called while nobody is in ``receive``. Not for lines that lose what is not taken.
        """

    def resume_reading(self) -> object:
        """Go on; ``receive`` gives all that was sent meanwhile, in order."""


class NotTried(Exception):
    """Raised by a rule that cannot be tried: why."""


PeerT = TypeVar("PeerT", bound=SpeakingPeer)

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"

_FILLING = _LETTERS * 40

VERBS = ("open", "receive", "send", "aclose", "statistics")


@dataclass(frozen=True, slots=True)
class Line:
    """A driver and its peer."""

    driver: DriverLike
    peer: PeerLike

    @property
    def sends(self) -> bool:
        """Whether the driver takes messages."""
        return bool(getattr(self.driver, "sends", True))

    @property
    def lossless(self) -> bool:
        """Whether the driver gives out every message."""
        return bool(getattr(self.driver, "lossless", True))

    def ability(self, name: str) -> Callable[..., Any]:
        """An ability of the peer; `NotTried` if it has none of that name."""
        function = getattr(self.peer, name, None)
        if not callable(function):
            raise NotTried(f"the peer has no {name}()")
        return function  # type: ignore[no-any-return]

    def has(self, name: str) -> bool:
        """Whether the peer has an ability."""
        return callable(getattr(self.peer, name, None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines(Generic[PeerT]):
    """Makes lines for the rules.

    Attributes:
        make_driver: Makes the driver of a peer.
        make_peer: Makes the peer.
        messages: To be exchanged.
        number: Makes the n-th of many messages; None: they are made up.
        encode: The bytes on the line for a message; None: see `encoder`.
        stream_bytes: Size of the numbered stream.
        cycles: How often it is opened and closed.
        seed: Of all that is left to chance.
        kinds: The class of the latest driver.
    """

    make_driver: Callable[[PeerT], DriverLike | Awaitable[DriverLike]]
    make_peer: Callable[[], AbstractAsyncContextManager[PeerT]]
    messages: tuple[Any, ...]
    number: Callable[[int], Any] | None = None
    encode: Callable[[Any], bytes] | Framing | None = None
    stream_bytes: int = 10_000_000
    cycles: int = 10_000
    seed: int = 0
    kinds: list[str] = field(default_factory=list)

    def chance(self, rule: str) -> random.Random:
        """The chance of a rule: the same for the same seed."""
        return random.Random(f"{self.seed} {rule}")

    def numbered(self, number: int) -> Any:
        """The n-th of many messages, from 0: of the user's making, or made up.

        Made up, those of bytes contain their number and are of many lengths; or of the length of
        the given ones, if these have all the same. Others are the given ones in a fixed disorder.
        """
        if self.number is not None:
            return self.number(number)
        mixed = number * 2654435761 % 2**32
        if not self.of_bytes:
            return self.messages[(mixed >> 8) % len(self.messages)]
        lengths = {len(message) for message in self.messages}
        if len(lengths) == 1:
            [length] = lengths
            return b"%0*d" % (length, number % 10**length)
        size, start = mixed % 1000, (mixed >> 16) % len(_LETTERS)
        return b"%d " % number + _FILLING[start : start + size]

    def large(self, number: int) -> Any:
        """The same, and as large as messages may well be."""
        message = self.numbered(number)
        if self.number is not None or not self.of_bytes:
            return message
        return message if len({len(m) for m in self.messages}) == 1 else message + _FILLING * 16

    @property
    def of_bytes(self) -> bool:
        """Whether the given messages are made of bytes."""
        return all(isinstance(message, bytes) for message in self.messages)

    def size_of(self, message: Any) -> int:
        """How many bytes a message counts for; any that is not bytes, for 500."""
        return len(message) if isinstance(message, (bytes, bytearray, memoryview)) else 500

    def encoder(self, driver: DriverLike) -> Callable[[Any], bytes]:
        """How messages lie on the line; `NotTried` if that is not known."""
        encode = self.encode
        if isinstance(encode, Framing):
            return encode.encode
        if encode is not None:
            return encode
        if isinstance(driver, StreamDriver):
            return driver._framing.encode
        raise NotTried("encode=… is not given")

    @contextlib.asynccontextmanager
    async def new(self) -> AsyncGenerator[Line, None]:
        """A driver that was never opened, whose peer is there. Nobody closes it."""
        async with self.make_peer() as peer:
            driver = await self.driver_of(peer)
            missing = [verb for verb in VERBS if not callable(getattr(driver, verb, None))]
            if missing:
                raise ConfigurationError(
                    f"check_driver: expected make_driver to make a driver, got {driver!r:.80}, "
                    f"which has no {', '.join(missing)}"
                )
            yield Line(driver, cast(PeerLike, peer))  # who only speaks is never asked to receive

    async def require_sends(self) -> None:
        """`NotTried` if its drivers take no messages. A checkpoint."""
        async with self.new_and_closed() as line:
            sends = line.sends
        if not sends:
            raise NotTried("the driver takes no messages")

    async def driver_of(self, peer: PeerT) -> Any:
        """A fresh driver."""
        driver: Any = self.make_driver(peer)
        if inspect.isawaitable(driver):
            driver = await driver
        self.kinds[:] = [type(driver).__qualname__]
        return driver

    @contextlib.asynccontextmanager
    async def new_and_closed(self) -> AsyncGenerator[Line, None]:
        """One that was never opened; closed on leaving."""
        async with self.new() as line:
            try:
                yield line
            finally:
                with trio.CancelScope(shield=True):
                    await line.driver.aclose()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[Line, None]:
        """One that is open; closed on leaving."""
        async with self.new() as line:
            try:
                await line.driver.open()
                yield line
            finally:
                with trio.CancelScope(shield=True):
                    await line.driver.aclose()


async def side_by_side(*functions: Callable[[], Awaitable[object]]) -> None:
    """Run async functions at the same time; the first error of any ends all. A checkpoint."""
    errors: list[Exception] = []

    async def run(function: Callable[[], Awaitable[object]]) -> None:
        try:
            await function()
        except Exception as error:  # noqa: BLE001 - raised below, without a group around it
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(run, function)
    if errors:
        raise errors[0]


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that may be async."""
    value = function(*args)
    return await value if inspect.isawaitable(value) else value


async def rest() -> None:
    """About a millisecond of real time, whatever the run's clock. A checkpoint."""
    clock = trio.lowlevel.current_clock()
    if isinstance(clock, (VirtualClock, trio.testing.MockClock)):
        threading.Event().wait(PAUSE)  # so that threads and processes have time, too
    if isinstance(clock, trio.testing.MockClock) and math.isinf(clock.autojump_threshold):
        await trio.lowlevel.checkpoint()
    else:
        await trio.sleep(0.001)


class Patience:
    """For how long, in real time, something has stood still."""

    def __init__(self) -> None:
        self._value: object = None
        self._since = time.monotonic()

    def still(self, value: object) -> float:
        """Real seconds since the value was another one."""
        if value != self._value:
            self._value = value
            self._since = time.monotonic()
        return time.monotonic() - self._since
