"""What one supervised node does, as a sequential program over time, written from the promise.

The engine has tasks, mailboxes, alarms and threads. Here there is one story, told from ``init`` to
the end: each hook takes its time, a stop falls into it or does not, and a policy is a list and a
formula. Nothing of the engine is imported, so what both agree on was said twice.

No two things of a script fall due together: the grid is off all durations by 1/128 s, ticks by a
further 1/256 s, and stops by 1/1024 s. All of it is binary, so instants are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = [
    "BRIEF",
    "HELD_UP",
    "INIT_TIMEOUT",
    "NOTIFICATION",
    "PERIOD",
    "PHASE",
    "SHUTDOWN_TIMEOUT",
    "SIBLING_PHASE",
    "TICK",
    "TICK_TIMEOUT",
    "Act",
    "Breaker",
    "Course",
    "Kind",
    "Policy",
    "Restarts",
    "Script",
    "Unmodelled",
    "course_of",
]

Kind: TypeAlias = Literal["def", "async", "own"]
"""Of a node's hooks: ``def``, ``async def``, or ``def`` with ``thread="own"``."""

# All in seconds
PERIOD = 1 / 4
PHASE = 1 / 128
SIBLING_PHASE = 3 / 512
TICK = 1 / 16 + 1 / 256
"""How long an ordinary tick takes."""
BRIEF = 1 / 32
"""How long an ordinary ``init`` or ``shutdown`` takes."""
NOTIFICATION = 1 / 64
"""How long ``on_error`` and ``enter_safe_state`` take."""
TICK_TIMEOUT = 1 + 3 / 512
INIT_TIMEOUT = 1.25
SHUTDOWN_TIMEOUT = 0.75
GRACE = 0.5
"""What an ``async`` tick or ``init`` has to finish after a stop; a thread has SHUTDOWN_TIMEOUT."""
RETRY = 1.0
"""The pause before the next ``init`` where the policy has none."""

HELD_UP = 0.1
"""A critical node that is initialised and has not begun its ``shutdown`` so long after a stop was
asked for enters its safe state: its ``async`` tick is cancelled, a thread of it goes on."""


