"""Whether a node takes ticks now: it serves, and nothing of several things speaks against it."""

from __future__ import annotations

from collections.abc import Callable

from ..node import Seat
from ..timer import Alarm, Timer
from .mailbox import Mailbox
from .worker import Worker

__all__ = ["Turnstile"]


class Turnstile:
    """Opens and shuts the mailbox of one node. On the loop unless it says otherwise.

    While it is shut, BLOCK topics do not wait for the node.

    Arguments:
        mailbox: The node's.
        seat: The node's.
        timer: Rings when a rest is over.
        clock: Seconds.
        worker: The node's; whether a thread of it is out.

    Attributes:
        paused: Whether somebody has paused the node.
        held: Whether an emergency holds it; set in any thread.
        resting: Whether its circuit breaker is open.
    """

    __slots__ = (
        "_clock",
        "_mailbox",
        "_probe",
        "_seat",
        "_serving",
        "_timer",
        "_worker",
        "held",
        "paused",
        "resting",
    )

    def __init__(
        self,
        mailbox: Mailbox,
        seat: Seat,
        timer: Timer,
        clock: Callable[[], float],
        worker: Worker,
    ) -> None:
        self.paused: bool = False
        self.held: bool = False
        self.resting: bool = False
        self._mailbox = mailbox
        self._seat = seat
        self._timer = timer
        self._clock = clock
        self._worker = worker
        self._serving = False
        self._probe: Alarm | None = None

    def begin(self) -> None:
        """The node serves from now on."""
        self._serving = True
        self.open()

    def end(self) -> None:
        """It has stopped serving."""
        self._serving = False
        self.resting = False
        self._mailbox.close()
        self._seat.set_lenient(True)

    def pause(self) -> None:
        """Take no more ticks until `resume`; one in flight goes on."""
        self.paused = True
        self.shut()

    def resume(self) -> None:
        """Undo `pause`."""
        self.paused = False
        self.open()

    def let_go(self) -> None:
        """The emergency is over."""
        self.held = False
        self.open()

    def rest(self, seconds: float) -> None:
        """Let releases pass for a while; the tick after that is a probe."""
        self.resting = True
        self.shut()
        if self._probe is None:
            self._probe = self._timer.alarm(self._rested)
        self._probe.set(self._clock() + seconds)

    def _rested(self, now: float) -> None:
        self.resting = False
        self.open()

    def shut(self) -> None:
        """Take no ticks until `open`."""
        self._mailbox.suspend()
        self._seat.set_lenient(True)

    def open(self) -> None:
        """Take ticks, if nothing speaks against it."""
        if (
            self._serving
            and not self.paused
            and not self.held
            and not self.resting
            and self._worker.stuck is None
            and self._mailbox.leaving is None
        ):
            self._seat.set_lenient(False)
            self._mailbox.open(self._clock())
