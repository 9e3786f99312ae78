"""Calls of a driver as the rules make them: with a limit, and judged."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import outcome
import trio

from ...errors import HorusError
from ..cancellation import CancellationBroken, cancel_everywhere
from ..cancellation.attempt import Ending, attend
from . import contract
from .contract import ContractBroken, broken, outline
from .line import DriverLike, Line, side_by_side

__all__ = [
    "CLEAR",
    "CLOSED",
    "ENDED",
    "GONE",
    "closes",
    "crossings",
    "ending_of",
    "refuses",
    "still_waited",
    "sweep",
]

CLEAR = (trio.ClosedResourceError, trio.BrokenResourceError, trio.BusyResourceError, HorusError)
"""What may be raised where a driver cannot do what it is asked."""

CLOSED = (trio.ClosedResourceError,)
"""What is raised by a driver that the program has closed."""

GONE = (trio.BrokenResourceError, trio.EndOfChannel, HorusError)
"""What may be raised once the device is lost."""

ENDED = (trio.EndOfChannel, trio.ClosedResourceError, trio.BrokenResourceError)
"""What a peer may raise once the driver has given the line up."""

Steps: TypeAlias = tuple[Callable[[], Awaitable[None]], ...]


def crossings(rule: str, line: Line, messages: tuple[Any, ...]) -> tuple[Steps, Steps]:
    """Sender and receiver of each way; none where the driver takes no messages.

    To a driver that is not lossless a message goes when the one before has arrived.
    """
    driver, peer = line.driver, line.peer

    def crossing(
        send: Callable[[Any], Awaitable[object]],
        receive: Callable[[], Awaitable[Any]],
        whose: str,
        ahead: int,
    ) -> Steps:
        room = trio.Semaphore(ahead)

        async def send_all() -> None:
            for message in messages:
                await room.acquire()
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
                room.release()

        return send_all, receive_all

    return (
        crossing(peer.send, driver.receive, "driver", len(messages) if line.lossless else 1),
        crossing(driver.send, peer.receive, "peer", len(messages)) if line.sends else (),
    )


async def ending_of(call: Callable[[], Awaitable[object]]) -> Ending:
    """How a call ends, within half the time of a rule."""
    endings: list[Ending] = []

    async def try_call() -> None:
        endings.append(await attend(call, seconds=contract.LIMIT / 2))

    # In a task of its own, since the nursery of a peer must not be evicted with it.
    await side_by_side(try_call)
    return endings[0]


def still_waited(ending: Ending) -> str:
    """What to say of a call that had to be evicted."""
    where = ending.stuck or "an unknown place"
    return f"it still waited after {contract.LIMIT / 2:g} s, at {where}"


async def refuses(
    rule: str,
    call: Callable[[], Awaitable[object]],
    what: str,
    kinds: tuple[type[Exception], ...] = CLEAR,
) -> None:
    """Require that a call raises one of these errors, soon."""
    names = "trio.ClosedResourceError" + (", or a HorusError" if HorusError in kinds else "")
    ending = await ending_of(call)
    error = ending.result.error if isinstance(ending.result, outcome.Error) else None
    if not ending.hung and isinstance(error, kinds):
        return
    if ending.hung:
        came = still_waited(ending)
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


async def closes(rule: str, driver: DriverLike, when: str) -> None:
    """Require that it closes."""
    try:
        await driver.aclose()
    except Exception as error:
        raise broken(
            rule,
            expected=f"aclose() {when} to succeed",
            came=f"it raised {outline(error)}",
            remedy="close what there is, and forget it before",
        ) from error


async def sweep(
    rule: str,
    make: Callable[[], contextlib.AbstractAsyncContextManager[Any]],
    use: Callable[[Any], Awaitable[object]],
    observe: Callable[[Any], object],
) -> None:
    """Cancel a call at each of its checkpoints."""
    try:
        await cancel_everywhere(make, use, observe=observe, deadline=contract.LIMIT)
    except CancellationBroken as error:
        raise ContractBroken(
            rule, f"expected it to be as if it had not been cancelled; {error}"
        ) from error
