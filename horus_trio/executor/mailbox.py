"""A node's mailbox: what is released to the node, and what is merely counted.

A Trio memory channel of capacity 2 holds at most one waiting `Tick` and one `Shutdown`. Rates
`release`: a node that is not ready has missed it. Arrivals and callers `post`: one may wait while
the node is busy, further ones coalesce with it. Everything here is synchronous and on the loop.
"""

from __future__ import annotations

import collections
from collections.abc import Awaitable, Callable

import trio

from ..health import Ledger
from ..messages import Shutdown, Tick
from ..policies import CATCH_UP_BOUND

__all__ = ["Mailbox"]


class Mailbox:
    """The way in to one node.

    Arguments:
        ledger: Counts releases.
        overrun: Called when a release finds the node busy with a tick.
        catch_up: Whether missed releases are owed instead (`Miss.CATCH_UP`).

    Attributes:
        seq: Number of the latest release.
        ready: Whether a release would start a tick: the node is serving, idle, nothing waits.
        busy: Whether a tick is running.
        leaving: The Shutdown that was sent, or None.
        dispatch: Puts a tick into the channel; a deterministic run puts a queue before it.
        end_turn: Called when a tick no longer holds others up; a deterministic run waits for it.
        withdraw: Takes back what `dispatch` has not put into the channel yet.
    """

    __slots__ = (
        "_due",
        "_ledger",
        "_overrun",
        "_owed",
        "_queued",
        "_receive_channel",
        "_send_channel",
        "_serving",
        "busy",
        "dispatch",
        "end_turn",
        "leaving",
        "put",
        "ready",
        "receive",
        "seq",
        "withdraw",
    )

    def __init__(self, ledger: Ledger, overrun: Callable[[], None], *, catch_up: bool) -> None:
        send, receive = trio.open_memory_channel[Tick | Shutdown](2)
        self._send_channel, self._receive_channel = send, receive
        self.put: Callable[[Tick | Shutdown], None] = send.send_nowait
        self.receive: Callable[[], Awaitable[Tick | Shutdown]] = receive.receive
        self.dispatch: Callable[[Tick], None] = self.put
        self.end_turn: Callable[[], None] | None = None
        self.withdraw: Callable[[], list[Tick]] | None = None
        self._ledger = ledger
        self._overrun = overrun
        self._owed: collections.deque[float] | None = collections.deque() if catch_up else None
        self._serving = False
        self._queued = False
        self._due = False
        self.ready: bool = False
        self.busy: bool = False
        self.seq: int = 0
        self.leaving: Shutdown | None = None

    def release(self, scheduled: float) -> bool:
        """A grid point has come: start a tick if the node is ready, else count the miss."""
        if self._owed:
            if len(self._owed) < CATCH_UP_BOUND:
                self._owed.append(scheduled)
            else:
                self._miss(1)
            if not self.ready:
                return False
            scheduled = self._owed.popleft()
        if self.ready:
            self.ready = False
            self._enqueue(scheduled)
            return True
        if self._serving:
            if self._owed is not None:
                self._owed.append(scheduled)
            else:
                self._miss(1)
            self._overrun()
        else:
            self._miss(1)
        return False

    def skip(self, points: list[float], earlier: int) -> None:
        """Grid points have passed unseen: the loop or the process stood still.

        Arguments:
            points: The latest of them, at most `CATCH_UP_BOUND`.
            earlier: How many there were before those.
        """
        if self._owed is not None and self._serving:
            room = CATCH_UP_BOUND - len(self._owed)
            kept = points[max(0, len(points) - room) :]
            earlier += len(points) - len(kept)
            self._owed.extend(kept)
        else:
            earlier += len(points)
        self._miss(earlier)

    def post(self, scheduled: float, count: int = 1) -> bool:
        """Ask for a tick: it runs now, or waits, or falls to the one that waits already.

        Arguments:
            scheduled: The instant it is asked for.
            count: How many ask; all but one coalesce.
        """
        if self.leaving is not None:
            return False
        posted = False
        if self._serving and not self._queued:
            self.ready = False
            self._enqueue(scheduled)
            posted = True
        elif not self._queued and not self._due:
            posted = self._due = True  # runs as soon as the node serves again
        self._ledger.coalesced += count - posted
        return posted

    def shut(self, message: Shutdown) -> None:
        """Send the last message; once."""
        if self.leaving is None:
            self.leaving = message
            self.suspend()
            self.put(message)

    def open(self, now: float) -> None:
        """The node takes ticks; what was asked for meanwhile is due now."""
        self._serving = True
        if self._due and not self._queued:
            self._due = False
            self._enqueue(now)
        self.ready = not self._queued and not self.busy

    def suspend(self) -> None:
        """The node takes no ticks until `open`; one that waits goes on waiting."""
        self._serving = False
        self.ready = False

    def taken(self) -> None:
        """The waiting tick has been received and begins."""
        self._queued = False
        self.busy = True

    def done(self) -> None:
        """The tick has ended."""
        self.busy = False
        if self.end_turn is not None:
            self.end_turn()
        if self._serving:
            if self._owed and not self._queued:
                self._enqueue(self._owed.popleft())
            self.ready = not self._queued

    def close(self) -> None:
        """The node has stopped serving, in a tick or between ticks."""
        self.suspend()
        self.busy = False
        if self.end_turn is not None:
            self.end_turn()

    def empty(self) -> list[Tick]:
        """Take everything out: the ticks that will never run. Owed ones are missed."""
        self.close()
        if self._owed:
            self._miss(len(self._owed))
        ticks: list[Tick] = []
        while True:
            try:
                message = self._receive_channel.receive_nowait()
            except trio.WouldBlock:
                break
            if isinstance(message, Tick):
                self._queued = False
                ticks.append(message)
        if self.withdraw is not None:
            ticks += self.withdraw()
        return ticks

    def _enqueue(self, scheduled: float) -> None:
        self._queued = True
        self.seq = seq = self.seq + 1
        self._ledger.release()
        self.dispatch(Tick(seq=seq, scheduled=scheduled))

    def _miss(self, count: int) -> None:
        if count:
            self.seq += count
            self._ledger.miss(count)
