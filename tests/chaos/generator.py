"""Makes a plan from a seed: one to sixty nodes of every kind, and what is done to them.

A robot has a budget of ticks, whatever its number of nodes and its duration are, so that one takes
a third of a second to play. Few robots have something that can end them early, since what ends
early shows little; every one of them has something that fails.
"""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Iterable

from .plan import Event, EventKind, Input, Kind, NodePlan, Plan, Policy

__all__ = ["make_plan"]

TICKS = 700
"""Ticks of one robot, about."""

REAL_SHARE = 0.06
"""Of the robots, live on the real clock."""

ENDINGS = {"": 0.58, "signal": 0.2, "fatal": 0.12, "stop": 0.07, "cancel": 0.03}
"""What may end a robot before its time, and how often."""

KIND_SHARES: dict[Kind, float] = {
    "pool": 0.38,
    "own": 0.16,
    "async": 0.28,
    "mixed": 0.1,
    "asyncio": 0.08,
}
OVERFLOWS = ("DROP_OLDEST", "DROP_NEWEST", "LATEST", "BLOCK")
MISSES = {"SKIP": 0.6, "WARN": 0.15, "CATCH_UP": 0.15, "SAFE_MODE": 0.1}


class _Dice(random.Random):
    def chance(self, share: float) -> bool:
        return self.random() < share

    def one_of(self, shares: dict[str, float]) -> str:
        return self.choices(list(shares), list(shares.values()))[0]

    def about(self, value: float, spread: float = 2.0) -> float:
        """`value` times or through a factor of up to `spread`, with few digits."""
        factor = math.exp(self.uniform(-1, 1) * math.log(spread))
        return float(f"{value * factor:.3g}")

    def between(self, low: float, high: float) -> float:
        return round(self.uniform(low, high), 3)


