"""The rules for drivers that concern one or two calls each."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator
from typing import Any

import trio
import trio.testing

from ..leftovers import Scene
from . import contract
from .contract import broken, left_behind, outline
from .driver_calls import CLEAR, CLOSED, ENDED, closes, crossings, refuses, sweep
from .line import DriverLike, Line, Lines, rest, side_by_side

__all__ = [
    "after_close",
    "before_open",
    "cancelled_close",
    "cancelled_open",
    "cancelled_receive",
    "cancelled_send",
    "close_from_every_state",
    "close_twice",
    "exchange",
    "leaves_nothing",
    "open_again",
    "statistics",
    "two_receivers",
]


async def exchange(rule: str, lines: Lines[Any]) -> None:
    """Messages arrive, equal and in order, both ways; first each way alone, then both."""
    async with lines.open() as line:
        to_driver, to_peer = crossings(rule, line, lines.messages)
        await side_by_side(*to_driver)
        await side_by_side(*to_peer)
        await side_by_side(*to_driver, *to_peer)


async def statistics(rule: str, lines: Lines[Any]) -> None:
    """It can be called in every state."""
    async with lines.new() as line:
        driver = line.driver
        _look(rule, driver, "before open")
        await driver.open()
        _look(rule, driver, "after open")
        await side_by_side(*crossings("exchange", line, lines.messages)[0])
        _look(rule, driver, "after messages")
        await driver.aclose()
        _look(rule, driver, "after aclose")


def _look(rule: str, driver: DriverLike, when: str) -> None:
    try:
        value: object = driver.statistics()
    except Exception as error:
        raise broken(
            rule,
            expected=f"statistics() to work {when}",
            came=f"it raised {outline(error)}",
            remedy="let it depend on no connection",
        ) from error
    if hasattr(value, "__await__"):
        if inspect.iscoroutine(value):
            value.close()
        raise broken(
            rule,
            expected="statistics() to return a value",
            came="it is async",
            remedy="make it a plain def: it must be possible at any time",
        )


async def before_open(rule: str, lines: Lines[Any]) -> None:
    """Receiving and sending say that it is not open."""
    async with lines.new() as line:
        await refuses(rule, line.driver.receive, "receive() before open()", CLEAR)
        await refuses(rule, lambda: line.driver.send(lines.messages[0]), "send() before open()")
        with contextlib.suppress(Exception):  # that is the business of another rule
            await line.driver.aclose()


async def close_twice(rule: str, lines: Lines[Any]) -> None:
    """The second close does nothing."""
    async with lines.new() as line:
        await line.driver.open()
        await closes(rule, line.driver, "once")
        await closes(rule, line.driver, "twice")


async def leaves_nothing(rule: str, lines: Lines[Any]) -> None:
    """After it and its peer are closed there is nothing new; it is still there itself."""
    before = Scene.now()
    async with lines.open() as line:
        to_driver, to_peer = crossings("exchange", line, lines.messages)
        await side_by_side(*to_driver)
        await side_by_side(*to_peer)
    left = await left_behind(before)
    if left:
        raise broken(
            rule,
            expected="nothing new once the driver and its peer have been closed",
            came=f"they left {left}",
            remedy="close in aclose() what open() opens, join threads, and end tasks",
        )


async def close_from_every_state(rule: str, lines: Lines[Any]) -> None:
    """It closes if it was never opened, if it is open, and when cancelled."""
    async with lines.new() as line:
        await closes(rule, line.driver, "without open()")
    async with lines.new() as line:
        driver = line.driver
        await driver.open()
        await side_by_side(*crossings("exchange", line, lines.messages)[0])
        await closes(rule, driver, "after messages")
    async with lines.new() as line:
        driver = line.driver
        await driver.open()
        with trio.CancelScope() as scope:
            scope.cancel()
            await closes(rule, driver, "in a cancelled scope")
        if not scope.cancelled_caught:
            raise broken(
                rule,
                expected="aclose() in a cancelled scope to raise trio.Cancelled once it has closed",
                came="it returned",
                remedy="do not catch Cancelled in it; end it with a checkpoint, as Trio's do",
            )
        await refuses(rule, driver.receive, "receive() after a cancelled aclose()", CLOSED)


async def after_close(rule: str, lines: Lines[Any]) -> None:
    """Receiving and sending say that it is closed, also a call that waits."""
    async with lines.open() as line:
        driver = line.driver

        async def wait() -> None:
            await refuses(
                rule, driver.receive, "receive(), waiting while aclose() is called,", CLOSED
            )

        async def close() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await driver.aclose()

        await side_by_side(wait, close)
        await refuses(rule, driver.receive, "receive() after aclose()", CLOSED)
        kinds = CLOSED if line.sends else CLEAR
        await refuses(rule, lambda: driver.send(lines.messages[0]), "send() after aclose()", kinds)


async def two_receivers(rule: str, lines: Lines[Any]) -> None:
    """The second is refused, the first gets its message."""
    async with lines.open() as line:
        first: list[Any] = []

        async def receive() -> None:
            first.append(await line.driver.receive())

        async def cancel(scope: trio.CancelScope) -> None:
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()

        async def intrude() -> None:
            await trio.testing.wait_all_tasks_blocked()
            refused = False
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel, nursery.cancel_scope)
                try:
                    await line.driver.receive()
                except trio.BusyResourceError:
                    refused = True
                nursery.cancel_scope.cancel()
            if not refused:
                raise broken(
                    rule,
                    expected="a second receive() at the same time to raise trio.BusyResourceError",
                    came="it waited beside the first",
                    remedy="note in receive that one is under way, and raise if there is another",
                )
            await line.peer.send(lines.messages[0])

        await side_by_side(receive, intrude)
        if first != [lines.messages[0]]:
            raise broken(
                rule,
                expected=f"the first receive() to get {lines.messages[0]!r:.80}",
                came=f"it got {first!r:.80}",
                remedy="refuse the second receive before it touches anything",
            )


async def cancelled_receive(rule: str, lines: Lines[Any]) -> None:
    """Wherever it is cancelled, no message is lost; it may be there already, or come."""
    for late in (False, True):

        @contextlib.asynccontextmanager
        async def make(late: bool = late) -> AsyncGenerator[Line, None]:
            async with lines.open() as line, trio.open_nursery() as nursery:
                at_once = (*lines.messages, lines.messages[-1])  # one in the place of a lost one
                nursery.start_soon(
                    _send_all, line, at_once if line.lossless else lines.messages[:1], late
                )
                if not late:
                    await trio.testing.wait_all_tasks_blocked()
                yield line
                nursery.cancel_scope.cancel()

        async def receive(line: Line) -> Any:
            return await line.driver.receive()

        async def receive_the_rest(line: Line) -> list[Any]:
            rest_of_them: list[Any] = []
            for message in lines.messages[1:]:
                if not line.lossless:
                    await line.peer.send(message)
                rest_of_them.append(await line.driver.receive())
            return rest_of_them

        await sweep(rule, make, receive, receive_the_rest)


async def _send_all(line: Line, messages: tuple[Any, ...], late: bool) -> None:
    if late:
        await trio.testing.wait_all_tasks_blocked()
    with contextlib.suppress(*ENDED):
        for message in messages:
            await line.peer.send(message)


async def cancelled_send(rule: str, lines: Lines[Any]) -> None:
    """Cancelled and repeated, a message arrives once."""
    await lines.require_sends()
    first = lines.messages[0]
    last = next(message for message in lines.messages if message != first)

    class Listener:
        def __init__(self, line: Line) -> None:
            self.line: Line = line
            self.heard: list[Any] = []
            self.ended = trio.Event()

        async def listen(self) -> None:
            try:
                while not self.heard or self.heard[-1] != last:
                    self.heard.append(await self.line.peer.receive())
            except ENDED:
                return  # the driver gave the line up, and says so
            finally:
                self.ended.set()

    @contextlib.asynccontextmanager
    async def make() -> AsyncGenerator[Listener, None]:
        async with lines.open() as line, trio.open_nursery() as nursery:
            listener = Listener(line)
            nursery.start_soon(listener.listen)
            yield listener
            nursery.cancel_scope.cancel()

    async def send(listener: Listener) -> None:
        await listener.line.driver.send(first)

    async def listen_on(listener: Listener) -> list[Any]:
        await listener.line.driver.send(last)
        await listener.ended.wait()
        return listener.heard

    await sweep(rule, make, send, listen_on)


async def open_again(rule: str, lines: Lines[Any]) -> None:
    """After a close it opens again, or says that it does not."""
    async with lines.open() as line:
        await line.driver.aclose()
        try:
            await line.driver.open()
        except CLEAR:
            return
        except Exception as error:
            raise broken(
                rule,
                expected="open() after aclose() to work, or to raise trio.ClosedResourceError or "
                "a HorusError",
                came=f"it raised {outline(error)}",
                remedy="begin anew in open(), or refuse it there",
            ) from error


async def cancelled_open(rule: str, lines: Lines[Any]) -> None:
    """Wherever it is cancelled, nothing is open, and it opens the next time."""

    async def opens(line: Line) -> None:
        await line.driver.open()

    async def exchange_one(line: Line) -> list[Any]:
        for _ in range(3):  # so that the peer notices
            await rest()
        to_driver, to_peer = crossings(rule, line, lines.messages[:1])
        await side_by_side(*to_peer)
        await side_by_side(*to_driver)
        return []

    await sweep(rule, lines.new_and_closed, opens, exchange_one)


async def cancelled_close(rule: str, lines: Lines[Any]) -> None:
    """Wherever it is cancelled, it is closed."""
    still_open: list[str] = []

    async def close(line: Line) -> None:
        try:
            await line.driver.aclose()
        finally:
            came = "it waited"
            with trio.move_on_after(contract.LIMIT / 10) as scope:
                scope.shield = True
                try:
                    came = f"it returned {await line.driver.receive()!r:.80}"
                except CLOSED:
                    came = ""
                except Exception as error:  # noqa: BLE001 - said below
                    came = f"it raised {outline(error)}"
            if came:
                still_open.append(came)

    async def nothing(line: Line) -> None: ...

    try:
        await sweep(rule, lines.open, close, nothing)
    finally:
        if still_open:
            raise broken(
                rule,
                expected="receive() after a cancelled aclose() to raise trio.ClosedResourceError",
                came=still_open[0],
                remedy="close before the first checkpoint of aclose(), and wait afterwards",
            )
