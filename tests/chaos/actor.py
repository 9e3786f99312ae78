"""The part of one node of a generated robot: what its hooks do, by the dice, and write down.

Its dice follow from the seed, its life, and how often it was initialised. What hangs, sits in its
thread until the gate is opened: late in the run, or after it, so that it then tries to publish what
nobody may publish any more.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Awaitable, Callable

import horus_trio as horus
from horus_trio.testing import blocking_delay
from horus_trio.topics.waiting import current_rest

from .diary import Diary
from .plan import ACTS, NodePlan, Plan

__all__ = ["Actor", "ChaosError", "Gate", "World"]

LOOKS = 12
"""How often a tick that heeds asks whether its time is over."""


class ChaosError(Exception):
    """What a node raises on purpose."""


class Gate:
    """What hangs waits here; on virtual time such a thread counts as asleep."""

    def __init__(self) -> None:
        self._wakers: list[Callable[[], None]] = []
        self._opening = threading.Event()

    def wait(self) -> None:
        """Hang, in a thread, until the gate is opened."""
        opening = self._opening
        rest = current_rest.get()
        if rest is None:
            opening.wait()
            return
        lie_down, get_up = rest()
        self._wakers.append(get_up)
        lie_down()
        opening.wait()
        get_up()  # the gate may have been opened just before the waker was there

    def open(self) -> None:
        """Let all go that hang now; any thread."""
        opening, self._opening = self._opening, threading.Event()
        wakers, self._wakers = self._wakers, []
        for get_up in wakers:
            get_up()
        opening.set()


class World:
    """What all nodes of one robot share.

    Attributes:
        hanging: Whether hooks may still hang; not once the gate has been opened for good.
        now: The run's clock, in any thread.
    """

    def __init__(self, plan: Plan, diary: Diary) -> None:
        self.plan: Plan = plan
        self.diary: Diary = diary
        self.gate: Gate = Gate()
        self.hanging: bool = True
        self.now: Callable[[], float] = lambda: 0.0
        self.delay: float = 0.03 if plan.virtual else 0.003


class Actor:
    """The part of one node, the same for all kinds of it."""

    def __init__(self, world: World, plan: NodePlan, life: str) -> None:
        self.plan: NodePlan = plan
        self.life: str = life
        self.diary: Diary = world.diary
        self.world: World = world
        self._inits = 0
        self._dice = random.Random(f"{world.plan.seed} {life}")

    def begin_again(self) -> None:
        """Another incarnation, with dice of its own."""
        self._inits += 1
        self._dice = random.Random(f"{self.world.plan.seed} {self.life} {self._inits}")

    def choose(self, chances: dict[str, float]) -> str:
        """Roll which act follows; mostly none."""
        roll = self._dice.random()
        for act in ACTS:
            share = chances.get(act, 0.0)
            if roll < share:
                return act
            roll -= share
        return ""

    def chance(self, share: float) -> bool:
        """Roll once."""
        return self._dice.random() < share

    def short(self) -> float:
        """A delay that most limits allow."""
        return round(self._dice.expovariate(1 / self.world.delay), 6)

    def too_long(self, limit: float | None) -> float:
        """A delay that the limit does not allow."""
        return (limit or self.short()) * self._dice.choice([1.01, 1.5, 4.0])

    # What acts do alike in a thread and on the loop

    def act_at_once(self, act: str, node: horus.Node) -> None:
        """Do an act that does not wait."""
        match act:
            case "raise":
                raise ChaosError(f"{self.life} fails")
            case "exit":
                raise SystemExit(f"{self.life} exits")
            case "interrupt":
                self.diary.causes.append(f"KeyboardInterrupt in node {self.plan.name!r}")
                raise KeyboardInterrupt
            case "stop":
                self.diary.causes.append("chaos asked in a tick")
                node.request_stop("chaos asked in a tick")
            case _:
                pass

    def act_in_thread(self, act: str, limit: float | None, node: horus.Node) -> None:
        """Do an act in a ``def`` hook."""
        match act:
            case "delay":
                blocking_delay(self.short())
            case "overlong":
                blocking_delay(self.too_long(limit))
            case "hang" if self.world.hanging:
                self.world.gate.wait()
            case "heed":
                for _ in range(LOOKS):
                    node.check_cancelled()
                    blocking_delay(self.world.delay)
            case _:
                self.act_at_once(act, node)

    async def act_on_loop(
        self,
        act: str,
        limit: float | None,
        node: horus.Node,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        """Do an act in an async hook."""
        match act:
            case "delay":
                await sleep(self.short())
            case "overlong" | "hang":
                await sleep(self.too_long(limit))
            case "wait" if self.plan.inputs:
                topic = self.plan.inputs[0].topic
                self.diary.take(self.life, topic, [await node.recv_async(topic)])
            case _:
                await sleep(0)
                self.act_at_once(act, node)

    def read(self, node: horus.Node) -> None:
        """Take what has come, of each input."""
        for entry in self.plan.inputs:
            if self.chance(0.7):
                self.diary.take(self.life, entry.topic, node.recv_all(entry.topic))
            elif node.has_msg(entry.topic):
                message = node.recv(entry.topic)
                self.diary.take(self.life, entry.topic, [] if message is None else [message])

    def write(self, node: horus.Node, seq: int) -> None:
        """Publish a message on each output."""
        for topic in self.plan.outputs:
            self.diary.publish(self.life, topic, seq, node.send)

    async def write_async(self, node: horus.Node, seq: int) -> None:
        """Publish a message on each output, half of them waiting for room."""
        for topic in self.plan.outputs:
            if self.chance(0.5):
                self.diary.publish(self.life, topic, seq, node.send)
                continue
            entry = self.diary.new_send(self.life, topic, seq)
            try:
                await node.send_async(topic, entry.message)
            except horus.TickAbandoned:
                entry.fate = "refused"
                raise
            except BaseException:
                entry.fate = "unknown" if self.plan.kind == "asyncio" else "cancelled"
                raise
            entry.fate = "accepted"

    async def babble(self, node: horus.Node, sleep: Callable[[float], Awaitable[object]]) -> None:
        """The background task: publishes again and again, and may fail."""
        while self.plan.background is not None:
            await sleep(self.plan.background)
            for topic in self.plan.outputs:
                with contextlib.suppress(horus.TickAbandoned, horus.NotRunning):
                    self.diary.publish(self.life, topic, 0, node.send)
            if self.chance(self.plan.tick.get("raise", 0.0)):
                raise ChaosError(f"a task of {self.life} fails")
