"""One round of an `AsyncAggregator`: what runs in it, what has come, and whether that is enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import HorusError
from ..topics.waiting import Waiter
from .operation import Operation, OperationResult

__all__ = ["Gathered", "Goal", "QuorumFailed", "Round", "everything", "first", "more_than"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What has come of one round.

    Attributes:
        results: By name, in the order in which the operations ended; failures too.
        missing: Names of those that had not ended.
    """

    results: Mapping[str, OperationResult]
    missing: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether all operations have ended, well or not."""
        return bool(self.results) and not self.missing

    @property
    def values(self) -> dict[str, Any]:
        """What was returned, by the names of those that have succeeded."""
        return {name: result.value for name, result in self.results.items() if result.success}

    @property
    def errors(self) -> dict[str, BaseException]:
        """The exceptions themselves, by the names of those that have failed."""
        return {
            name: result.error for name, result in self.results.items() if result.error is not None
        }


class QuorumFailed(HorusError):
    """Fewer operations have succeeded than were needed.

    Attributes:
        needed: How many successes were needed.
        gathered: What had come.
    """

    def __init__(self, message: str, needed: int, gathered: Gathered) -> None:
        super().__init__(message)
        self.needed: int = needed
        self.gathered: Gathered = gathered

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.needed, self.gathered)


class Round:
    """The operations of one round; all is written under the aggregator's lock.

    Attributes:
        operations: By name.
        ended: Those that have, in that order.
        successes: How many of them have returned.
        claimed: Whether somebody has waited for it, or has its results.
        over: Whether nothing more comes of it.
        why: Why it was over before all had ended.
        due: The instant it is over.
        waiter: Who waits for it.
    """

    __slots__ = ("claimed", "due", "ended", "operations", "over", "successes", "waiter", "why")

    def __init__(self, operations: dict[str, Operation]) -> None:
        self.operations: dict[str, Operation] = operations
        self.ended: list[Operation] = []
        self.successes: int = 0
        self.claimed: bool = False
        self.over: bool = False
        self.why: str = ""
        self.due: float = math.inf
        self.waiter: Waiter | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all have ended, well or not."""
        return len(self.ended) == len(self.operations)

    @property
    def failures(self) -> int:
        """How many have ended otherwise."""
        return len(self.ended) - self.successes

    def gathered(self) -> Gathered:
        """What has come until now."""
        ended = {operation.id: operation.result() for operation in self.ended}
        return Gathered(
            results=ended,
            missing=tuple(name for name in self.operations if name not in ended),
        )

    def quorum(self, owner: str, count: int) -> Gathered:
        """What has come, if there are so many successes.

        Raises:
            QuorumFailed: There are fewer.
        """
        gathered = self.gathered()
        came = len(gathered.values)
        if came >= count:
            return gathered
        total = len(self.operations)
        failed = "".join(f"; {name!r} raised {e!r:.80}" for name, e in gathered.errors.items())
        missing = ", ".join(map(repr, gathered.missing))
        raise QuorumFailed(
            f"{owner}: {came} of {total} operations have succeeded, {count} were needed"
            + failed
            + (missing and f"; unfinished{self.why and f' when {self.why}'}: {missing}"),
            count,
            gathered,
        )


Goal: TypeAlias = Callable[[Round], bool]
"""Whether what was waited for has come, or cannot come any more."""


def everything(round_: Round) -> bool:
    """Whether all have ended."""
    return round_.is_complete


def first(count: int) -> Goal:
    """So many successes."""
    return lambda round_: (
        round_.successes >= count or len(round_.operations) - round_.failures < count
    )


def more_than(taken: int) -> Goal:
    """One result more than were taken."""
    return lambda round_: len(round_.ended) > taken
