"""The nodes of a generated robot: one class for each kind, all playing the part of an `Actor`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypedDict

import trio

import horus_trio as horus
from horus_trio.bridges import AsyncioNode

from .actor import Actor, World
from .plan import NodePlan, Policy

__all__ = ["make_factory", "make_node", "make_policy", "options_of"]


class ActingNode(horus.Node):
    """What all kinds have in common."""

    def __init__(self, actor: Actor) -> None:
        super().__init__(actor.plan.name)
        self.actor: Actor = actor

    def begin_tick(self) -> int:
        """The number of the tick that begins."""
        tick = self.current_tick
        return 0 if tick is None else tick.seq

    @contextlib.contextmanager
    def initialising(self) -> Iterator[str]:
        """Around the body of ``init``; gives the act it does."""
        actor = self.actor
        actor.begin_again()
        with actor.diary.hook(actor.life, "init"):
            yield actor.choose(actor.plan.init)


class ThreadHooks(ActingNode):
    """``def init`` and ``def shutdown``."""

    def init(self) -> None:
        actor = self.actor
        with self.initialising() as act:
            actor.act_in_thread(act, actor.plan.init_timeout, self)
            if actor.plan.background is not None:
                self.start_soon(actor.babble, self, trio.sleep)
            actor.write(self, 0)

    def shutdown(self) -> None:
        actor = self.actor
        with actor.diary.hook(actor.life, "shutdown"):
            act = actor.choose(actor.plan.shutdown)
            actor.act_in_thread(act, actor.plan.shutdown_timeout, self)


class ThreadNode(ThreadHooks):
    """All hooks ``def``."""

    def tick(self) -> str:
        actor, seq = self.actor, self.begin_tick()
        with actor.diary.hook(actor.life, "tick", seq):
            actor.read(self)
            act = actor.choose(actor.plan.tick)
            actor.act_in_thread(act, actor.plan.tick_timeout, self)
            actor.write(self, seq)
        return f"{actor.life} {seq}"

    def on_error(self, error: BaseException) -> None:
        with self.actor.diary.hook(self.actor.life, "on_error"):
            pass


class MixedNode(ThreadHooks):
    """An async tick, and ``def`` hooks."""

    async def tick(self) -> str:
        return await act_async(self, trio.sleep)


class LoopNode(ActingNode):
    """All hooks async."""

    async def init(self) -> None:
        actor = self.actor
        with self.initialising() as act:
            await actor.act_on_loop(act, actor.plan.init_timeout, self, trio.sleep)
            if actor.plan.background is not None:
                self.start_soon(actor.babble, self, trio.sleep)
            actor.write(self, 0)

    async def tick(self) -> str:
        return await act_async(self, trio.sleep)

    async def shutdown(self) -> None:
        actor = self.actor
        with actor.diary.hook(actor.life, "shutdown"):
            act = actor.choose(actor.plan.shutdown)
            await actor.act_on_loop(act, actor.plan.shutdown_timeout, self, trio.sleep)

    async def on_error(self, error: BaseException) -> None:
        with self.actor.diary.hook(self.actor.life, "on_error"):
            await trio.lowlevel.checkpoint()


class LoopOfItsOwnNode(AsyncioNode, ActingNode):
    """All hooks asyncio code."""

    async def init(self) -> None:
        actor = self.actor
        with self.initialising() as act:
            await actor.act_on_loop(act, actor.plan.init_timeout, self, asyncio.sleep)
            if actor.plan.background is not None:
                self.start_soon(actor.babble, self, asyncio.sleep)
            actor.write(self, 0)

    async def tick(self) -> str:
        return await act_async(self, asyncio.sleep)

    async def shutdown(self) -> None:
        actor = self.actor
        with actor.diary.hook(actor.life, "shutdown"):
            act = actor.choose(actor.plan.shutdown)
            await actor.act_on_loop(act, actor.plan.shutdown_timeout, self, asyncio.sleep)


async def act_async(node: ActingNode, sleep: Callable[[float], Awaitable[object]]) -> str:
    """The async tick, of Trio's and of asyncio's."""
    actor, seq = node.actor, node.begin_tick()
    with actor.diary.hook(actor.life, "tick", seq):
        actor.read(node)
        await actor.act_on_loop(actor.choose(actor.plan.tick), actor.plan.tick_timeout, node, sleep)
        await actor.write_async(node, seq)
    return f"{actor.life} {seq}"


CLASSES: dict[str, type[ActingNode]] = {
    "pool": ThreadNode,
    "own": ThreadNode,
    "async": LoopNode,
    "mixed": MixedNode,
    "asyncio": LoopOfItsOwnNode,
}


def _safe_in_thread(node: ActingNode) -> None:
    with node.actor.diary.hook(node.actor.life, "enter_safe_state"):
        pass


async def _safe_on_loop(node: ActingNode) -> None:
    with node.actor.diary.hook(node.actor.life, "enter_safe_state"):
        await trio.lowlevel.checkpoint()


async def _safe_on_asyncio(node: ActingNode) -> None:
    with node.actor.diary.hook(node.actor.life, "enter_safe_state"):
        await asyncio.sleep(0)


def make_node(world: World, plan: NodePlan, life: str) -> ActingNode:
    """The node of a plan, for one of its lives."""
    return _build(Actor(world, plan, life))


def make_factory(world: World, plan: NodePlan, life: str) -> Callable[[], horus.Node]:
    """What makes instance after instance of it, all playing one part."""
    actor = Actor(world, plan, life)
    return lambda: _build(actor)


def _build(actor: Actor) -> ActingNode:
    plan = actor.plan
    cls = CLASSES[plan.kind]
    if plan.safe_state:
        hook: Callable[..., Any] = _safe_in_thread
        if plan.safe_state == "async":
            hook = _safe_on_asyncio if plan.kind == "asyncio" else _safe_on_loop
        cls = type(cls.__name__, (cls,), {"enter_safe_state": hook})
    return cls(actor)


class Options(TypedDict, total=False):
    """What `Scheduler.add` is given."""

    rate: float | None
    on: tuple[str, ...] | None
    order: int
    tick_timeout: float | None
    deadline: float | None
    on_miss: horus.Miss
    init_timeout: float
    shutdown_timeout: float
    failure_policy: horus.FailurePolicy
    critical: bool
    thread: Any
    limiter: trio.CapacityLimiter | None
    subs: tuple[horus.Sub, ...]
    pubs: tuple[str, ...]


def options_of(plan: NodePlan) -> Options:
    """The options of a plan's node."""
    options = Options(
        rate=plan.rate,
        on=plan.on or None,
        order=plan.order,
        tick_timeout=plan.tick_timeout,
        deadline=plan.deadline,
        on_miss=horus.Miss[plan.on_miss],
        init_timeout=plan.init_timeout,
        shutdown_timeout=plan.shutdown_timeout,
        failure_policy=make_policy(plan.policy),
        critical=plan.critical,
        thread="own" if plan.kind == "own" else "pool",
        subs=tuple(
            horus.Sub(
                entry.topic,
                capacity=entry.capacity,
                overflow=horus.Overflow[entry.overflow],
                max_age=entry.max_age,
            )
            for entry in plan.inputs
        ),
        pubs=plan.outputs,
    )
    if plan.limited:
        options["limiter"] = trio.CapacityLimiter(1)
    return options


def make_policy(plan: Policy) -> horus.FailurePolicy:
    """The failure policy of a plan."""
    match plan.kind:
        case "restart":
            return horus.Restart(plan.count, within=plan.seconds, backoff=plan.backoff)
        case "restart for ever":
            return horus.Restart(within=None, backoff=plan.backoff, max_backoff=2.0)
        case "breaker":
            return horus.CircuitBreaker(plan.count, cooldown=plan.seconds)
        case "ignore":
            return horus.Ignore()
        case "fatal":
            return horus.Fatal()
        case unknown:
            raise ValueError(f"expected one of the policies, got {unknown!r}")
