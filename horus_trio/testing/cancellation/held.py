"""The locks and tokens that can be reached from an object, and how far each of them is held.

The walk follows attributes, slots, containers, bound methods, partial functions and what functions
close over. It stays out of modules, classes, tasks, and what belongs to Trio or the standard
library: there a held lock is nothing unusual.
"""

from __future__ import annotations

import collections
import functools
import re
import sys
import threading
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import trio

__all__ = ["Held", "amounts", "changes", "find_held", "is_lock"]

DEPTH = 8
"""How many attributes away from where it starts the walk goes."""

OBJECTS = 20_000
"""How many objects the walk looks at."""

_PLAIN_LOCK = type(threading.Lock())
_REENTRANT_LOCK = type(threading.RLock())
_LOCKS = (
    trio.Lock,
    trio.StrictFIFOLock,
    trio.Condition,
    trio.Semaphore,
    trio.CapacityLimiter,
    threading.Condition,
    threading.Semaphore,
    _PLAIN_LOCK,
    _REENTRANT_LOCK,
)
_LEAVES = (str, bytes, bytearray, int, float, complex, type, types.ModuleType, types.CodeType)
_NOT_OURS = sys.stdlib_module_names | {"trio", "trio_util", "outcome", "sniffio", "attr", "attrs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lock or a limiter at one instant.

    Attributes:
        path: How it was reached, such as ``obj._lock``.
        lock: The object itself.
        kind: Its type, such as ``trio.Lock``.
        amount: How far it is held; more is more. For a semaphore the free slots, negated.
        counts: Whether it gives tokens or slots, of which there are several.
    """

    path: str
    lock: object
    kind: str
    amount: int
    counts: bool


def is_lock(thing: object) -> bool:
    """Whether it is a lock, a condition, a semaphore or a limiter."""
    return isinstance(thing, _LOCKS)


def find_held(roots: Mapping[str, object]) -> dict[int, Held]:
    """The locks reachable from the roots, by the `id` of each; the shortest path names it."""
    found: dict[int, Held] = {}
    seen: dict[int, object] = {}  # keeps the objects, and so their ids, alive
    waiting = collections.deque((name, thing, 0) for name, thing in roots.items())
    while waiting and len(seen) < OBJECTS:
        path, thing, depth = waiting.popleft()
        if thing is None or id(thing) in seen or isinstance(thing, _LEAVES):
            continue
        seen[id(thing)] = thing
        if is_lock(thing):
            found[id(thing)] = _held(path, thing)
        elif depth < DEPTH:
            waiting.extend((name, part, depth + 1) for name, part in _parts(path, thing))
    return found


def amounts(held: Mapping[int, Held]) -> dict[str, int]:
    """How far each lock is held, by its path."""
    return {lock.path: lock.amount for lock in held.values()}


def changes(
    before: Mapping[int, Held], after: Mapping[int, Held], allowed: Mapping[str, int]
) -> list[tuple[str, str]]:
    """The locks that are not as free as before: each one's problem, and what it is.

    Arguments:
        before: From `find_held`.
        after: The same, later.
        allowed: The amounts to which semaphores may have been released.
    """
    found = list[tuple[str, str]]()
    for key, now in after.items():
        then = before.get(key)
        amount = then.amount if then is not None and then.lock is now.lock else 0
        more = now.amount - amount
        if more > 0 and now.counts:
            found.append(("token held", f"{now.path}, a {now.kind}, is {more} more taken than"))
        elif more > 0:
            found.append(("lock held", f"{now.path}, a {now.kind}, is held, other than"))
        elif (
            more < 0
            and then is not None
            and isinstance(now.lock, trio.Semaphore)
            and now.amount < allowed.get(now.path, amount)
        ):
            found.append(
                ("token returned twice", f"{now.path}, a {now.kind}, is {-more} more free than")
            )
    return found


def _held(path: str, lock: object) -> Held:
    amount = 0
    if isinstance(lock, trio.CapacityLimiter):
        amount = lock.borrowed_tokens
    elif isinstance(lock, trio.Semaphore):
        amount = -lock.value
    elif isinstance(lock, threading.Semaphore):
        amount = -lock._value
    elif isinstance(lock, (trio.Lock, trio.StrictFIFOLock, trio.Condition, _PLAIN_LOCK)):
        amount = int(lock.locked())
    else:  # only the text of a reentrant lock, and of a condition with one, tells other threads
        match = re.search(r"<locked .* count=(\d+)|<locked ", repr(lock))
        amount = int(match[1] or 1) if match else 0
    module = type(lock).__module__.partition(".")[0]
    return Held(
        path=path,
        lock=lock,
        kind=f"{'threading' if module == '_thread' else module}.{_name_of(lock)}",
        amount=amount,
        counts=isinstance(lock, (trio.CapacityLimiter, trio.Semaphore, threading.Semaphore)),
    )


def _name_of(lock: object) -> str:
    return "Lock" if isinstance(lock, _PLAIN_LOCK) else type(lock).__name__


def _parts(path: str, thing: object) -> Iterable[tuple[str, object]]:
    """What can be reached from `thing` in one step, with its path."""
    if isinstance(thing, Mapping):
        return [(f"{path}[{key!r:.40}]", value) for key, value in tuple(thing.items())]
    if isinstance(thing, (list, tuple, collections.deque)):
        return [(f"{path}[{index}]", value) for index, value in enumerate(tuple(thing))]
    if isinstance(thing, (set, frozenset)):
        return [(f"an element of {path}", value) for value in tuple(thing)]
    if isinstance(thing, types.MethodType):
        return [(f"{path}.__self__", thing.__self__), (path, thing.__func__)]
    if isinstance(thing, functools.partial):
        arguments = {"func": thing.func, "args": thing.args, "keywords": thing.keywords}
        return [(f"{path}.{name}", value) for name, value in arguments.items()]
    if isinstance(thing, types.FunctionType):
        return _closed_over(path, thing)
    if type(thing).__module__.partition(".")[0] in _NOT_OURS:
        return ()
    return _attributes(path, thing)


def _closed_over(path: str, function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{path}'s {name}", cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield f"a default of {path}", default


def _attributes(path: str, thing: object) -> Iterator[tuple[str, object]]:
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        attributes = {}
    for name, value in tuple(attributes.items()):
        yield f"{path}.{name}", value
    for cls in type(thing).__mro__:
        for name, member in tuple(vars(cls).items()):
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield f"{path}.{name}", member.__get__(thing)
                except AttributeError:
                    continue  # an empty slot
