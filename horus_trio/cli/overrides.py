"""``--set NODE.OPTION=VALUE``: options of nodes and of the scheduler, changed before a run.

A value is a Python literal, a policy such as ``Restart(max_restarts=2)``, ``Miss.WARN``, or a bare
word. It is taken apart, never evaluated, and judged by those who judge options anyway.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

import horus_trio as horus

from .errors import USAGE, CommandFailed

__all__ = ["Override", "apply", "parse_override"]

SCHEDULER = "scheduler"
"""What stands for the scheduler in the place of a node's name."""

_MAKERS: Mapping[str, Callable[..., Any]] = {
    "CircuitBreaker": horus.CircuitBreaker,
    "Fatal": horus.Fatal,
    "Ignore": horus.Ignore,
    "Pub": horus.Pub,
    "Restart": horus.Restart,
    "Skip": horus.Skip,
    "Sub": horus.Sub,
}

_CHOICES = {choices.__name__: choices for choices in (horus.Miss, horus.Overflow)}

_WORD = re.compile(r"[A-Za-z_/][\w/.-]*")
"""A bare word, such as the name of a topic."""

_WORDS = {"true": True, "false": False, "none": None, "inf": math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One ``--set``.

    Attributes:
        text: As it was given.
        node: Whose option; ``scheduler`` for the scheduler's.
        option: Its name.
        value: The new value.
    """

    text: str
    node: str
    option: str
    value: Any


def parse_override(text: str) -> Override:
    """Take the text apart; for argparse.

    Raises:
        argparse.ArgumentTypeError: It has not the form.
    """
    place, equals, value = text.partition("=")
    node, dot, option = place.strip().rpartition(".")
    if not equals or not dot or not node or not option.isidentifier():
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected NODE.OPTION=VALUE, such as camera.rate=15, or "
            "scheduler.tick_rate=50"
        )
    return Override(text=text, node=node, option=option, value=_value(value.strip(), text))


def apply(scheduler: horus.Scheduler, overrides: Iterable[Override]) -> None:
    """Change the options, in order.

    Raises:
        CommandFailed: There is no such node or option, or the value makes no sense.
    """
    for override in overrides:
        option, value = override.option, override.value
        if option == "limiter" and isinstance(value, (int, float)):
            with contextlib.suppress(TypeError, ValueError):  # the options' own check refuses it
                value = trio.CapacityLimiter(value)
        if option == "on_miss" and isinstance(value, str):
            with contextlib.suppress(KeyError):
                value = horus.Miss[value.upper().replace(" ", "_")]
        try:
            if override.node == SCHEDULER:
                scheduler._change_settings({option: value})
            else:
                scheduler._change_options(override.node, {option: value})
        except horus.HorusError as error:
            raise CommandFailed(f"--set {override.text}: {error}", USAGE) from None


def _value(text: str, whole: str) -> Any:
    with contextlib.suppress(KeyError):
        return _WORDS[text.lower()]
    if _WORD.fullmatch(text) and text.partition(".")[0] not in _CHOICES:
        return text
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return text  # whoever judges it will say what it should be
    try:
        return _build(tree)
    except (ValueError, TypeError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{whole!r}: {error}") from None


def _build(tree: ast.expr) -> Any:
    """The value of an expression: literals, and the names above."""
    match tree:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in _MAKERS:
            named = {_name(keyword): _build(keyword.value) for keyword in keywords}
            return _MAKERS[name](*map(_build, args), **named)
        case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner in _CHOICES:
            try:
                return _CHOICES[owner][attr]
            except KeyError:
                known = ", ".join(choice.name for choice in _CHOICES[owner])
                raise ValueError(f"no {owner}.{attr}; there are {known}") from None
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_build(item) for item in items]
        case ast.Name(id=word) if word.lower() in _WORDS:
            return _WORDS[word.lower()]
        case _:
            try:
                return ast.literal_eval(tree)
            except ValueError:
                raise ValueError(
                    f"{ast.unparse(tree)!r} is no value; expected a literal, "
                    f"{', '.join(_MAKERS)}(…), Miss.SKIP or the like"
                ) from None


def _name(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError(f"'**{ast.unparse(keyword.value)}' is no value; write each one out")
    return keyword.arg
