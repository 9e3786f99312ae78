"""`check_driver`: what a program relies on in every driver, tried on one in a single call.

The beginning of a conformance suite: a driver is tried against a *peer*, the other end of its line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import outcome

from ...errors import ConfigurationError
from ..cancellation.attempt import attend
from . import contract
from .contract import ContractBroken, broken, outline
from .driver_rules import DRIVER_RULES, SWEEPS
from .line import DriverLike, Lines, PeerLike, PeerT

__all__ = ["DriverLike", "PeerLike", "check_driver"]

MANY_ATTEMPTS = 20
"""How many times as long a rule may take that repeats an operation, with a limit for each time."""


async def check_driver(
    make_driver: Callable[[PeerT], DriverLike | Awaitable[DriverLike]],
    make_peer: Callable[[], AbstractAsyncContextManager[PeerT]],
    *,
    messages: Sequence[Any] = (b"one", b"two", b"three"),
) -> None:
    """Try a driver against the other end of its line. A checkpoint.

    The rules, each tried on a fresh pair of peer and driver, and each with 5 s of real time:

    - *exchange*: messages arrive, equal and in order, both ways.
    - *statistics*: a plain function that works in every state.
    - *before open*: ``receive`` and ``send`` raise an error of Trio's or of this package's.
    - *close twice*: the second ``aclose`` does nothing.
    - *leaves nothing*: after ``aclose`` there is no new thread, task, descriptor or process.
    - *close from every state*: also if it was never opened, and in a cancelled scope.
    - *after close*: ``receive`` and ``send`` raise `trio.ClosedResourceError`, and a ``receive``
      that waits is ended with it.
    - *two receivers*: the second raises `trio.BusyResourceError`.
    - *cancelled receive*: wherever it is cancelled, no message is lost.
    - *cancelled send*: cancelled and repeated, the message arrives once; or the driver says that
      it is broken.
    - *open again*: after ``aclose`` it works, or raises an error as *before open*.

    Arguments:
        make_driver: Makes a driver, not open yet, for a peer; plain or ``async``.
        make_peer: Makes the peer, as an async context manager. It is entered first.
        messages: What is exchanged; at least two that differ.

    Raises:
        ContractBroken: The first rule that it breaks.
        ConfigurationError: An argument makes no sense.
    """
    for name, function in (("make_driver", make_driver), ("make_peer", make_peer)):
        if not callable(function):
            raise ConfigurationError(
                f"check_driver({name}={function!r:.80}): expected a function, since each rule "
                "needs a fresh one; pass the class, or a lambda"
            )
    given = tuple(messages)
    if len(given) < 2 or all(message == given[0] for message in given):
        raise ConfigurationError(
            f"check_driver(messages={messages!r:.80}): expected at least two messages that differ"
        )
    lines = Lines(make_driver=make_driver, make_peer=make_peer, messages=given)
    for rule, try_rule in DRIVER_RULES.items():
        limit = contract.LIMIT * (MANY_ATTEMPTS if rule in SWEEPS else 1)
        ending = await attend(try_rule, rule, lines, seconds=limit)
        if ending.hung:
            raise broken(
                rule,
                expected=f"it to end within {limit:g} s",
                came=f"it was still running, at {ending.stuck or 'an unknown place'}",
                remedy="nothing but receive may wait for long, and aclose must end what waits",
            )
        if isinstance(ending.result, outcome.Error):
            raise _judge(rule, ending.result.error)


def _judge(rule: str, error: BaseException) -> BaseException:
    """What to raise for what a rule has raised: a peer's nursery may have put it into a group."""
    leaf = error
    while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
        leaf = leaf.exceptions[0]
    if isinstance(leaf, (ContractBroken, ConfigurationError)):
        return leaf
    if not isinstance(error, Exception):
        return error
    judged = broken(
        rule,
        expected="no error but those it asks for",
        came=outline(error),
        remedy="see how the error came about",
    )
    judged.__cause__ = error
    return judged
