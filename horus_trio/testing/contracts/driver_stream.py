"""The rules for drivers that nothing is lost, whatever the pace, and however often it is cancelled.

The peer sends a row of numbered messages. If it can write bytes as they are, and it is known how
messages lie on the line, they come in pieces of any size.

A driver that is not lossless may pass some over: those that arrive are in order, the newest is
among them, and the others are counted.
"""

from __future__ import annotations

import collections
import hashlib
import random
from collections.abc import Callable
from typing import Any

import trio

from . import contract
from .contract import broken
from .line import Line, Lines, NotTried, Patience, call, rest, side_by_side

__all__ = ["bursts", "numbered_stream", "one_byte_at_a_time", "slow_peer"]

CANCELLATIONS = 5000
"""How often the receiver of 10 MB is cancelled."""

LEAST = 100
"""Bytes that a message counts for at least, so that short ones do not take for ever."""

PIECE = 65536
"""Bytes that are written at once, at most."""

AHEAD = 32
"""Messages that a peer without `write` may be ahead of the driver: some lines lose what is not
taken in time."""

PAUSE = 0.02
"""Real seconds of silence."""


class Flow:
    """A row of messages on its way to the driver.

    Arguments:
        rule: Whose it is.
        line: An open one.
        lines: Makes messages.
        rng: For what is left to chance.
        own_cuts: How likely it is that a receive begins cancelled.
    """

    def __init__(
        self, rule: str, line: Line, lines: Lines[Any], rng: random.Random, own_cuts: float = 0.0
    ) -> None:
        self.rule = rule
        self.line = line
        self.lines = lines
        self.rng = rng
        self.own_cuts = own_cuts
        if not line.lossless and lines.number is None and not lines.of_bytes:
            raise NotTried("number=… is not given, and which are passed over cannot be told")
        self._lost_before = _lost(line)
        self.expected: collections.deque[Any] = collections.deque()
        self.made: int = 0
        self.received: int = 0
        self.passed_over: int = 0
        self.bytes: int = 0
        self.cancelled: int = 0
        self.is_whole: bool = False
        self.scope: trio.CancelScope = trio.CancelScope()
        self.sent_hash: hashlib._Hash = hashlib.sha256()
        self.came_hash: hashlib._Hash = hashlib.sha256()

    @property
    def under_way(self) -> int:
        """How many have not arrived, and may still."""
        return len(self.expected)

    @property
    def share(self) -> float:
        """How much of the numbered stream was made; 1 or more: all."""
        return max(self.bytes, self.made * LEAST) / self.lines.stream_bytes

    @property
    def is_over(self) -> bool:
        """Whether all have arrived."""
        return self.is_whole and not self.expected

    def make(self) -> Any:
        """The next message of the row."""
        message = self.lines.numbered(self.made)
        self.made += 1
        self.bytes += self.lines.size_of(message)
        self.expected.append(message)
        self.sent_hash.update(_digestible(message))
        return message

    def take(self, message: Any) -> None:
        """One has arrived."""
        if not self.line.lossless and message in self.expected:
            while message != self.expected[0]:
                self.expected.popleft()
                self.passed_over += 1
        if not self.expected or message != self.expected[0]:
            wanted = f"{self.expected[0]!r:.80}" if self.expected else "nothing more"
            raise broken(
                self.rule,
                expected=f"message {self.received + 1} of the row to be {wanted}, after "
                f"{self.cancelled} cancellations",
                came=f"it was {message!r:.80}",
                remedy="keep what has come in until it is given out, in order; take nothing "
                "before a checkpoint where it can be lost",
            )
        self.came_hash.update(_digestible(message))
        self.expected.popleft()
        self.received += 1

    async def receive_all(self) -> None:
        """Receive until all are there, however often that is cancelled."""
        receive, cuts, chance = self.line.driver.receive, self.own_cuts, self.rng.random
        while not self.is_over:
            with trio.CancelScope() as self.scope:
                while not self.is_over:
                    if cuts and chance() < cuts:
                        self.scope.cancel()
                    self.take(await receive())
            self.cancelled += self.scope.cancelled_caught

    async def finish(self) -> None:
        """All were sent: wait for them to arrive."""
        self.is_whole = True
        if self.is_over:
            self.scope.cancel()  # the receiver may wait for one more
        patience = Patience()
        while not self.is_over:
            if patience.still(self.received) > contract.LIMIT:
                raise broken(
                    self.rule,
                    expected=f"{self.made} messages",
                    came=f"after {self.received} of them, and {self.cancelled} cancellations, "
                    f"nothing has come for {contract.LIMIT:g} s",
                    remedy="keep what has come in until it is given out; take nothing before a "
                    "checkpoint where it can be lost",
                )
            await rest()
        counted = _lost(self.line) - self._lost_before
        if not self.line.lossless and counted != self.passed_over:
            raise broken(
                self.rule,
                expected=f"statistics().lost to count the {self.passed_over} messages that were "
                "passed over",
                came=f"it counts {counted}",
                remedy="count a message as lost when a newer one takes its place",
            )

    async def cancel_until(self, count: int) -> None:
        """Cancel the receiver, here and there, until it was cancelled so often."""
        patience = Patience()
        while self.cancelled < count and not self.is_over:
            for _ in range(self.rng.randrange(4)):
                await trio.lowlevel.checkpoint()
            self.scope.cancel()
            await trio.lowlevel.checkpoint()
            if patience.still(self.cancelled) > contract.LIMIT:
                raise broken(
                    self.rule,
                    expected="a cancelled receive() to raise trio.Cancelled",
                    came=f"after {self.cancelled} times it did not for {contract.LIMIT:g} s",
                    remedy="do not catch Cancelled, nor shield what may wait for long",
                )


