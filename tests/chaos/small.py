"""A small robot by hand, in which most things happen within six seconds."""

from __future__ import annotations

from .plan import Event, Input, NodePlan, Plan, Policy

__all__ = ["SMALL"]

FAILS = Policy(kind="breaker", count=2)
SMALL = Plan(
    seed=4,
    virtual=True,
    duration=6.0,
    tokens=2,
    max_abandoned=1,
    stop_timeout=2.0,
    deterministic=False,
    topics=("t0",),
    nodes=(
        NodePlan(
            name="slow",
            kind="pool",
            rate=5.0,
            tick_timeout=0.1,
            policy=Policy(kind="restart for ever", backoff=0.1),
            outputs=("t0",),
            tick={"raise": 0.2, "hang": 0.1},
        ),
        NodePlan(
            name="steady",
            kind="async",
            rate=10.0,
            policy=Policy(kind="ignore"),
            critical=True,
            inputs=(Input(topic="t0", capacity=4, overflow="DROP_OLDEST"),),
            outputs=("t0",),
            tick={"delay": 0.5},
            safe_state="def",
        ),
        NodePlan(name="fails", kind="own", rate=2.0, policy=FAILS, tick={"raise": 0.3}),
    ),
    late=(NodePlan(name="late", kind="async", rate=4.0, policy=Policy(kind="ignore")),),
    events=(
        Event(at=1.0, kind="add", node="late"),
        Event(at=1.5, kind="burst", node="t0", value=5),
        Event(at=2.0, kind="pause", node="steady", foreign=True),
        Event(at=2.5, kind="resume", node="steady"),
        Event(at=3.0, kind="set_rate", node="steady", value=20.0),
        Event(at=4.0, kind="release"),
        Event(at=5.0, kind="emergency"),
        Event(at=5.5, kind="reset"),
    ),
)
