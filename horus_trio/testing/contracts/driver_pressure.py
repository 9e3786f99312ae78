"""The rules for drivers about a peer that does not read: `send` waits, and can be cancelled."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator
from typing import Any

import trio

from ...errors import HorusError
from . import contract
from .contract import broken
from .driver_calls import CLEAR, ENDED, refuses
from .line import Line, Lines, Patience, call, rest, side_by_side

__all__ = ["back_pressure", "half_a_message"]

MOST = 64 * 1024 * 1024
"""Bytes that a line may hold which nobody takes: more is a queue without a bound."""

STILL = 0.25
"""Real seconds without progress after which a send counts as waiting: TCP may pause for 0.2 s."""

ROUNDS = 10
"""How often a send is cancelled while the line is full, or gets full."""


class Sender:
    """Sends large messages, one after the other, until it is cancelled.

    Attributes:
        taken: Messages that the driver has taken.
        cut: The one whose `send` was cancelled, or has failed.
        error: What it has failed with.
        ended: Set when it has ended.
    """

    def __init__(self, rule: str, line: Line, lines: Lines[Any]) -> None:
        self.rule = rule
        self.line = line
        self.lines = lines
        self.taken: list[Any] = []
        self.bytes: int = 0
        self.cut: list[Any] = []
        self.error: Exception | None = None
        self.scope: trio.CancelScope = trio.CancelScope()
        self.ended: trio.Event = trio.Event()

    async def run(self) -> None:
        make = self.lines.large
        try:
            with self.scope:
                while self.bytes <= MOST:
                    message = make(len(self.taken))
                    self.cut = [message]
                    try:
                        await self.line.driver.send(message)
                    except (ValueError, HorusError):
                        if self.taken or make == self.lines.numbered:
                            raise
                        make = self.lines.numbered  # the first large one: there is a limit
                        continue
                    self.cut = []
                    self.taken.append(message)
                    self.bytes += self.lines.size_of(message)
        except Exception as error:  # noqa: BLE001 - it is judged
            self.error = error
        finally:
            self.ended.set()

    async def wait_until_full(self) -> None:
        """Return when nothing goes out any more."""
        patience = Patience()
        while patience.still(len(self.taken)) < STILL:
            if self.ended.is_set():
                self.judge()
                return
            await rest()

    def judge(self) -> None:
        """It has ended, and was not cancelled."""
        if self.error is not None:
            raise self.error
        raise broken(
            self.rule,
            expected="send() to wait at last when the peer reads nothing",
            came=f"it took {len(self.taken)} messages, {self.bytes:,} bytes, without waiting",
            remedy="let send return when a message is on the line, or in a queue with a bound",
        )

    async def cancel(self) -> None:
        """Cancel it, and require that it ends."""
        self.scope.cancel()
        patience = Patience()
        while not self.ended.is_set():
            if patience.still(None) > contract.LIMIT / 2:
                raise broken(
                    self.rule,
                    expected="a cancelled send() to end while the peer reads nothing",
                    came=f"it still waited after {contract.LIMIT / 2:g} s",
                    remedy="do not shield the wait for room on the line",
                )
            await rest()
        if self.error is not None:
            raise self.error


@contextlib.asynccontextmanager
async def _sending(rule: str, lines: Lines[Any]) -> AsyncGenerator[tuple[Line, Sender], None]:
    """An open line whose peer does not read, and a sender on it."""
    async with lines.open() as line:
        for ability in ("pause_reading", "resume_reading"):
            line.ability(ability)
        await call(line.ability("pause_reading"))
        sender = Sender(rule, line, lines)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run)
            try:
                yield line, sender
            finally:
                if not sender.ended.is_set():
                    await _release(line)
                nursery.cancel_scope.cancel()


async def _release(line: Line) -> None:
    """End a send that cannot be cancelled."""
    with trio.CancelScope(shield=True), contextlib.suppress(Exception):
        await line.driver.aclose()


async def back_pressure(rule: str, lines: Lines[Any]) -> str:
    """It waits, goes on when the peer reads again, and can be cancelled."""
    await lines.require_sends()
    async with _sending(rule, lines) as (line, sender):
        await sender.wait_until_full()
        full = len(sender.taken)
        text = f"waits after {full} messages, {sender.bytes:,} bytes"
        await call(line.ability("resume_reading"))

        async def receive_all() -> None:
            for number in range(full + 1):  # and the one that had to wait
                came = await line.peer.receive()
                _compare(rule, came, _sent(sender, number), number)
            await sender.cancel()

        await side_by_side(receive_all)
    async with _sending(rule, lines) as (_, sender):
        await sender.wait_until_full()
        await sender.cancel()
    return text


def _sent(sender: Sender, number: int) -> Any:
    if number < len(sender.taken):
        return sender.taken[number]
    return sender.cut[0] if sender.cut else None


def _compare(rule: str, came: Any, wanted: Any, number: int) -> None:
    if came != wanted:
        raise broken(
            rule,
            expected=f"message {number + 1} to arrive as it was sent, {wanted!r:.80}",
            came=f"it was {came!r:.80}",
            remedy="write all of a message before the next one, also when the line is full",
        )


async def half_a_message(rule: str, lines: Lines[Any]) -> str:
    """A send is cancelled on a full line: what follows is whole, or it says that it is broken."""
    await lines.require_sends()
    rng = lines.chance(rule)
    endings = {"goes on": 0, "is broken": 0}
    for number in range(ROUNDS):
        yields = math.inf if number < 2 else rng.randrange(200)
        async with _sending(rule, lines) as (line, sender):
            await _let_send(sender, yields)
            await sender.cancel()
            await call(line.ability("resume_reading"))
            endings[await _judge_rest(rule, line, lines, sender)] += 1
    return ", ".join(f"{count} times it {what}" for what, count in endings.items() if count)


async def _let_send(sender: Sender, yields: float) -> None:
    if math.isinf(yields):
        await sender.wait_until_full()
        return
    for _ in range(int(yields)):
        await trio.lowlevel.checkpoint()


async def _judge_rest(rule: str, line: Line, lines: Lines[Any], sender: Sender) -> str:
    """What the peer gets of what was taken, and of one more message."""
    last = next(message for message in lines.messages if message not in sender.cut)
    wanted = [*sender.taken, *sender.cut, last]
    broke: list[Exception] = []
    arrived = 0

    async def send_last() -> None:
        try:
            await line.driver.send(last)
        except CLEAR as error:
            broke.append(error)
            # It stays so until it is opened again.
            await refuses(rule, lambda: line.driver.send(last), "send() of a broken driver")
            await line.driver.aclose()

    async def receive_all() -> None:
        nonlocal arrived
        at = 0
        while at < len(wanted) - (1 if broke else 0):
            try:
                came = await line.peer.receive()
            except ENDED:
                return
            if at == len(sender.taken) and sender.cut and came == last and not broke:
                return  # nothing of the cancelled one went out
            if came != wanted[at]:
                raise broken(
                    rule,
                    expected=f"whole messages after a cancelled send(); {wanted[at]!r:.80} as the "
                    f"message {at + 1}",
                    came=f"it was {came!r:.80}",
                    remedy="write the rest of a message before the next one, or raise "
                    "trio.BrokenResourceError from then on",
                )
            at += 1
            arrived = at

    receiver = trio.CancelScope()
    done = trio.Event()

    async def receive() -> None:
        with receiver:
            await receive_all()
        done.set()

    async def judge() -> None:
        await send_last()
        patience = Patience()
        while not done.is_set():
            still = patience.still(arrived)
            if broke and still > STILL:
                break  # half a message and silence: it has said so
            if still > contract.LIMIT / 2:
                raise broken(
                    rule,
                    expected=f"message {arrived + 1} of {len(wanted)} to arrive once the peer "
                    "reads again",
                    came=f"nothing has come for {contract.LIMIT / 2:g} s",
                    remedy="write the rest of a message before the next one, or raise "
                    "trio.BrokenResourceError from then on",
                )
            await rest()
        receiver.cancel()

    await side_by_side(judge, receive)
    return "is broken" if broke else "goes on"
