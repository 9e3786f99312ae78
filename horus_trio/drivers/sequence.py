"""Losses, told from the numbers that messages carry. No I/O in here."""

from __future__ import annotations

from ..arguments import is_whole
from ..errors import ConfigurationError

__all__ = ["LossCounter"]


class LossCounter:
    """Counts the messages that are missing, of those that are numbered one after the other.

    A number that is passed over counts as lost at once, and no more if it comes late. One that
    comes twice counts as a duplicate. One that falls further back than `window` is taken for a
    sender that begins anew, and nothing counts as lost for that. A single loss of half the modulus
    or more cannot be told from that.

    Arguments:
        modulus: After how many the numbers begin again at 0, such as 2**16 for two bytes.
        window: By how many numbers a message may be late. At most a quarter of the modulus.

    Attributes:
        lost: Messages that are missing.
        late: Messages that came after later ones.
        duplicates: Messages that came again.
        restarts: How often the sender began anew.
    """

    def __init__(self, modulus: int = 2**16, *, window: int = 64) -> None:
        if not is_whole(modulus, 8):
            raise ConfigurationError(
                f"LossCounter(modulus={modulus!r}): expected a whole number, 8 or more, such as "
                "2**16 for a number of two bytes"
            )
        if not is_whole(window, 1):
            raise ConfigurationError(
                f"LossCounter(window={window!r}): expected a whole number, 1 or more"
            )
        self.modulus: int = modulus
        self.window: int = min(window, modulus // 4)
        self.lost: int = 0
        self.late: int = 0
        self.duplicates: int = 0
        self.restarts: int = 0
        self._first = self._highest = -1  # counted on beyond the modulus
        self._missing: set[int] = set()

    def __repr__(self) -> str:
        return (
            f"<LossCounter, {self.lost} lost, {self.late} late, {self.duplicates} duplicates, "
            f"{self.restarts} restarts>"
        )

    def count(self, number: int) -> None:
        """A message with this number has come."""
        if self._highest < 0:
            self._begin(number)
            return
        step = (number - self._highest) % self.modulus
        if step >= (self.modulus + 1) // 2:
            step -= self.modulus
        came = self._highest + step
        if step > 0:
            self._pass_over(self._highest + 1, came)
        elif step < -self.window:
            self.restarts += 1
            self._begin(number)
        elif came in self._missing:
            self._missing.remove(came)
            self.lost -= 1
            self.late += 1
        elif came < self._first:  # before the first that has come
            self.late += 1
            self._missing.update(range(came + 1, self._first))
            self.lost += self._first - came - 1
            self._first = came
        else:
            self.duplicates += 1

    def begin(self) -> None:
        """The next number is the first one again, as after a new connection."""
        self._first = self._highest = -1
        self._missing.clear()

    def _begin(self, number: int) -> None:
        # High enough that what is late is never below 0.
        self._first = self._highest = number % self.modulus + self.modulus
        self._missing.clear()

    def _pass_over(self, first: int, came: int) -> None:
        self.lost += came - first
        self._highest = came
        if first == came and not self._missing:
            return
        oldest = came - self.window
        self._missing = {one for one in self._missing if one >= oldest}
        self._missing.update(range(max(first, oldest), came))
