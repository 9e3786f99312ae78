"""`FakeDriver`: a driver in memory, scripted by the test, on the run's own clock."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import trio

from ..arguments import is_number, is_positive, is_whole
from ..drivers import ConnectFailed, DeviceGone, Driver
from ..errors import ConfigurationError

__all__ = ["FakeDriver"]

T = TypeVar("T")

Verb: TypeAlias = Literal["open", "receive", "send"]

VERBS: tuple[Verb, ...] = ("open", "receive", "send")


@dataclass(slots=True)
class _Failure:
    """One error to be raised, once so many more calls have succeeded."""

    error: Exception | type[Exception]
    after: int


class FakeDriver(Driver[T]):
    """Stands in for a device: what it receives is fed by the test, what it sends is kept.

    It is a `Driver` like any other, in a `DriverNode` or alone. All methods are for the loop.

    Arguments:
        messages: Fed at the beginning.
        capacity: How many sent messages the device holds until they are taken with `take`; then
            `Driver.send` waits. By default it never does.
        latency: Seconds that opening and sending take, and that a message takes to arrive.
        name: What it is called in messages.
    """

    def __init__(
        self,
        *messages: T,
        capacity: float = math.inf,
        latency: float = 0.0,
        name: str = "FakeDriver",
    ) -> None:
        super().__init__()
        if not is_number(capacity) or not capacity >= 1:
            raise ConfigurationError(
                f"FakeDriver(capacity={capacity!r}): expected a number of messages, 1 or more; "
                "leave it out for one that takes any number"
            )
        if not is_positive(latency, or_zero=True):
            raise ConfigurationError(
                f"FakeDriver(latency={latency!r}): expected a finite number of seconds, 0 or more"
            )
        self._name = name
        self._capacity = capacity
        self._latency = latency
        self._incoming: collections.deque[tuple[float, T]] = collections.deque()
        self._outgoing: collections.deque[T] = collections.deque()
        self._written: list[T] = []
        self._failures_to_come: dict[str, list[_Failure]] = {verb: [] for verb in VERBS}
        self._is_there = True
        self._plug: object = None
        self._changed = trio.Event()
        self.feed(*messages)

    def __repr__(self) -> str:
        gone = "" if self._is_there else ", hung up"
        return (
            f"<{self.name}, {self.state.value}{gone}, {len(self._incoming)} to receive, "
            f"{len(self._written)} written>"
        )

    @property
    def name(self) -> str:
        return self._name

    # For the test

    def feed(self, *messages: T) -> None:
        """Send messages to the driver. What it has not received, the next connection gets."""
        arrival = -math.inf
        if self._latency and trio.lowlevel.in_trio_run():
            arrival = trio.current_time() + self._latency
        self._incoming.extend((arrival, message) for message in messages)
        self._change()

    @property
    def pending(self) -> int:
        """How many messages were fed and not received yet."""
        return len(self._incoming)

    @property
    def written(self) -> list[T]:
        """What was sent so far, over all connections, whether taken or not."""
        return list(self._written)

    async def take(self) -> T:
        """Wait for the next sent message that was not taken, and make room for another one.

        A checkpoint. Cancelled, it has taken nothing.
        """
        await trio.lowlevel.checkpoint()
        while not self._outgoing:
            await self._changed.wait()
        message = self._outgoing.popleft()
        self._change()
        return message

    def fail(self, verb: Verb, error: Exception | type[Exception], *, after: int = 0) -> None:
        """Have a call fail, once; one that waits fails at once.

        An `OSError` becomes what it becomes in every driver: with ``errno.EIO`` the device is
        gone, with ``errno.EINVAL`` this one call has failed.

        Arguments:
            verb: ``"open"``, ``"receive"`` or ``"send"``.
            error: What the device raises.
            after: How many calls succeed before.
        """
        if verb not in VERBS:
            raise ConfigurationError(
                f"FakeDriver.fail({verb!r}): expected 'open', 'receive' or 'send'"
            )
        if not is_whole(after, 0):
            raise ConfigurationError(
                f"FakeDriver.fail({verb!r}, after={after!r}): expected a whole number of calls, "
                "0 or more"
            )
        is_class = isinstance(error, type) and issubclass(error, Exception)
        if not (is_class or isinstance(error, Exception)):
            raise ConfigurationError(
                f"FakeDriver.fail({verb!r}, {error!r:.80}): expected an exception, such as "
                "OSError(errno.EIO, 'cable pulled')"
            )
        self._failures_to_come[verb].append(_Failure(error, after))
        self._change()

    def hang_up(self) -> None:
        """Be unplugged: what is on its way still arrives, then the device is gone. Idempotent."""
        self._is_there = False
        self._change()

    def come_back(self) -> None:
        """Be plugged in again: it can be opened. Idempotent."""
        self._is_there = True
        self._change()

    # The driver

    async def _connect(self) -> None:
        ready = trio.current_time() + self._latency
        await trio.lowlevel.checkpoint()
        while True:
            self._strike("open")
            if not self._is_there:
                raise ConnectFailed(f"{self.name} is not there: it has hung up")
            if trio.current_time() >= ready:
                break
            await self._wait(ready)
        self._plug = object()
        self._succeeded("open")

    async def _receive(self) -> T:
        plug = self._plug
        await trio.lowlevel.checkpoint()
        while True:
            self._check(plug)
            self._strike("receive")
            arrival = self._incoming[0][0] if self._incoming else math.inf
            if arrival <= trio.current_time():
                self._succeeded("receive")
                return self._incoming.popleft()[1]
            if not self._is_there and not self._incoming:
                raise DeviceGone(f"{self.name} has hung up")
            await self._wait(arrival)

    async def _send(self, message: T) -> None:
        plug = self._plug
        ready = trio.current_time() + self._latency
        await trio.lowlevel.checkpoint()
        while True:
            self._check(plug)
            self._check_fence()
            self._strike("send")
            if not self._is_there:
                raise DeviceGone(f"{self.name} has hung up")
            is_ready = trio.current_time() >= ready
            if is_ready and len(self._outgoing) < self._capacity:
                break
            await self._wait(math.inf if is_ready else ready)
        self._written.append(message)
        self._outgoing.append(message)
        self._succeeded("send")
        self._change()

    def _disconnect(self) -> None:
        self._plug = None
        self._change()

    def _check(self, plug: object) -> None:
        if plug is not self._plug or plug is None:
            raise trio.ClosedResourceError(f"{self.name} was unplugged")

    def _strike(self, verb: Verb) -> None:
        """Raise what was asked for."""
        failures = self._failures_to_come[verb]
        if failures and failures[0].after <= 0:
            raise failures.pop(0).error

    def _succeeded(self, verb: Verb) -> None:
        failures = self._failures_to_come[verb]
        if failures:
            failures[0].after -= 1

    def _change(self) -> None:
        """Wake all who wait: each looks whether it is for them."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _wait(self, until: float) -> None:
        """Until something has changed, or the time has come."""
        changed = self._changed
        with trio.move_on_at(until):
            await changed.wait()
