"""A driver and the other end of its line, as the rules of `check_driver` use them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import trio

from ...errors import ConfigurationError

__all__ = ["DriverLike", "Line", "Lines", "PeerLike", "PeerT", "side_by_side"]


class DriverLike(Protocol):
    """What `check_driver` tries."""

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


class PeerLike(Protocol):
    """The other end of the line: what the driver sends it receives, and the other way round."""

    async def receive(self) -> Any:
        """Wait for the next message."""

    async def send(self, data: Any, /) -> object:
        """Send a message."""


PeerT = TypeVar("PeerT", bound=PeerLike)

VERBS = ("open", "receive", "send", "aclose", "statistics")


@dataclass(frozen=True, slots=True)
class Line:
    """A driver and its peer."""

    driver: DriverLike
    peer: PeerLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines(Generic[PeerT]):
    """Makes lines for the rules.

    Attributes:
        make_driver: Makes the driver of a peer.
        make_peer: Makes the peer.
        messages: To be exchanged.
    """

    make_driver: Callable[[PeerT], DriverLike | Awaitable[DriverLike]]
    make_peer: Callable[[], AbstractAsyncContextManager[PeerT]]
    messages: tuple[Any, ...]

    @contextlib.asynccontextmanager
    async def new(self) -> AsyncGenerator[Line, None]:
        """A driver that was never opened, whose peer is there. Nobody closes it."""
        async with self.make_peer() as peer:
            driver: Any = self.make_driver(peer)
            if inspect.isawaitable(driver):
                driver = await driver
            missing = [verb for verb in VERBS if not callable(getattr(driver, verb, None))]
            if missing:
                raise ConfigurationError(
                    f"check_driver: expected make_driver to make a driver, got {driver!r:.80}, "
                    f"which has no {', '.join(missing)}"
                )
            yield Line(driver, peer)

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
