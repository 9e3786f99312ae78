"""What `check_driver` has tried, and what it could not try."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DriverReport", "RuleNotTried", "RuleTried"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTried:
    """A rule that a driver keeps.

    Attributes:
        rule: Its name.
        seconds: Real seconds that it took.
        text: What was done, or an empty text.
    """

    rule: str
    seconds: float
    text: str = ""

    def __str__(self) -> str:
        return f"{self.rule:<22} {self.seconds:7.2f} s  {self.text}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleNotTried:
    """A rule that could not be tried.

    Attributes:
        rule: Its name.
        reason: Why.
    """

    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.rule:<22} not tried: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverReport:
    """What a driver that breaks no rule was put through. It prints as a table.

    Attributes:
        driver: The class of the driver.
        tried: The rules that it keeps, in order.
        not_tried: The rules that could not be tried.
        seed: Repeats what was left to chance.
    """

    driver: str
    tried: tuple[RuleTried, ...]
    not_tried: tuple[RuleNotTried, ...]
    seed: int

    @property
    def seconds(self) -> float:
        """Real seconds that all rules took together."""
        return sum(rule.seconds for rule in self.tried)

    def __str__(self) -> str:
        count = f"{len(self.tried)} rules"
        if self.not_tried:
            count += f", {len(self.not_tried)} not tried"
        head = f"{self.driver}: {count}; {self.seconds:.1f} s, seed={self.seed}"
        return "\n".join([head, *(f"  {rule}" for rule in (*self.tried, *self.not_tried))])
