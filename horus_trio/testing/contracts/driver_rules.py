"""The rules for drivers, in the order in which `check_driver` tries them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeAlias

import outcome
import trio
import trio.testing

from ...errors import HorusError
from ..cancellation import CancellationBroken, cancel_everywhere
from ..cancellation.attempt import Ending, attend
from ..leftovers import Scene
from . import contract
from .contract import ContractBroken, broken, left_behind, outline
from .line import DriverLike, Line, Lines, side_by_side

__all__ = ["DRIVER_RULES", "SWEEPS"]

CLEAR = (trio.ClosedResourceError, trio.BrokenResourceError, trio.BusyResourceError, HorusError)
"""What may be raised where a driver cannot do what it is asked."""


ENDED = (trio.EndOfChannel, trio.ClosedResourceError, trio.BrokenResourceError)
"""What a peer may raise once the driver has given the line up."""

SWEEPS = frozenset({"cancelled receive", "cancelled send"})
"""The rules that repeat an operation many times."""


async def exchange(rule: str, lines: Lines[Any]) -> None:
    """Messages arrive, equal and in order, both ways; first each way alone, then both."""
    async with lines.open() as line:
        to_driver, to_peer = _crossings(rule, line, lines.messages)
        await side_by_side(*to_driver)
        await side_by_side(*to_peer)
        await side_by_side(*to_driver, *to_peer)


Steps: TypeAlias = tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]


def _crossings(rule: str, line: Line, messages: tuple[Any, ...]) -> tuple[Steps, Steps]:
    """Sender and receiver of each way."""
    driver, peer = line.driver, line.peer

    def crossing(
        send: Callable[[Any], Awaitable[object]], receive: Callable[[], Awaitable[Any]], whose: str
    ) -> Steps:
        async def send_all() -> None:
            for message in messages:
                await send(message)

        async def receive_all() -> None:
            for number, message in enumerate(messages, 1):
                came = await receive()
                if came != message:
                    raise broken(
                        rule,
                        expected=f"message {number} to be {message!r:.80} at the {whose}",
                        came=f"it was {came!r:.80}",
                        remedy="keep messages whole and in order; or give messages=(…) of the "
                        "driver's own kind",
                    )

        return send_all, receive_all

    return (
        crossing(peer.send, driver.receive, "driver"),
        crossing(driver.send, peer.receive, "peer"),
    )


async def statistics(rule: str, lines: Lines[Any]) -> None:
    """It can be called in every state."""
    async with lines.new() as line:
        driver = line.driver
        _look(rule, driver, "before open")
        await driver.open()
        _look(rule, driver, "after open")
        await side_by_side(*_crossings("exchange", line, lines.messages)[0])
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
        await _refuses(rule, line.driver.receive, "receive() before open()", CLEAR)
        await _refuses(rule, lambda: line.driver.send(lines.messages[0]), "send() before open()")
        with contextlib.suppress(Exception):  # that is the business of another rule
            await line.driver.aclose()


async def _refuses(
    rule: str,
    call: Callable[[], Awaitable[object]],
    what: str,
    kinds: tuple[type[Exception], ...] = CLEAR,
) -> None:
    names = "trio.ClosedResourceError" + (", or a HorusError" if HorusError in kinds else "")
    limit = contract.LIMIT / 2
    endings: list[Ending] = []

    async def try_call() -> None:
        endings.append(await attend(call, seconds=limit))

    # In a task of its own, since the nursery of a peer must not be evicted with it.
    await side_by_side(try_call)
    [ending] = endings
    error = ending.result.error if isinstance(ending.result, outcome.Error) else None
    if not ending.hung and isinstance(error, kinds):
        return
    if ending.hung:
        came = f"it still waited after {limit:g} s, at {ending.stuck or 'an unknown place'}"
    elif isinstance(ending.result, outcome.Value):
        came = f"it returned {ending.result.value!r:.80}"
    elif isinstance(error, Exception):
        came = f"it raised {outline(error)}"
    else:
        ending.result.unwrap()
        return
    raise broken(
        rule,
        expected=f"{what} to raise {names}",
        came=came,
        remedy="raise it while there is no open connection",
    ) from error


async def close_twice(rule: str, lines: Lines[Any]) -> None:
    """The second close does nothing."""
    async with lines.new() as line:
        await line.driver.open()
        await _closes(rule, line.driver, "once")
        await _closes(rule, line.driver, "twice")


async def leaves_nothing(rule: str, lines: Lines[Any]) -> None:
    """After it and its peer are closed there is nothing new; it is still there itself."""
    before = Scene.now()
    async with lines.open() as line:
        to_driver, to_peer = _crossings("exchange", line, lines.messages)
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
        await _closes(rule, line.driver, "without open()")
    async with lines.new() as line:
        driver = line.driver
        await driver.open()
        await side_by_side(*_crossings("exchange", line, lines.messages)[0])
        await _closes(rule, driver, "after messages")
    async with lines.new() as line:
        driver = line.driver
        await driver.open()
        with trio.CancelScope() as scope:
            scope.cancel()
            await _closes(rule, driver, "in a cancelled scope")
        if not scope.cancelled_caught:
            raise broken(
                rule,
                expected="aclose() in a cancelled scope to raise trio.Cancelled once it has closed",
                came="it returned",
                remedy="do not catch Cancelled in it; end it with a checkpoint, as Trio's do",
            )
        await _refuses(rule, driver.receive, "receive() after a cancelled aclose()", _CLOSED)


_CLOSED = (trio.ClosedResourceError,)


async def _closes(rule: str, driver: DriverLike, when: str) -> None:
    try:
        await driver.aclose()
    except Exception as error:
        raise broken(
            rule,
            expected=f"aclose() {when} to succeed",
            came=f"it raised {outline(error)}",
            remedy="close what there is, and forget it before",
        ) from error


async def after_close(rule: str, lines: Lines[Any]) -> None:
    """Receiving and sending say that it is closed, also a call that waits."""
    async with lines.open() as line:
        driver = line.driver

        async def wait() -> None:
            await _refuses(
                rule, driver.receive, "receive(), waiting while aclose() is called,", _CLOSED
            )

        async def close() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await driver.aclose()

        await side_by_side(wait, close)
        await _refuses(rule, driver.receive, "receive() after aclose()", _CLOSED)
        await _refuses(
            rule, lambda: driver.send(lines.messages[0]), "send() after aclose()", _CLOSED
        )


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
                nursery.start_soon(_send_all, line, lines.messages, late)
                if not late:
                    await trio.testing.wait_all_tasks_blocked()
                yield line
                nursery.cancel_scope.cancel()

        async def receive(line: Line) -> Any:
            return await line.driver.receive()

        async def receive_the_rest(line: Line) -> list[Any]:
            return [await line.driver.receive() for _ in lines.messages[1:]]

        await _sweep(rule, make, receive, receive_the_rest)


async def _send_all(line: Line, messages: tuple[Any, ...], late: bool) -> None:
    if late:
        await trio.testing.wait_all_tasks_blocked()
    with contextlib.suppress(*ENDED):
        for message in (*messages, messages[-1]):  # one more, in the place of a lost one
            await line.peer.send(message)


async def cancelled_send(rule: str, lines: Lines[Any]) -> None:
    """Cancelled and repeated, a message arrives once."""
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

    await _sweep(rule, make, send, listen_on)


async def _sweep(
    rule: str,
    make: Callable[[], contextlib.AbstractAsyncContextManager[Any]],
    use: Callable[[Any], Awaitable[object]],
    observe: Callable[[Any], object],
) -> None:
    try:
        await cancel_everywhere(make, use, observe=observe, deadline=contract.LIMIT)
    except CancellationBroken as error:
        raise ContractBroken(
            rule, f"expected it to be as if it had not been cancelled; {error}"
        ) from error


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


DRIVER_RULES: dict[str, Callable[[str, Lines[Any]], Awaitable[None]]] = {
    "exchange": exchange,
    "statistics": statistics,
    "before open": before_open,
    "close twice": close_twice,
    "leaves nothing": leaves_nothing,
    "close from every state": close_from_every_state,
    "after close": after_close,
    "two receivers": two_receivers,
    "cancelled receive": cancelled_receive,
    "cancelled send": cancelled_send,
    "open again": open_again,
}
