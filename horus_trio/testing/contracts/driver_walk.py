"""The rule for drivers that every order of calls ends as it should: a walk beside a small model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import outcome

from .contract import broken, outline
from .driver_calls import CLEAR, CLOSED, ending_of, still_waited
from .line import Line, Lines, rest, side_by_side

__all__ = ["every_order"]

VERBS = ("open", "receive", "send", "aclose")

FRESH = 3
"""How many calls in a row are tried on a fresh driver each."""

AGAIN = 4
"""How many calls in a row are tried on one driver, from whatever state it is in."""

Kinds: TypeAlias = tuple[type[Exception], ...]


class Model:
    """What the calls so far have made of a driver."""

    def __init__(self) -> None:
        self.state: str = "new"
        self.reopens: bool = True

    def may(self, verb: str) -> tuple[bool, Kinds]:
        """Whether a call may succeed, and with which errors it may fail."""
        if verb == "aclose":
            return True, ()
        if self.state == "open":
            return (False, CLEAR) if verb == "open" else (True, ())
        if verb == "open":
            return True, () if self.state == "new" else CLEAR
        return False, CLOSED if self.state == "closed" else CLEAR

    def has_done(self, verb: str, *, well: bool) -> None:
        """Note how a call ended."""
        if verb == "aclose":
            self.state = "closed"
        elif verb == "open" and self.state != "open":
            self.reopens = well
            self.state = "open" if well else "closed"


async def every_order(rule: str, lines: Lines[Any]) -> str:
    """All words of three verbs on a fresh driver each, and all of four on a single one."""
    async with lines.new_and_closed() as line:
        verbs = tuple(verb for verb in VERBS if verb != "send" or line.sends)
    words = list(itertools.product(verbs, repeat=FRESH))
    reopens = True
    for word in words:
        model = await _walk(rule, lines, word)
        reopens = reopens and model.reopens
    if not reopens:
        return f"{len(words)} words of {FRESH} calls"
    long = [*_every_word(verbs, AGAIN)]
    await _walk(rule, lines, long)
    return f"{len(words)} words of {FRESH} calls, {len(verbs) ** AGAIN} of {AGAIN} in one walk"


async def _walk(rule: str, lines: Lines[Any], verbs: Iterable[str]) -> Model:
    model = Model()
    messages = itertools.cycle(lines.messages)
    path: list[str] = []
    async with lines.new_and_closed() as line:
        for verb in verbs:
            path.append(verb)
            await _step(rule, line, model, verb, next(messages), path)
    return model


async def _step(
    rule: str, line: Line, model: Model, verb: str, message: Any, path: list[str]
) -> None:
    driver, peer = line.driver, line.peer
    succeeds, kinds = model.may(verb)
    state = model.state
    came: list[Any] = []

    async def receive() -> None:
        came.append(await driver.receive())

    async def receive_there() -> None:
        came.append(await peer.receive())

    async def act() -> None:
        if verb == "open":
            await driver.open()
        elif verb == "aclose":
            await driver.aclose()
        elif not succeeds:
            await (driver.receive() if verb == "receive" else driver.send(message))
        elif verb == "receive":
            await side_by_side(receive, lambda: peer.send(message))
        else:
            await side_by_side(lambda: driver.send(message), receive_there)

    ending = await ending_of(act)
    error = ending.result.error if isinstance(ending.result, outcome.Error) else None
    well = error is None
    if well and not ending.hung and succeeds:
        if came and came != [message]:
            said = f"{came[0]!r:.80} came"
        else:
            model.has_done(verb, well=True)
            if verb == "open" and "aclose" in path:
                for _ in range(3):  # so that the peer notices
                    await rest()
            return
    elif not ending.hung and error is not None and isinstance(error, kinds):
        model.has_done(verb, well=False)
        return
    elif ending.hung:
        said = still_waited(ending)
    elif well:
        said = "it returned"
    elif isinstance(error, Exception):
        said = f"it raised {outline(error)}"
    else:
        ending.result.unwrap()
        return
    names = ", ".join(kind.__name__ for kind in kinds)
    wanted = f"{message!r:.80} to arrive" if verb in ("receive", "send") else "it to succeed"
    if not succeeds:
        wanted = f"one of {names}"
    elif kinds:
        wanted += f", or one of {names}"
    raise broken(
        rule,
        expected=f"{wanted} at the last of {', '.join(f'{v}()' for v in path[-8:])}, "
        f"when it is {state}",
        came=said,
        remedy="let each call look at the state first, and leave it as it was if it refuses",
    ) from error


def _every_word(letters: tuple[str, ...], length: int) -> Iterator[str]:
    """A row of letters in which every word of that length is somewhere (de Bruijn's)."""
    row: list[str] = []
    size = len(letters)
    word = [0] * (size * length)

    def extend(at: int, period: int) -> None:
        if at > length:
            if length % period == 0:
                row.extend(letters[index] for index in word[1 : period + 1])
            return
        word[at] = word[at - period]
        extend(at + 1, period)
        for index in range(word[at - period] + 1, size):
            word[at] = index
            extend(at + 1, at)

    extend(1, 1)
    yield from row
    yield from row[: length - 1]