def make_plan(seed: int) -> Plan:
    """The robot of a seed; the same one in every process."""
    dice = _Dice(seed)
    virtual = not dice.chance(REAL_SHARE)
    highest = 60 if virtual else 12
    count = min(highest, round(math.exp(dice.uniform(0, math.log(highest + 1)))))
    duration = dice.between(20.0, 60.0) if virtual else dice.between(0.5, 1.0)
    topics = tuple(f"t{n}" for n in range(dice.randint(1, max(2, count // 3))))
    ending = dice.one_of(ENDINGS)
    maker = _NodeMaker(dice, topics, duration, count, virtual)
    nodes = [maker.make(f"n{n}") for n in range(count)]
    if ending == "fatal":
        n = dice.randrange(count)
        nodes[n] = maker.make(f"n{n}", fatal=True)
    late = tuple(maker.make(f"late{n}") for n in range(dice.randint(0, 3)))
    events = _events(dice, nodes, late, len(topics), duration, ending)
    return Plan(
        seed=seed,
        virtual=virtual,
        duration=duration,
        tokens=dice.randint(1, 6),
        max_abandoned=dice.choice([0, 1, 2, 16]),
        stop_timeout=dice.choice([0.5, 2.0, 10.0]),
        deterministic=dice.chance(0.08),
        topics=topics,
        nodes=tuple(nodes),
        late=late,
        events=tuple(sorted(events, key=lambda event: event.at)),
    )


class _NodeMaker:
    def __init__(
        self, dice: _Dice, topics: tuple[str, ...], duration: float, count: int, virtual: bool
    ) -> None:
        self.dice = dice
        self.topics = topics
        self.duration = duration
        self.rate = min(20.0 if virtual else 100.0, TICKS / (count * duration))
        self.scale = 1.0 if virtual else 0.1
        self.wild = dice.choice([0.2, 1.0, 1.0, 3.0])

    def make(self, name: str, *, fatal: bool = False) -> NodePlan:
        """One node."""
        dice = self.dice
        kind: Kind = dice.choices(list(KIND_SHARES), list(KIND_SHARES.values()))[0]
        rate: float | None = dice.about(self.rate)
        inputs = self._inputs(dice.sample(self.topics, dice.randint(0, min(3, len(self.topics)))))
        on: tuple[str, ...] = ()
        if inputs and dice.chance(0.4):
            on = (inputs[0].topic,)
            rate = rate if dice.chance(0.3) else None
        outputs = dice.sample(self.topics, dice.randint(0, min(2, len(self.topics))))
        if on:  # no messages that beget themselves
            outputs = [topic for topic in outputs if int(topic[1:]) > int(on[0][1:])]
        policy = self._fatal_policy() if fatal else self._policy()
        critical = fatal or (policy.kind == "restart for ever" and dice.chance(0.4))
        tick_timeout: float | None = self._seconds(0.3, 4.0)
        if kind not in ("pool", "own") and dice.chance(0.3):
            tick_timeout = None
        tick = self._tick_acts(kind, tick_timeout)
        if fatal:
            tick["raise"] = max(0.01, tick.get("raise", 0.0))
        return NodePlan(
            name=name,
            kind=kind,
            rate=rate,
            on=on,
            order=dice.choice([0, 0, 0, 1, -1]),
            tick_timeout=tick_timeout,
            deadline=self._seconds(0.2, 3.0) if dice.chance(0.2) else None,
            on_miss="STOP" if fatal and dice.chance(0.1) else dice.one_of(MISSES),
            init_timeout=self._seconds(0.5, 3.0),
            shutdown_timeout=self._seconds(0.3, 3.0),
            policy=policy,
            critical=critical,
            inputs=inputs,
            outputs=tuple(outputs),
            tick=tick,
            init=self._hook_acts(("raise", 0.08), ("delay", 0.15), ("hang", 0.03)),
            shutdown=self._hook_acts(("raise", 0.05), ("delay", 0.15), ("hang", 0.03)),
            safe_state=dice.choice(["def", "async", ""]) if critical or dice.chance(0.15) else "",
            background=self._seconds(2.0, 4.0) if dice.chance(0.15) else None,
            factory=dice.chance(0.4),
            limited=kind == "pool" and dice.chance(0.1),
        )

    def _seconds(self, value: float, spread: float) -> float:
        return self.dice.about(value * self.scale, spread)

    def _inputs(self, topics: Iterable[str]) -> tuple[Input, ...]:
        dice = self.dice
        return tuple(
            Input(
                topic=topic,
                capacity=dice.choice([1, 2, 8, 64]),
                overflow=dice.choice(OVERFLOWS),
                max_age=self._seconds(3.0, 2.0) if dice.chance(0.2) else None,
            )
            for topic in topics
        )

    def _policy(self) -> Policy:
        dice = self.dice
        backoff = self._seconds(0.1, 5.0) if dice.chance(0.8) else 0.0
        match dice.choices(("restart", "restart for ever", "breaker", "ignore"), (3, 4, 2, 2))[0]:
            case "restart":
                count = dice.randint(1, 6)
                seconds = self._seconds(5.0, 4.0)
                return Policy(kind="restart", count=count, seconds=seconds, backoff=backoff)
            case "restart for ever":
                return Policy(kind="restart for ever", backoff=backoff)
            case "breaker":
                seconds = self._seconds(2.0, 4.0)
                return Policy(kind="breaker", count=dice.randint(1, 3), seconds=seconds)
            case kind:
                return Policy(kind=kind)

    def _fatal_policy(self) -> Policy:
        dice = self.dice
        if dice.chance(0.5):
            return Policy(kind="fatal")
        return Policy(kind="restart", count=dice.randint(0, 2), seconds=60.0, backoff=0.05)

    def _tick_acts(self, kind: Kind, tick_timeout: float | None) -> dict[str, float]:
        dice, wild = self.dice, self.wild
        acts = {"delay": dice.uniform(0.0, 0.5)}
        if dice.chance(0.5):
            acts["raise"] = wild * dice.choice([0.01, 0.03, 0.1])
        if dice.chance(0.35) and tick_timeout is not None:
            acts["overlong"] = wild * dice.choice([0.005, 0.02, 0.05])
        if kind in ("pool", "own"):
            if dice.chance(0.3):
                acts["hang"] = wild * dice.choice([0.003, 0.01])
            if dice.chance(0.2):
                acts["heed"] = 0.05
        if kind in ("async", "mixed", "asyncio") and dice.chance(0.3):
            acts["wait"] = 0.2
        if kind != "asyncio" and dice.chance(0.05):
            acts["exit"] = wild * 0.01
        if kind != "asyncio" and dice.chance(0.01):
            acts["interrupt"] = 0.005
        if dice.chance(0.01):
            acts["stop"] = 0.005
        return acts

    def _hook_acts(self, *acts: tuple[str, float]) -> dict[str, float]:
        return {act: share for act, share in acts if self.dice.chance(0.4)}


def _events(
    dice: _Dice,
    nodes: list[NodePlan],
    late: tuple[NodePlan, ...],
    topics: int,
    duration: float,
    ending: str,
) -> list[Event]:
    names = [node.name for node in nodes]
    events: list[Event] = []

    def put(at: float, kind: EventKind, node: str = "", value: float = 0.0) -> None:
        if at < duration:
            events.append(
                Event(at=round(at, 3), kind=kind, node=node, value=value, foreign=dice.chance(0.4))
            )

    for node in late:
        at = dice.uniform(0, 0.7) * duration
        put(at, "add", node.name)
        names.append(node.name)
        if dice.chance(0.4):
            at += dice.uniform(0, 0.2) * duration
            put(at, "remove", node.name)
            if dice.chance(0.5):
                put(at + dice.uniform(0.05, 0.2) * duration, "add", node.name)
    for _ in range(dice.randint(0, 3)):
        put(dice.uniform(0, 1) * duration, "remove", dice.choice(names))
    for _ in range(dice.randint(0, 4)):
        at, name = dice.uniform(0, 1) * duration, dice.choice(names)
        put(at, "pause", name)
        if dice.chance(0.85):
            put(at + dice.uniform(0, 0.3) * duration, "resume", name)
    for _ in range(dice.randint(0, 4)):
        rates = [node.rate for node in nodes if node.rate is not None] or [1.0]
        hz = dice.about(dice.choice(rates))
        put(dice.uniform(0, 1) * duration, "set_rate", dice.choice(names), hz)
    for _ in range(dice.randint(1, 6)):
        topic = dice.randrange(topics)
        put(dice.uniform(0, 1) * duration, "burst", f"t{topic}", dice.choice([1, 5, 40, 200]))
    for _ in range(4):
        put(dice.uniform(0, 1) * duration, "look")
    for _ in range(dice.randint(0, 2)):
        put(dice.uniform(0, 1) * duration, "release")
    if dice.chance(0.3):
        at = dice.uniform(0, 0.9) * duration
        put(at, "emergency")
        if dice.chance(0.7):
            put(at + dice.uniform(0.02, 0.3) * duration, "reset")
    at = dice.uniform(0.2, 0.95) * duration
    match ending:
        case "signal":
            number = float(dice.choice([signal.SIGINT, signal.SIGTERM]))
            if dice.chance(0.15):
                put(at, "signals at once", value=number)
            else:
                put(at, "signal", value=number)
                if dice.chance(0.4):
                    put(at + dice.choice([0.001, 0.05, 0.2]), "signal", value=number)
        case "stop":
            put(at, "stop")
        case "cancel":
            put(at, "cancel")
        case _:
            pass
    return events
