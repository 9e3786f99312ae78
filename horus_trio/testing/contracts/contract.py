"""What the contracts of nodes and drivers share: the error, and a look at what is left behind.

A contract is a list of rules with names. Each rule works on fresh objects, and the first that is
broken ends the check with `ContractBroken`.
"""

from __future__ import annotations

import gc

from ...errors import HorusError
from ..leftovers import Scene, settled

__all__ = ["ContractBroken", "broken", "leaf_of", "left_behind", "outline"]

LIMIT = 5.0
"""Real seconds a rule for drivers may take."""

GRACE = 1.0
"""Real seconds in which threads and tasks that were told to end may end."""


class ContractBroken(HorusError, AssertionError):
    """What a user implements does not do what its users rely on.

    Arguments:
        rule: The name of the rule.
        text: What was expected, what came, and what to do.

    Attributes:
        rule: The name of the rule, such as ``"life cycle"``.
        text: The three parts.
    """

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(rule, text)
        self.rule: str = rule
        self.text: str = text

    def __str__(self) -> str:
        return f"rule {self.rule!r}: {self.text}"


def broken(rule: str, *, expected: str, came: str, remedy: str) -> ContractBroken:
    """The error of a broken rule, in three parts."""
    return ContractBroken(rule, f"expected {expected}; {came}; {remedy}")


def outline(error: BaseException) -> str:
    """An error in one line; of a group, the errors in it, with their notes."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(outline(inner) for inner in error.exceptions)
    notes = getattr(error, "__notes__", ())
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} ({', '.join(notes)})" if notes else text


def leaf_of(error: BaseException) -> BaseException:
    """The error itself, or the only one in the groups that nurseries have put around it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def left_behind(before: Scene) -> str:
    """What is there and was not `before`, after a grace of real time; or nothing. A checkpoint."""
    if Scene.now().since(before):
        gc.collect()  # garbage of a node's own that only a cycle keeps is nothing left
    left = await settled(lambda: Scene.now().since(before), GRACE)
    texts = [text for kind in left.values() for text in kind]
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return ", ".join(texts[:5]) + more
