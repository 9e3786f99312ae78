"""`check_driver`: what a program relies on in every driver, tried on one in a single call.

A conformance suite: a driver is tried against a *peer*, the other end of its line.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import outcome
import trio

from ...arguments import is_whole
from ...drivers import Framing
from ...errors import ConfigurationError
from ..blocking import ThreadWatch
from ..cancellation.attempt import attend
from ..clock import VirtualClock
from . import contract
from .contract import ContractBroken, broken, leaf_of, outline
from .driver_rules import DRIVER_RULES, OF_CHANCE, PATIENCE
from .line import AblePeer, DriverLike, Lines, NotTried, PeerLike, PeerT, SpeakingPeer
from .report import DriverReport, RuleNotTried, RuleTried

__all__ = ["AblePeer", "DriverLike", "PeerLike", "SpeakingPeer", "check_driver"]


async def check_driver(
    make_driver: Callable[[PeerT], DriverLike | Awaitable[DriverLike]],
    make_peer: Callable[[], AbstractAsyncContextManager[PeerT]],
    *,
    messages: Sequence[Any] = (b"one", b"two", b"three"),
    number: Callable[[int], Any] | None = None,
    encode: Callable[[Any], bytes] | Framing | None = None,
    stream_bytes: int = 10_000_000,
    cycles: int = 10_000,
    seed: int | None = None,
    progress: Callable[[str], object] | None = None,
) -> DriverReport:
    """Try a driver against the other end of its line. A checkpoint.

    The rules, each tried on fresh pairs of peer and driver, and each with a limit of real time:

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
    - *every order*: ``open``, ``receive``, ``send`` and ``aclose`` in every order, four in a row
      from every state, end as they should; where it opens again, it works again.
    - *cancelled open*: wherever it is cancelled, nothing is open, and it opens the next time.
    - *cancelled close*: wherever it is cancelled, it is closed.
    - *bursts*: many messages at once arrive, each of them.
    - *slow peer*: silence between messages, and within them, ends nothing.
    - *one byte at a time*: messages arrive whole though their bytes come alone.
    - *back-pressure*: when the peer does not read, ``send`` waits before the line holds 64 MiB;
      it goes on when the peer reads again, and can be cancelled.
    - *half a message*: when a ``send`` was cancelled on a full line, the next message arrives
      whole, or the driver says that it is broken.
    - *peer vanishes*: before and in ``open``, idle, in ``receive``, in ``send``, after and in the
      middle of messages: that is an error, never a hang and never silence; ``aclose`` works.
    - *numbered stream*: 10 MB in random pieces of up to 64 KiB arrive, equal by their sha256,
      though the receiver is cancelled 5000 times at random moments.
    - *many openings*: 10 000 times opened and closed, a tenth of that if each time has a process
      of its own, there are no more descriptors, threads, tasks and processes than before.

    A peer needs ``receive`` and ``send``. Some rules ask for more of it, see
    `AblePeer`; what cannot be tried is in the report.

    A driver that takes no messages says so, ``sends = False``. Then the rules are tried one way,
    those about ``send`` are not tried, and the peer needs no ``receive``. A driver that passes over
    old messages when newer ones have come says so, too, ``lossless = False``. Then messages go to
    it one by one; where many come at once those that arrive are in order, the newest is among them,
    and ``statistics().lost`` counts the others.

    Arguments:
        make_driver: Makes a driver, not open yet, for a peer; plain or ``async``.
        make_peer: Makes the peer, as an async context manager. It is entered first.
        messages: What is exchanged; at least two that differ.
        number: Makes the n-th of many messages, from 0; all should differ. By default they are
            made up: lines of text of up to 1 kB with a number, and some of 17 kB; of one length
            if `messages` are. If those are not bytes, they are repeated in disorder.
        encode: How a message lies on the line: a framing, or a function that returns its bytes.
            A `horus_trio.drivers.StreamDriver` knows that by itself.
        stream_bytes: Size of the numbered stream; the cancellations are in proportion, 100 at
            least. A message that is not bytes counts for 500, a short one for 100.
        cycles: How often it is opened and closed.
        seed: Repeats what was left to chance; it is in the report, and in the error.
        progress: Called with a line for each rule, such as `print`.

    Returns:
        What was tried, and what was not.

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
    for name, value in (("stream_bytes", stream_bytes), ("cycles", cycles)):
        if not is_whole(value, 1):
            raise ConfigurationError(
                f"check_driver({name}={value!r}): expected a whole number, 1 or more"
            )
    for name, called in (("number", number), ("progress", progress)):
        if called is not None and not callable(called):
            raise ConfigurationError(f"check_driver({name}={called!r:.80}): expected a function")
    if not (encode is None or callable(encode) or isinstance(encode, Framing)):
        raise ConfigurationError(
            f"check_driver(encode={encode!r:.80}): expected a framing, or a function that returns "
            "the bytes of a message"
        )
    lines = Lines(
        make_driver=make_driver,
        make_peer=make_peer,
        messages=given,
        number=number,
        encode=encode,
        stream_bytes=stream_bytes,
        cycles=cycles,
        seed=random.randrange(2**32) if seed is None else seed,
    )
    clock = trio.lowlevel.current_clock()
    with contextlib.ExitStack() as stack:
        if isinstance(clock, VirtualClock) and not clock.is_driven:
            stack.enter_context(clock.running_free(ThreadWatch(math.inf).time_left))
        return await _try_all(lines, progress)


async def _try_all(lines: Lines[Any], progress: Callable[[str], object] | None) -> DriverReport:
    tried: list[RuleTried] = []
    not_tried: list[RuleNotTried] = []
    for rule in DRIVER_RULES:
        began = time.perf_counter()
        result = await _try(rule, lines)
        if isinstance(result, NotTried):
            not_tried.append(RuleNotTried(rule=rule, reason=str(result)))
        else:
            seconds = time.perf_counter() - began
            tried.append(RuleTried(rule=rule, seconds=seconds, text=result or ""))
        if progress is not None:
            progress(str(not_tried[-1] if isinstance(result, NotTried) else tried[-1]))
    return DriverReport(
        driver=lines.kinds[-1] if lines.kinds else "",
        tried=tuple(tried),
        not_tried=tuple(not_tried),
        seed=lines.seed,
    )


async def _try(rule: str, lines: Lines[Any]) -> str | NotTried | None:
    """What came of one rule, if it is not broken."""
    limit = contract.LIMIT * PATIENCE.get(rule, 1)
    ending = await attend(DRIVER_RULES[rule], rule, lines, seconds=limit)
    if ending.hung:
        raise broken(
            rule,
            expected=f"it to end within {limit:g} s",
            came=f"it was still running, at {ending.stuck or 'an unknown place'}",
            remedy="nothing but receive may wait for long, and aclose must end what waits",
        )
    if not isinstance(ending.result, outcome.Error):
        return ending.result.unwrap()  # type: ignore[no-any-return]
    error = _judge(rule, ending.result.error)
    if isinstance(error, ContractBroken) and rule in OF_CHANCE:
        raise ContractBroken(
            rule, f"{error.text} (seed={lines.seed} repeats what was left to chance)"
        ) from error
    if isinstance(error, NotTried):
        return error
    raise error


def _judge(rule: str, error: BaseException) -> BaseException:
    """What to raise for what a rule has raised: a peer's nursery may have put it into a group."""
    leaf = leaf_of(error)
    if isinstance(leaf, (ContractBroken, ConfigurationError, NotTried)):
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
