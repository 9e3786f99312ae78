"""Carries faults out: around the hooks of nodes, the topics, and the calls of devices."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar, cast

import trio

from ..messages import current_fence
from ..node import Hook, Hooks
from ..topics import Hub, Overflow, Subscription
from .blocking import Sleeper, blocking_delay, current_watch
from .damage import corrupted, cut
from .faults import HOOKS, VERBS, Fault, FaultKind, Faults
from .record import sent_by_test

__all__ = ["dress_hooks", "dress_hub", "faulty", "undress_hub"]

T = TypeVar("T")


# Hooks


def dress_hooks(faults: Faults, node: str, hooks: Hooks) -> Hooks:
    """The hooks of a node, struck by faults."""
    dressed = {
        name: _dress_hook(faults, node, hook)
        for name in HOOKS
        if (hook := getattr(hooks, name)) is not None
    }
    return dataclasses.replace(hooks, **dressed)


def _dress_hook(faults: Faults, node: str, hook: Hook) -> Hook:
    name = "tick" if hook.name == "tick_async" else hook.name
    call = hook.call

    async def on_loop(*args: Any) -> Any:
        if name not in faults.plan:
            return await call(*args)
        striking = faults.striking(name, node)
        for fault in striking:
            await _before(fault)
        if _has(striking, FaultKind.DROP):
            return None
        return _after_hook(striking, await call(*args))

    def in_thread(*args: Any) -> Any:
        if name not in faults.plan:
            return call(*args)
        striking = faults.striking(name, node)
        for fault in striking:
            _before_in_thread(fault)
        if _has(striking, FaultKind.DROP):
            return None
        return _after_hook(striking, call(*args))

    return dataclasses.replace(hook, call=on_loop if hook.is_async else in_thread)


async def _before(fault: Fault) -> None:
    if fault.kind is FaultKind.DELAY:
        await trio.sleep(fault.seconds)
    elif fault.kind is FaultKind.HANG:
        await trio.sleep_forever()
    elif fault.kind is FaultKind.FAIL:
        raise _error_of(fault)


def _before_in_thread(fault: Fault) -> None:
    if fault.kind is FaultKind.DELAY:
        blocking_delay(fault.seconds)
    elif fault.kind is FaultKind.HANG:
        sleeper, watch = Sleeper(), current_watch.get()
        if watch is not None:
            watch.lie_down(sleeper)
        sleeper.wait()
    elif fault.kind is FaultKind.FAIL:
        raise _error_of(fault)


def _after_hook(striking: list[Fault], value: Any) -> Any:
    for fault in striking:
        if fault.kind is FaultKind.CORRUPT:
            value = _corrupt(fault, value)
        elif fault.kind is FaultKind.PARTIAL:
            raise _error_of(fault)
    return value


def _error_of(fault: Fault) -> BaseException:
    return fault.make_error(OSError(f"{fault.where} broke off half-way (a fault of the test)"))


def _corrupt(fault: Fault, value: Any) -> Any:
    return corrupted(value, fault.dice) if fault.change is None else fault.change(value)


def _has(striking: list[Fault], kind: FaultKind) -> bool:
    return any(fault.kind is kind for fault in striking)


# Topics


def dress_hub(faults: Faults, hub: Hub[Any], later: Callable[[float, Any], None]) -> None:
    """Have faults strike what is sent to a hub, until `undress_hub`.

    What the test publishes before anybody listens is kept for the first who does: a node that
    declares no topics joins them in its first tick.

    Arguments:
        later: Called with seconds and a message that is to be published then; any thread.
    """
    # The methods of this one hub are overlaid, so that a hub that exists already can be struck
    # and one outside a harness pays nothing.
    plain_send, plain_send_async, plain_subscribe = hub.send, hub.send_async, hub.subscribe
    name = hub.name

    def strike(data: Any) -> tuple[bool, Any]:
        """Whether the message goes out now, and what has become of it."""
        goes, seconds = True, 0.0
        for fault in faults.striking(name):
            if fault.kind is FaultKind.FAIL:
                raise _error_of(fault)
            if fault.kind is FaultKind.DROP:
                goes = False
            elif fault.kind is FaultKind.DELAY:
                seconds += fault.seconds
            elif fault.kind is FaultKind.CORRUPT:
                data = _corrupt(fault, data)
            elif fault.kind is FaultKind.PARTIAL:
                data = cut(data, fault.keep)
        if goes and seconds:
            fence = current_fence.get()
            if fence is not None and fence.closed:
                fence.refuse()
            later(seconds, data)
            goes = False
        return goes, data

    kept: list[Any] = []

    def deliver(data: Any) -> int:
        if sent_by_test.get() and not hub.has_subscriptions:
            kept.append(data)
        return plain_send(data)

    def send(data: Any) -> int:
        if name not in faults.plan:
            return deliver(data)
        goes, data = strike(data)
        return deliver(data) if goes else 0

    async def send_async(data: Any) -> int:
        if name not in faults.plan:
            return await plain_send_async(data)
        goes, data = strike(data)
        if goes:
            return await plain_send_async(data)
        await trio.lowlevel.checkpoint()
        return 0

    def subscribe(
        capacity: int = 1024, overflow: Overflow = Overflow.DROP_OLDEST
    ) -> Subscription[Any]:
        subscription = plain_subscribe(capacity, overflow)
        with hub._lock:
            subscription._joined -= len(kept)
            for data in kept:
                subscription._offer(data)
            kept.clear()
        return subscription

    vars(hub).update(send=send, send_async=send_async, subscribe=subscribe)


def undress_hub(hub: Hub[Any]) -> None:
    """Undo `dress_hub`."""
    for method in ("send", "send_async", "subscribe"):
        vars(hub).pop(method, None)


# Devices


def faulty(device: T, faults: Faults) -> T:
    """Stand before `device`: its calls are struck by `faults`, all else is its own.

    Struck are ``open, receive, send, aclose, query, read, write, close``, plain or ``async``.
    """
    return cast(T, _Device(faults, device))


class _Device:
    _faults: Faults
    _device: Any

    def __init__(self, faults: Faults, device: object) -> None:
        vars(self).update(_faults=faults, _device=device)

    def __repr__(self) -> str:
        return f"<{self._device!r} under faults>"

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self._device)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._device, name)
        if name not in VERBS or not callable(value):
            return value
        # Resolved at every access: the device may exchange its methods.
        verb = _on_loop if inspect.iscoroutinefunction(value) else _in_thread
        return functools.partial(verb, self._faults, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._device, name, value)

    async def __aenter__(self) -> Self:
        await (self.open() if hasattr(self._device, "open") else self._device.__aenter__())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


async def _on_loop(
    faults: Faults, name: str, call: Callable[..., Awaitable[Any]], *args: Any, **keywords: Any
) -> Any:
    striking = faults.striking(name)
    for fault in striking:
        await _before(fault)
    step = _Call(name, striking, args)
    value = None
    if step.goes_out:
        value = await call(*step.args, **keywords)
        if step.is_lost:
            value = await call(*step.args, **keywords)
    else:
        await trio.lowlevel.checkpoint()
    return step.answer(value)


def _in_thread(
    faults: Faults, name: str, call: Callable[..., Any], *args: Any, **keywords: Any
) -> Any:
    striking = faults.striking(name)
    for fault in striking:
        _before_in_thread(fault)
    step = _Call(name, striking, args)
    value = None
    if step.goes_out:
        value = call(*step.args, **keywords)
        if step.is_lost:
            value = call(*step.args, **keywords)
    return step.answer(value)


class _Call:
    """One call of a device under the faults that strike it."""

    def __init__(self, name: str, striking: list[Fault], args: tuple[Any, ...]) -> None:
        dropped = _has(striking, FaultKind.DROP)
        takes_data = name in ("send", "write", "query") and bool(args)
        gives_data = name in ("receive", "read", "query")
        self.goes_out: bool = gives_data or not dropped
        self.is_lost: bool = gives_data and dropped
        self.args: tuple[Any, ...] = args
        self._striking = striking
        self._gives_data = gives_data
        if takes_data and not gives_data:
            self.args = (self._damage(args[0]), *args[1:])

    def answer(self, value: Any) -> Any:
        """What the caller gets."""
        if self._gives_data:
            return self._damage(value)
        for fault in self._striking:
            if fault.kind is FaultKind.PARTIAL:
                raise _error_of(fault)
        return value

    def _damage(self, data: Any) -> Any:
        for fault in self._striking:
            if fault.kind is FaultKind.CORRUPT:
                data = _corrupt(fault, data)
            elif fault.kind is FaultKind.PARTIAL:
                data = cut(data, fault.keep)
        return data