def _lost(line: Line) -> int:
    return int(getattr(line.driver.statistics(), "lost", 0))


def _digestible(message: Any) -> bytes:
    data = message if isinstance(message, (bytes, bytearray)) else repr(message).encode()
    return len(data).to_bytes(8, "big") + data


async def bursts(rule: str, lines: Lines[Any]) -> str:
    """Many come at once, before the first of them is received."""
    async with lines.open() as line:
        flow = Flow(rule, line, lines, lines.chance(rule))
        encode, write = _raw(line, lines)

        async def send_all() -> None:
            if encode is not None and write is not None:
                data = b"".join(encode(flow.make()) for _ in range(8 * AHEAD))
                await call(write, data)
            else:
                for _ in range(AHEAD):
                    await line.peer.send(flow.make())
            await flow.finish()

        async def receive_late() -> None:
            for _ in range(5):
                await rest()
            await flow.receive_all()

        await side_by_side(send_all, receive_late)
        return f"{flow.made} messages at once"


async def slow_peer(rule: str, lines: Lines[Any]) -> str:
    """Messages come with silence between them, and if the peer can do that, within them."""
    async with lines.open() as line:
        flow = Flow(rule, line, lines, lines.chance(rule))
        encode, write = _raw(line, lines)

        async def send_slowly() -> None:
            for _ in range(5):
                message = flow.make()
                if encode is None or write is None:
                    await line.peer.send(message)
                else:
                    data = encode(message)
                    middle = flow.rng.randint(1, max(1, len(data) - 1))
                    await call(write, data[:middle])
                    await _silence()
                    if data[middle:]:
                        await call(write, data[middle:])
                await _silence()
            await flow.finish()

        await side_by_side(send_slowly, flow.receive_all)
        return f"{flow.made} messages, silence of {PAUSE:g} s"


async def _silence() -> None:
    patience = Patience()
    while patience.still(None) < PAUSE:
        await rest()


async def one_byte_at_a_time(rule: str, lines: Lines[Any]) -> str:
    """Bytes come one by one."""
    async with lines.open() as line:
        write = line.ability("write")
        encode = lines.encoder(line.driver)
        flow = Flow(rule, line, lines, lines.chance(rule))

        async def send_bytes() -> None:
            sent = 0
            while sent < 2000:
                for byte in encode(flow.make()):
                    await call(write, bytes((byte,)))
                    sent += 1
                    for _ in range(3):  # so that the driver gets it alone
                        await trio.lowlevel.checkpoint()
            await flow.finish()

        await side_by_side(send_bytes, flow.receive_all)
        return f"{flow.made} messages"


def _raw(
    line: Line, lines: Lines[Any]
) -> tuple[Callable[[Any], bytes] | None, Callable[..., Any] | None]:
    """How to write bytes as they are, if that is possible."""
    try:
        return lines.encoder(line.driver), line.ability("write")
    except NotTried:
        return None, None


async def numbered_stream(rule: str, lines: Lines[Any]) -> str:
    """Megabytes in random pieces, while the receiver is cancelled at random moments."""
    async with lines.open() as line:
        total = lines.stream_bytes
        wanted = max(100, round(CANCELLATIONS * min(1.0, total / 10_000_000)))
        messages = max(1, total // 500)
        flow = Flow(rule, line, lines, lines.chance(rule), own_cuts=min(0.5, wanted / 2 / messages))
        encode, write = _raw(line, lines)
        pieces = 0

        async def write_all() -> None:
            nonlocal pieces
            pending, written = bytearray(), 0
            while pending or flow.share < 1:
                while len(pending) < PIECE and flow.share < 1:
                    pending += encode(flow.make())  # type: ignore[misc]
                size = flow.rng.randint(1, flow.rng.choice((16, 1024, PIECE)))
                piece = bytes(pending[:size])
                del pending[:size]
                await call(write, piece)  # type: ignore[arg-type]
                pieces += 1
                written += len(piece)
                share = min(1.0, flow.share) * written / (written + len(pending))
                await flow.cancel_until(round(wanted * share))
            await flow.cancel_until(wanted)
            await flow.finish()

        async def send_all() -> None:
            nonlocal pieces
            while flow.share < 1:
                if flow.under_way >= AHEAD:
                    await _wait_for_room(flow)
                message = flow.make()
                await line.peer.send(message)
                pieces += 1
                await flow.cancel_until(round(wanted * min(1.0, flow.share)))
            await flow.cancel_until(wanted)
            await flow.finish()

        is_raw = encode is not None and write is not None
        await side_by_side(write_all if is_raw else send_all, flow.receive_all)
        if not line.lossless:
            return (
                f"{flow.made} messages, {flow.passed_over} of them passed over and counted, "
                f"{flow.cancelled} cancellations"
            )
        came = flow.came_hash.hexdigest()
        if came != flow.sent_hash.hexdigest():
            raise broken(
                rule,
                expected=f"the sha256 of what was sent, {flow.sent_hash.hexdigest()}",
                came=f"that of what arrived is {came}",
                remedy="give out messages that equal those sent",
            )
        return (
            f"{flow.bytes:,} bytes in {flow.made} messages and {pieces} pieces, "
            f"{flow.cancelled} cancellations, sha256 {came[:16]}…"
        )


async def _wait_for_room(flow: Flow) -> None:
    patience = Patience()
    idle = 0
    while flow.under_way >= AHEAD:
        if patience.still(flow.received) > contract.LIMIT:
            return  # `finish` says so
        idle += 1
        if idle % 64:
            await trio.lowlevel.checkpoint()
        else:
            await rest()
