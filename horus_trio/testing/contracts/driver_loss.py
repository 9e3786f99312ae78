"""The rule for drivers that a lost device is told: never a hang, never silence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import outcome
import trio

from . import contract
from .contract import broken, leaf_of, outline
from .driver_calls import CLOSED, GONE, closes, ending_of, refuses, still_waited
from .driver_pressure import Sender
from .line import DriverLike, Line, Lines, NotTried, call, rest, side_by_side

__all__ = ["peer_vanishes"]

SENDS = 1000
"""How many messages may be sent before it is noticed that nobody is there."""


async def peer_vanishes(rule: str, lines: Lines[Any]) -> str:
    """At every point: before open, in it, idle, in receive, in send, after and in messages."""
    tried: list[str] = []
    left_out: list[str] = []
    for point in (
        _before_open,
        _in_open,
        _before_receive,
        _before_send,
        _in_receive,
        _after_messages,
        _in_a_message,
        _in_send,
    ):
        what = point.__name__.strip("_").replace("_", " ")
        try:
            await point(rule, lines)
        except Exception as error:
            reason = leaf_of(error)
            if not tried or not isinstance(reason, NotTried):
                raise
            left_out.append(f"{what}, for {reason}")
        else:
            tried.append(what)
    return ", ".join(tried) + "".join(f"; not {text}" for text in left_out)


async def _before_open(rule: str, lines: Lines[Any]) -> None:
    async with lines.new_and_closed() as line:
        await _vanish(line)
        if not _is_waited_for(line):
            await _fails(rule, line.driver.open, "open()", "before", also=(OSError,))
        await _ends(rule, line.driver)


def _is_waited_for(line: Line) -> bool:
    """Whether it is right of the driver to wait for a peer that does not come."""
    return bool(getattr(line.peer, "connects_to_driver", False))


async def _in_open(rule: str, lines: Lines[Any]) -> None:
    for yields in range(6):
        async with lines.new_and_closed() as line:
            if _is_waited_for(line):
                return

            async def vanish(line: Line = line, yields: int = yields) -> None:
                for _ in range(yields):
                    await trio.lowlevel.checkpoint()
                await _vanish(line)

            async def open_it(line: Line = line) -> None:
                async def open_and_receive() -> None:
                    await line.driver.open()
                    await line.driver.receive()

                await _fails(
                    rule,
                    open_and_receive,
                    "open(), or receive() then,",
                    "in open()",
                    also=(OSError,),
                )

            await side_by_side(open_it, vanish)
            await _ends(rule, line.driver)


async def _before_receive(rule: str, lines: Lines[Any]) -> None:
    async with lines.open() as line:
        await _vanish(line)
        await _fails(rule, line.driver.receive, "receive()", "before")
        await _stays_gone(rule, lines, line)


async def _before_send(rule: str, lines: Lines[Any]) -> None:
    await lines.require_sends()
    async with lines.open() as line:
        await _vanish(line)

        async def send_on() -> None:
            for number in range(SENDS):  # the first ones may still find room
                await line.driver.send(lines.messages[number % len(lines.messages)])
                await rest()

        await _fails(rule, send_on, "send(), repeated,", "before")
        await _stays_gone(rule, lines, line)


async def _in_receive(rule: str, lines: Lines[Any]) -> None:
    async with lines.open() as line:

        async def vanish() -> None:
            for _ in range(5):
                await rest()
            await _vanish(line)

        async def receive() -> None:
            await _fails(rule, line.driver.receive, "receive()", "while it waited")

        await side_by_side(receive, vanish)
        await _stays_gone(rule, lines, line)


async def _after_messages(rule: str, lines: Lines[Any]) -> None:
    """What was sent before arrives whole, or not at all."""
    async with lines.open() as line:
        vanish = line.ability("vanish")

        async def send_and_vanish() -> None:
            for message in lines.messages:
                await line.peer.send(message)
            await call(vanish)

        async def receive() -> None:
            await _receives_until_gone(rule, line, lines.messages, "after messages")

        await side_by_side(send_and_vanish, receive)
        await _stays_gone(rule, lines, line)


async def _in_a_message(rule: str, lines: Lines[Any]) -> None:
    """Half a message is no message."""
    async with lines.open() as line:
        write, vanish = line.ability("write"), line.ability("vanish")
        data = lines.encoder(line.driver)(lines.messages[0])
        await call(write, data[: len(data) // 2])
        for _ in range(3):
            await rest()

        async def receive() -> None:
            await _receives_until_gone(rule, line, (), "in the middle of a message")

        await side_by_side(receive, lambda: call(vanish))
        await _stays_gone(rule, lines, line)


async def _in_send(rule: str, lines: Lines[Any]) -> None:
    await lines.require_sends()
    async with lines.open() as line:
        line.ability("vanish")
        await call(line.ability("pause_reading"))
        sender = Sender(rule, line, lines)

        async def vanish() -> None:
            await sender.wait_until_full()
            await _vanish(line)

        async def send() -> None:
            async def run() -> None:
                await sender.run()
                if sender.error is not None:
                    raise sender.error

            await _fails(rule, run, "send()", "while it waited")

        await side_by_side(send, vanish)
        await _stays_gone(rule, lines, line)


async def _vanish(line: Line) -> None:
    await call(line.ability("vanish"))


def _silent(rule: str, what: str, when: str, came: str) -> Exception:
    return broken(
        rule,
        expected=f"{what} to raise trio.BrokenResourceError, or a HorusError, when the peer "
        f"vanished {when}",
        came=came,
        remedy="an empty read, or an error of the system, means that the device is gone: "
        "raise horus_trio.drivers.DeviceGone, or ConnectFailed in open()",
    )


async def _fails(
    rule: str,
    function: Callable[[], Awaitable[object]],
    what: str,
    when: str,
    *,
    also: tuple[type[Exception], ...] = (),
) -> None:
    ending = await ending_of(function)
    error = ending.result.error if isinstance(ending.result, outcome.Error) else None
    if not ending.hung and isinstance(error, (*GONE, *also)):
        return
    if ending.hung:
        came = still_waited(ending)
    elif error is None:
        came = f"it returned {ending.result.unwrap()!r:.80}"
    elif isinstance(error, Exception):
        came = f"it raised {outline(error)}"
    else:
        raise error
    raise _silent(rule, what, when, came) from error


async def _receives_until_gone(rule: str, line: Line, sent: tuple[Any, ...], when: str) -> None:
    """A whole number of the messages, from the first on, and then an error.

    Of a driver that is not lossless some of the messages, in order.
    """
    received: list[Any] = []

    async def receive_all() -> None:
        while len(received) <= len(sent):
            received.append(await line.driver.receive())

    ending = await ending_of(receive_all)
    left = iter(sent)
    whole = (
        received == list(sent[: len(received)])
        if line.lossless
        else all(any(one == message for one in left) for message in received)
    )
    if not whole:
        raise broken(
            rule,
            expected=f"whole messages, and then an error, when the peer vanished {when}",
            came=f"{received!r:.80} came",
            remedy="drop a message whose end is missing when the line ends",
        )
    error = ending.result.error if isinstance(ending.result, outcome.Error) else None
    if ending.hung:
        raise _silent(rule, "receive()", when, still_waited(ending))
    if not isinstance(error, GONE):
        if error is not None and not isinstance(error, Exception):
            raise error
        came = "it returned" if error is None else f"it raised {outline(error)}"
        raise _silent(rule, "receive()", when, came) from error


async def _stays_gone(rule: str, lines: Lines[Any], line: Line) -> None:
    """Until it is closed; and that works."""
    await _fails(rule, line.driver.receive, "receive()", "earlier")
    await _ends(rule, line.driver)
    await refuses(rule, line.driver.receive, "receive() after aclose()", CLOSED)
    if line.sends:
        await refuses(
            rule, lambda: line.driver.send(lines.messages[0]), "send() after aclose()", CLOSED
        )


async def _ends(rule: str, driver: DriverLike) -> None:
    closing = await ending_of(lambda: closes(rule, driver, "once the peer has vanished"))
    if closing.hung:
        raise broken(
            rule,
            expected=f"aclose() to end within {contract.LIMIT / 2:g} s once the peer has vanished",
            came=still_waited(closing),
            remedy="do not wait for an answer of what may be gone",
        )
    closing.result.unwrap()
