"""A node's options: one frozen value, gathered from class attributes, constructor and ``add``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import trio

from ..arguments import is_number, is_positive, is_whole
from ..errors import ConfigurationError, nearest
from ..policies import FailurePolicy, Miss, Restart
from ..printable import one_line
from ..timer import HIGHEST_RATE
from ..topics import Pub, Sub

__all__ = [
    "ConstructorKeywords",
    "NodeOptions",
    "OptionKeywords",
    "class_options",
    "resolve_options",
]


class ConstructorKeywords(TypedDict, total=False):
    """The options as keywords of `Node`, next to its `name`; see `NodeOptions`."""

    rate: float | None
    phase: float | Literal["spread"]
    on: str | Iterable[str] | None
    order: int
    tick_timeout: float | Literal["auto"] | None
    deadline: float | None
    on_miss: Miss
    init_timeout: float
    shutdown_timeout: float
    failure_policy: FailurePolicy
    critical: bool
    thread: Literal["pool", "own", "process"]
    limiter: trio.CapacityLimiter | None
    helpers: Iterable[AbstractAsyncContextManager[Any]]
    subs: str | Sub | Iterable[str | Sub]
    pubs: str | Pub | Iterable[str | Pub]


class OptionKeywords(ConstructorKeywords, total=False):
    """The options as keywords of ``add``; see `NodeOptions`."""

    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """How the engine treats a node.

    Attributes:
        name: Unique and printable; None: class name and a number.
        rate: Ticks a second, in Hz; None: the scheduler's ``tick_rate``, or no rate with `on`.
        phase: Seconds by which the node's grid is shifted; ``"spread"`` spreads nodes of one rate
            over their period.
        on: Topics whose arrivals make the node tick.
        order: Lower is earlier: at equal instants and in ``init``; later in ``shutdown``.
        tick_timeout: Seconds a tick may run, None: without limit; ``"auto"``: None for an
            ``async`` tick, 30.0 for a ``def`` tick.
        deadline: Seconds after its release by which a tick should have ended; None: no deadline.
        on_miss: What to do about an overrun or a missed deadline.
        init_timeout: Seconds ``init`` may take.
        shutdown_timeout: Seconds each other hook may take, and an abandoned thread at the stop.
        failure_policy: What to do when the node fails.
        critical: Whether its final failure ends the run; it takes part in the safety chain.
        thread: ``"pool"``: ``def`` hooks share the scheduler's pool; ``"own"``: one thread of its
            own for all of them; ``"process"``: its ``tick`` runs in a process of its own.
        limiter: A `trio.CapacityLimiter` instead of the scheduler's.
        helpers: Opened before ``init`` and closed after ``shutdown``: helpers, or other async
            context managers that may be entered again. What is given to several nodes is opened by
            the first and closed by the last.
        subs: Topics read, joined before any ``init``.
        pubs: Topics written.
    """

    name: str | None = None
    rate: float | None = None
    phase: float | Literal["spread"] = "spread"
    on: tuple[str, ...] = ()
    order: int = 0
    tick_timeout: float | Literal["auto"] | None = "auto"
    deadline: float | None = None
    on_miss: Miss = Miss.SKIP
    init_timeout: float = 10.0
    shutdown_timeout: float = 3.0
    failure_policy: FailurePolicy = Restart()
    critical: bool = False
    thread: Literal["pool", "own", "process"] = "pool"
    limiter: trio.CapacityLimiter | None = None
    helpers: tuple[AbstractAsyncContextManager[Any], ...] = ()
    subs: tuple[Sub, ...] = ()
    pubs: tuple[Pub, ...] = ()


_NAMES = frozenset(field.name for field in dataclasses.fields(NodeOptions))


def class_options(cls: type, base: type) -> dict[str, Any]:
    """The options that `cls` and its bases below `base` set as class attributes."""
    found: dict[str, Any] = {}
    for ancestor in reversed(cls.__mro__):
        if ancestor is not base and issubclass(ancestor, base):
            found.update((k, v) for k, v in vars(ancestor).items() if k in _NAMES)
    return found


def check_names(owner: str, keywords: Mapping[str, Any]) -> None:
    """Refuse a keyword that is no option, naming the nearest."""
    for key in keywords:
        if key not in _NAMES:
            raise ConfigurationError(f"{owner}: no option {key!r}{nearest(key, _NAMES)}")


def resolve_options(owner: str, given: Mapping[str, Any]) -> NodeOptions:
    """Check every value and freeze them.

    Arguments:
        owner: Whose options they are, for messages.
        given: Options by name; what is missing has its default.

    Raises:
        ConfigurationError: Names the option, the value and the remedy.
    """
    owner = one_line(str(owner))  # often the very name that is about to be refused
    check_names(owner, given)
    values = dict(given)

    def refuse(option: str, expected: str) -> ConfigurationError:
        return ConfigurationError(f"{owner}: {option}={values[option]!r}, expected {expected}")

    def check_seconds(option: str, *, zero: bool = False, optional: bool = True) -> None:
        value = values.get(option)
        if option not in values or (value is None and optional):
            return
        expected = "a finite number of seconds" + (", 0 or more" if zero else " above 0")
        if optional:
            expected += ", or None"
        if not is_positive(value, or_zero=zero):
            raise refuse(option, expected)
        values[option] = float(value)

    name = values.get("name")
    if name is not None and (not isinstance(name, str) or not name or not name.isprintable()):
        raise refuse("name", "a printable, non-empty str")
    rate = values.get("rate")
    if rate is not None:
        if not is_number(rate) or not 0 < rate <= HIGHEST_RATE:
            raise refuse("rate", f"a number of Hz above 0 and at most {HIGHEST_RATE:g}, or None")
        values["rate"] = float(rate)
    if values.get("phase", "spread") != "spread":
        check_seconds("phase", zero=True, optional=False)
    if values.get("tick_timeout", "auto") != "auto":
        check_seconds("tick_timeout")
    check_seconds("deadline")
    check_seconds("init_timeout", optional=False)
    check_seconds("shutdown_timeout", optional=False)
    order = values.get("order", 0)
    if not is_whole(order):
        raise refuse("order", "a whole number")
    if not isinstance(values.get("on_miss", Miss.SKIP), Miss):
        raise refuse("on_miss", "a horus_trio.Miss, such as Miss.SKIP")
    if not isinstance(values.get("failure_policy", Restart()), FailurePolicy):
        raise refuse(
            "failure_policy", "Restart(…), Fatal(), CircuitBreaker(…) or Ignore() (an instance)"
        )
    if not isinstance(values.get("critical", False), bool):
        raise refuse("critical", "True or False")
    if values.get("thread", "pool") not in ("pool", "own", "process"):
        raise refuse("thread", "'pool', 'own' or 'process'")
    limiter = values.get("limiter")
    if limiter is not None and not isinstance(limiter, trio.CapacityLimiter):
        raise refuse("limiter", "a trio.CapacityLimiter, or None for the scheduler's")
    values["helpers"] = _helpers(owner, values.get("helpers", ()), values.get("thread"))
    on = values.get("on")
    values["on"] = tuple(
        sub.topic for sub in _declarations(owner, "on", () if on is None else on, Sub)
    )
    values["subs"] = _declarations(owner, "subs", values.get("subs", ()), Sub)
    values["pubs"] = _declarations(owner, "pubs", values.get("pubs", ()), Pub)
    return NodeOptions(**values)


def _helpers(
    owner: str, value: Any, thread: object
) -> tuple[AbstractAsyncContextManager[Any], ...]:
    expected = "a list of helpers or other async context managers"
    if isinstance(value, AbstractAsyncContextManager) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{owner}: helpers={value!r}, expected {expected}")
    helpers = tuple(value)
    for n, helper in enumerate(helpers):
        if not isinstance(helper, AbstractAsyncContextManager):
            raise ConfigurationError(f"{owner}: helpers has {helper!r}, expected {expected}")
        if any(helper is other for other in helpers[:n]):
            raise ConfigurationError(f"{owner}: helpers has {helper!r} twice")
    if helpers and thread == "process":
        raise ConfigurationError(
            f"{owner}: helpers live in the robot's process and thread='process' ticks in another "
            "one; leave one of the two out"
        )
    return helpers


def _declarations(owner: str, option: str, value: Any, kind: type[Any]) -> tuple[Any, ...]:
    expected = f"topic names or horus_trio.{kind.__name__}(…)"
    if isinstance(value, (str, kind)):
        value = (value,)
    if not isinstance(value, Iterable):
        raise ConfigurationError(f"{owner}: {option}={value!r}, expected {expected}")
    declared: dict[str, Any] = {}
    for item in value:
        if isinstance(item, str):
            item = kind(item)
        if not isinstance(item, kind):
            raise ConfigurationError(f"{owner}: {option} has {item!r}, expected {expected}")
        if item.topic in declared:
            raise ConfigurationError(f"{owner}: {option} names topic {item.topic!r} twice")
        declared[item.topic] = item
    return tuple(declared.values())