@dataclass(frozen=True, slots=True)
class Act:
    """What one call of a hook does: it takes so many seconds (infinity: it hangs), then ends."""

    seconds: float
    raises: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What befalls a node.

    Attributes:
        inits, ticks, shutdowns: Its calls, in order; those beyond are ordinary.
        stop: When the run is told to stop.
        cancels: Whether it is cancelled then instead.
        task_fails: When a background task, started by the first ``init``, raises; or None.
    """

    inits: tuple[Act, ...] = ()
    ticks: tuple[Act, ...] = ()
    shutdowns: tuple[Act, ...] = ()
    stop: float = 6 + 1 / 1024
    cancels: bool = False
    task_fails: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """`Restart`, restated."""

    most: int
    within: float | None
    backoff: float
    longest: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """`CircuitBreaker`, restated."""

    failures: int
    cooldown: float


Policy: TypeAlias = Literal["fatal", "ignore"] | Restarts | Breaker


@dataclass(slots=True, kw_only=True)
class Course:
    """What a run was like: predicted by `course_of`, or observed.

    Attributes:
        calls: Hooks and the instants at which they began; ticks with their numbers.
        state: The node's last state.
        counts: Its counters that are not 0, by name.
        failed: Whether it is among the report's failures, and what followed.
        ended: How the run ended.
        left: When the node was gone.
        duration: Seconds from the first grid point to the stop.
        busy: Whether ``shutdown`` was called beside a thread that was out.
        stragglers: The hooks whose threads had not returned at the end.
        hook_errors: The hooks whose errors the report lists.
        emergencies: Why critical nodes had to enter their safe states.
        sibling: How often the node beside it ticked, and when that one was shut down.
    """

    calls: list[tuple[str, float]] = field(default_factory=list)
    state: str = "STOPPED"
    counts: dict[str, int] = field(default_factory=dict)
    failed: Literal["no", "alone", "fatal"] = "no"
    ended: Literal["stopped", "failed", "cancelled"] = "stopped"
    left: float = 0.0
    duration: float = 0.0
    busy: bool = False
    stragglers: list[str] = field(default_factory=list)
    hook_errors: list[str] = field(default_factory=list)
    emergencies: list[str] = field(default_factory=list)
    sibling: tuple[int, float] = (0, 0.0)

    def instants(self, hook: str) -> list[float]:
        """When a hook was called."""
        return [instant for what, instant in self.calls if what.split()[0] == hook]

    def count(self, name: str, number: int = 1) -> None:
        """Count something."""
        if number:
            self.counts[name] = self.counts.get(name, 0) + number


class Unmodelled(Exception):
    """A background task fails while the node deals with another failure."""


class _Stopped(Exception):
    """The node was told to leave."""


class _Failed(Exception):
    """Its ``init`` has failed."""


class _Final(Exception):
    """The node has failed for good."""

    def __init__(self, *, fatal: bool) -> None:
        self.fatal = fatal


def course_of(
    policy: Policy,
    script: Script,
    *,
    kind: Kind,
    critical: bool = False,
    dice: Callable[[], float] = lambda: 0.5,
) -> Course:
    """Predict a run of one node and one sibling that does nothing but tick.

    Arguments:
        policy: The node's.
        script: What befalls it.
        kind: Of its hooks.
        critical: Whether its final failure is fatal.
        dice: The random numbers of the jitter.
    """
    return _Story(policy, script, kind, critical, dice).tell()


class _Story:
    def __init__(
        self,
        policy: Policy,
        script: Script,
        kind: Kind,
        critical: bool,
        dice: Callable[[], float],
    ) -> None:
        self.policy = policy
        self.script = script
        self.is_async = kind == "async"
        self.critical = critical
        self.dice = dice
        self.course = Course()
        self.now = 0.0
        self.epoch = math.nan
        self.stop = script.stop
        self.grid = 0
        """Index of the next grid point that may begin a tick."""
        self.ticks_begun = 0
        self.rests_until = -math.inf
        self.out: list[tuple[str, float]] = []
        """The threads that were left behind: in which hook, and when they return."""
        self.late_init: float | None = None
        """When an ``init`` that was given up succeeds; its thread then calls ``shutdown``."""
        self.made_safe = False
        self.live_since = math.nan
        """When the latest ``init`` succeeded."""
        self.task_fails = script.task_fails
        self.inits = _with_rest(script.inits, Act(BRIEF))
        self.ticks = _with_rest(script.ticks, Act(TICK))
        self.shutdowns = _with_rest(script.shutdowns, Act(BRIEF))
        # The policy
        self.failures: list[float] = []
        self.in_a_row = 0

    def tell(self) -> Course:
        course = self.course
        verdict = "stopped"
        try:
            while (pause := self.live()) is not None:
                self.wait(self.now + pause)
                self.wait_for_thread(patient=False)
                course.count("restarts")
        except _Stopped:
            pass
        except _Final as final:
            verdict = "fatal" if final.fatal or self.critical else "alone"
        left = course.left = self.now
        end = left if verdict == "fatal" else max(left, self.stop)
        if verdict != "stopped":
            course.state = "FAILED"
            course.failed = "fatal" if verdict == "fatal" else "alone"
        elif any(returns > end for _, returns in self.out):
            course.state = "STUCK"
        if verdict == "fatal":
            course.ended = "failed"
            course.emergencies.append("node 'node' failed for good")
            self.stop = min(self.stop, left)
        elif self.script.cancels:
            course.ended = "cancelled"
        course.stragglers = [hook for hook, returns in self.out if returns > end]
        if math.isnan(self.epoch):
            course.sibling = 0, self.stop
        else:
            course.duration = max(0.0, self.stop - self.epoch)
            points = sum(1 for _ in self.points(PHASE, until=min(self.stop, left)))
            course.count("ticks_released", points)
            course.count("missed", points - self.ticks_begun)
            sibling = sum(1 for _ in self.points(SIBLING_PHASE, until=self.stop))
            course.sibling = sibling, self.stop
        return course

    # One incarnation

    def live(self) -> float | None:
        """From one ``init`` to its ``shutdown``; the pause before the next one."""
        try:
            self.init()
        except _Failed:
            self.task_fails = None  # whatever it does: `init` has failed already
            return self.init_failed()
        pause: float | None = None
        try:
            pause = self.serve()
        except _Stopped:
            self.shut_down()
            raise
        except _Final:
            self.make_safe()
            self.shut_down()
            raise
        finally:
            self.task_fails = None  # it dies with this incarnation
        self.shut_down()
        if self.now > self.stop:
            raise _Stopped
        return pause

    def init(self) -> None:
        self.call("init")
        act, began = next(self.inits), self.now
        end, limit, last = began + act.seconds, began + INIT_TIMEOUT, self.last()
        self.now = min(end, limit, last)
        cut_short = self.task_cuts_in()
        if math.isnan(self.epoch) and self.now < self.stop:
            self.epoch = self.now
        if self.now < end and not self.is_async:
            returns = end
            if not act.raises:
                self.late_init = end
                returns = end + next(self.shutdowns).seconds
            self.out.append(("init", returns))
        if self.now == last:
            raise _Stopped  # cut short, no failure
        if cut_short:
            raise _Failed
        if self.now == limit or act.raises:
            self.course.count("failures")
            if self.now > self.stop:
                raise _Stopped
            raise _Failed
        self.live_since = self.now

    def init_failed(self) -> float:
        self.wait_for_thread()
        pause = self.judge()
        if pause is None:
            rests = self.rests_until - self.now
            self.rests_until = -math.inf
            return rests if rests > 0 else RETRY
        return pause

    def serve(self) -> float:
        """Tick until something ends it; the pause before the next ``init``."""
        while True:
            if self.now > self.stop:
                raise _Stopped
            begin = next(self.points(PHASE, since=max(self.now, self.rests_until)))
            if self.task_fails is not None and self.task_fails < min(begin, self.stop):
                self.now = self.task_fails
                self.task_cuts_in()
                return self.task_failed()
            self.wait(begin)
            pause = self.tick()
            if pause is not None:
                return pause

    def task_cuts_in(self) -> bool:
        """Whether a background task fails before now, and so ends what began before; then is now.

        After a stop it ends nothing any more.
        """
        fails = self.task_fails
        if fails is None or fails > self.now:
            return False
        self.task_fails = None
        self.course.count("failures")
        if fails > self.stop:
            return False
        self.now = fails
        return True

    def task_failed(self) -> float:
        self.wait_for_thread()
        pause = self.judge()
        if pause is None:  # the tasks are gone, so it begins anew all the same
            pause = max(0.0, self.rests_until - self.now)
            self.rests_until = -math.inf
        return pause

    def tick(self) -> float | None:
        """One tick; None if the next may follow, else the pause before the next ``init``."""
        self.ticks_begun += 1
        number = round((self.now - self.epoch - PHASE) / PERIOD) + 1
        self.grid = number
        self.call(f"tick {number}")
        act, began = next(self.ticks), self.now
        end, limit, last = began + act.seconds, began + TICK_TIMEOUT, self.last()
        if self.critical and self.is_async:
            last = self.stop + HELD_UP
        self.now = min(end, limit, last)
        if self.task_cuts_in():
            self.course.count("cancelled" if self.is_async else "abandoned")
            if not self.is_async:
                self.out.append(("tick", end))
            return self.task_failed()
        if self.now == end and not act.raises:
            self.course.count("ok")
            self.in_a_row = 0 if isinstance(self.policy, Breaker) else self.in_a_row
            return None
        if self.now == end:
            self.course.count("errors")
        elif not self.is_async:
            self.course.count("abandoned")
            self.out.append(("tick", end))
        elif self.now == limit:
            self.course.count("timed_out")
        else:
            self.course.count("cancelled")
            raise _Stopped  # no failure
        self.course.count("failures")
        self.wait_for_thread()
        if self.now > self.stop:
            raise _Stopped
        return self.judge()

    def shut_down(self) -> None:
        held_up = self.stop + HELD_UP
        if self.critical and not self.made_safe and self.live_since < held_up <= self.now:
            self.course.calls.append(("enter_safe_state", held_up))
            self.course.emergencies.append("the stop is held up")
            self.now = max(self.now, held_up + NOTIFICATION)
        if any(returns > self.now for _, returns in self.out):
            self.course.busy = True
        self.call("shutdown")
        act, began = next(self.shutdowns), self.now
        end, limit = began + act.seconds, began + SHUTDOWN_TIMEOUT
        self.now = min(end, limit)
        if self.now == limit and not self.is_async:
            self.out.append(("shutdown", end))
        if self.now == limit or act.raises:
            self.course.hook_errors = ["shutdown"]
            self.course.count("observer_errors")

    def make_safe(self) -> None:
        self.made_safe = True
        self.call("enter_safe_state")
        self.now += NOTIFICATION

    # The policy

    def judge(self) -> float | None:
        """Tell the node, ask the policy: a pause before the next ``init``, or None: go on."""
        self.call("on_error")
        self.now += NOTIFICATION
        self.refuse_task()
        if self.now > self.stop:
            raise _Stopped  # nobody is asked any more
        now, policy = self.now, self.policy
        roll = self.dice()
        if policy == "fatal":
            raise _Final(fatal=True)
        if policy == "ignore":
            return None
        if isinstance(policy, Breaker):
            self.in_a_row += 1
            if self.in_a_row >= policy.failures:
                self.rests_until = now + policy.cooldown
            return None
        stable = 60.0 if policy.within is None else policy.within
        calm = not self.failures or now - self.failures[-1] >= stable
        self.in_a_row = 1 if calm else self.in_a_row + 1
        self.failures.append(now)
        if policy.within is not None:
            recent = [t for t in self.failures if t > now - policy.within]
            if len(recent) > policy.most:
                raise _Final(fatal=False)
        pause = min(policy.longest, policy.backoff * 2.0 ** (self.in_a_row - 1))
        return pause * (1 + policy.jitter * (2 * roll - 1))

    # Time

    def call(self, what: str) -> None:
        self.course.calls.append((what, self.now))

    def points(
        self, phase: float, *, since: float = -math.inf, until: float = math.inf
    ) -> Iterator[float]:
        """The grid."""
        n = self.grid if since > -math.inf else 0
        while (point := self.epoch + phase + n * PERIOD) < until:
            if point > since:
                yield point
            n += 1

    def last(self) -> float:
        """Until when what begins now may go on, for the stop."""
        return self.stop + (GRACE if self.is_async else SHUTDOWN_TIMEOUT)

    def refuse_task(self) -> None:
        if self.task_fails is not None and self.task_fails < self.now:
            raise Unmodelled

    def wait(self, until: float) -> None:
        """Idle; a stop ends that at once."""
        if until > self.stop:
            self.now = max(self.now, self.stop)
            raise _Stopped
        self.now = until

    def wait_for_thread(self, *, patient: bool = True) -> None:
        """The thread that was left behind; at a stop it has its time, if anybody waits for it."""
        if not self.out:
            return
        _, returns = self.out[-1]
        self.now = max(self.now, min(returns, self.last() if patient else self.stop))
        if self.late_init is not None and self.late_init < self.now:
            self.course.calls.append(("shutdown", self.late_init))
            self.late_init = None
        self.refuse_task()
        if self.now >= self.stop:
            raise _Stopped
        self.out.clear()


def _with_rest(acts: tuple[Act, ...], rest: Act) -> Iterator[Act]:
    yield from acts
    while True:
        yield rest
