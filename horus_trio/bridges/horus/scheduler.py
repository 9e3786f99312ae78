"""HORUS's `Scheduler` and `run`: nodes on this engine, behind HORUS's blocking calls."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from ...errors import AlreadyRunning, RunFailed
from ...logs import OffLoopLogger
from ...policies import Fatal
from ...scheduler import Scheduler as EngineScheduler
from .adapters import adapter_for
from .config import SchedulerConfig
from .console import shown_logs
from .errors import HorusNotFoundError
from .node import Node
from .record import Record, RunClock
from .recordings import Recordings
from .refusals import Refused, is_number
from .registry import topics
from .statistics import CAPABILITIES, node_statistics, safety_statistics
from .stepping import Stepper
from .translation import engine_options
from .whereabouts import refuse_nested

__all__ = ["Scheduler", "around_run", "run"]

_log = OffLoopLogger(logging.getLogger("horus_trio.bridges.horus"))

HIGHEST_RATE = 10_000
"""Hz that `Scheduler.set_node_rate` takes, as HORUS."""

TURNS = 1 << 20
"""Engine orders to one of HORUS's: nodes of one order take turns as they were added."""

around_run: contextvars.ContextVar[Callable[[EngineScheduler], AbstractContextManager[object]]] = (
    contextvars.ContextVar("horus_trio_horus_around_run")
)
"""What is entered around each run of this context; the command line puts its socket there."""


class Scheduler(Recordings):
    """Runs HORUS nodes on this engine; every call blocks, or returns at once.

    Arguments:
        config: Stands for the arguments that it has values of, in place of them; or None.
        tick_rate: Hz by which `current_tick` counts; nodes have rates of their own.
        deterministic: Run one tick at a time in a fixed order, with virtual clock functions.
        watchdog_ms: Milliseconds after which a tick is given up, where its node says nothing else;
            0: 30 s for ticks in threads, none for ``async`` ones.
        name: For reports; None: ``Scheduler``.
        rt, blackbox_mb, recording, cores, max_deadline_misses, verbose, telemetry, net: Out of
            scope here: accepted, without effect, and reported by `degradations`.

    Attributes:
        engine: The engine's own scheduler, for what HORUS has no name for.

    Raises:
        ValueError: A value makes no sense.
    """

    def __init__(
        self,
        config: SchedulerConfig | None = None,
        *,
        tick_rate: float = 1000.0,
        rt: bool = False,
        deterministic: bool = False,
        blackbox_mb: int = 0,
        watchdog_ms: int = 0,
        recording: bool = False,
        name: str | None = None,
        cores: Sequence[int] | None = None,
        max_deadline_misses: int | None = None,
        verbose: bool = False,
        telemetry: str | None = None,
        net: bool = False,
    ) -> None:
        if config is not None:
            if not isinstance(config, SchedulerConfig):
                raise TypeError(f"Scheduler({config!r}): expected a SchedulerConfig, or None")
            tick_rate, watchdog_ms = config.tick_rate, config.watchdog_timeout_ms
            rt = config.memory_locking or config.rt_scheduling_class
            blackbox_mb, recording = config.black_box_size_mb, config.recording_enabled
            cores, telemetry = config.cpu_cores, config.telemetry_endpoint
        self.engine: EngineScheduler = EngineScheduler(
            tick_rate=tick_rate,
            name="Scheduler" if name is None else name,
            deterministic=deterministic,
        )
        self.engine._topics = topics  # HORUS's topics are those of the process
        self._tick_rate = tick_rate
        self._watchdog = watchdog_ms / 1000 if watchdog_ms > 0 else None
        self._clock = RunClock(deterministic)
        self._records: dict[str, Record] = {}
        self._stepper = Stepper(self.engine.name)
        self._added = 0
        self._has_run = False
        self._is_in_run = False
        self._is_over = False  # told to stop, or at the end of a run
        self._degradations: list[str] = []
        self._told = 0
        for option, value, neutral, instead in (
            ("rt", rt, False, "there are no real-time threads and no locked memory"),
            ("blackbox_mb", blackbox_mb, 0, "nothing is recorded"),
            ("recording", recording, False, "nothing is recorded"),
            ("cores", cores, None, "threads are not pinned to cores"),
            ("max_deadline_misses", max_deadline_misses, None, "misses are counted, no more"),
            ("verbose", verbose, False, "set HORUS_LOG_LEVEL=debug, or set up logging"),
            ("telemetry", telemetry, None, "nothing is exported; `horus-trio top` shows a run"),
            ("net", net, False, "topics stay in this process"),
        ):
            if value != neutral:
                self._degrade(f"Scheduler({option}={value!r}) has no effect: {instead}")

    def __repr__(self) -> str:
        return f"<horus.Scheduler {self.engine.name!r}, {len(self._records)} node(s)>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.engine.stop()
        self._stepper.shut_down()

    # Nodes

    def add(self, node: Node) -> Scheduler:
        """Add a node, also while running; returns the scheduler, so that calls can be chained.

        Raises:
            TypeError: It is no `Node`, or says something of a wrong type.
            Refused: It says something HORUS refuses, such as an unknown policy.
            ValueError: A budget or a deadline that can only be meant in microseconds.
            ConfigurationError: A name that is taken, or a value that makes no sense.
        """
        if not isinstance(node, Node):
            raise TypeError(
                f"Expected horus.Node instance, got {type(node).__name__}. "
                "Use horus.Node(tick=fn, rate=30, ...) to create nodes."
            )
        options = engine_options(node, self._watchdog)
        if isinstance(node.order, int):
            options["order"] = node.order * TURNS + self._added
        record = Record(node, self._clock, self._node_stops)
        self.engine.add(adapter_for(record), **options)
        self._added += 1
        self._records[node.name] = record
        for option in ("priority", "core"):
            value = getattr(node, option)
            if value is not None:
                self._degrade(
                    f"Node({node.name!r}, {option}={value!r}) has no effect: "
                    "there are no real-time threads"
                )
        return self

    def remove_node(self, node_name: str) -> bool:
        """Take a node out, also while running: it finishes, shuts down and is gone.

        Returns:
            Whether there was one of that name.
        """
        record = self._records.get(node_name)
        if record is None:
            return False
        self.engine.remove(node_name)
        del self._records[node_name]
        self._stepper.forget(record)
        return True

    def set_node_rate(self, node_name: str, rate: float) -> None:
        """Change a node's rate, in Hz; also while running.

        Raises:
            HorusNotFoundError: There is no such node.
            Refused: Not above 0 and at most 10 000 Hz.
        """
        record = self._record(node_name)
        if not 0 < rate <= HIGHEST_RATE:
            raise Refused(f"Rate must be between 0 and {HIGHEST_RATE} Hz")
        self.engine.set_rate(node_name, rate)
        record.set_rate(rate)

    def set_tick_budget(self, node_name: str, budget_us: int) -> None:
        """Change a node's budget, in microseconds.

        Raises:
            HorusNotFoundError: There is no such node.
            Refused: Not above 0.
        """
        record = self._record(node_name)
        if not 0 < budget_us < math.inf:
            raise Refused("budget must be positive and finite")
        record.budget = budget_us * 1e-6

    def add_critical_node(self, node_name: str, timeout_ms: int) -> None:
        """Make a node critical: its final failure ends the run, after every safe state.

        Without a ``failure_policy`` of its own, its first failure is final.

        Arguments:
            node_name: Of a node of this scheduler, which does not run.
            timeout_ms: Milliseconds after which a tick of it is given up, and has failed.

        Raises:
            HorusNotFoundError: There is no such node.
            AlreadyRunning: The scheduler runs.
        """
        record = self._record(node_name)
        if not 0 < timeout_ms < math.inf:
            raise Refused("timeout_ms must be positive and finite")
        options: dict[str, Any] = {"critical": True, "tick_timeout": timeout_ms / 1000}
        if record.node.failure_policy is None:
            options["failure_policy"] = Fatal()
        self.engine._change_options(node_name, options)

    # Running

    def run(self, duration: float | None = None) -> None:
        """Run the nodes; blocks until `stop`, a signal, or the end of `duration`.

        Arguments:
            duration: Seconds; 0 initialises and shuts down; None: until stopped.

        Raises:
            RunFailed: A failure was fatal, or a node could not be initialised.
            Refused: `duration` is negative, or it is called in a node or on a loop.
            AlreadyRunning: It runs.
        """
        refuse_nested("Scheduler.run()")
        if duration is not None:
            _check_duration(duration)
        self._run(duration)

    def tick_for(self, duration: float, node_names: Sequence[str] | None = None) -> None:
        """Run for some seconds.

        Arguments:
            duration: Seconds, above 0.
            node_names: The nodes that tick; the others are initialised and shut down. None: all.

        Raises:
            HorusNotFoundError: There is no such node.
            RunFailed, Refused, AlreadyRunning: As `run`.
        """
        refuse_nested("Scheduler.tick_for()")
        _check_duration(duration)
        if duration == 0:
            raise Refused("Duration must be positive")
        chosen = set(self._records if node_names is None else node_names)
        for name in chosen:
            self._record(name)
        resting = [name for name in self._records if name not in chosen]
        for name in resting:
            self.engine.pause(name)
        try:
            self._run(duration)
        finally:
            for name in resting:
                self.engine.resume(name)

    def tick_once(self, node_names: Sequence[str] | None = None) -> None:
        """Tick every node once, in its order, in this thread; initialises those that are not.

        `stop`, leaving the ``with`` block, and the end of the next run shut them down.

        Arguments:
            node_names: The nodes that tick; None: all.

        Raises:
            HorusNotFoundError: There is no such node.
            RunFailed: A failure was fatal.
            Refused: It is called in a node or on a loop.
            AlreadyRunning: It runs.
        """
        refuse_nested("Scheduler.tick_once()")
        if self._engine_runs:
            raise AlreadyRunning(f"scheduler {self.engine.name!r} runs: it ticks by itself")
        chosen = self._records if node_names is None else node_names
        records = sorted((self._record(name) for name in chosen), key=self._turn)
        if self._clock.started != self._clock.started:
            self._clock.started = time.perf_counter()
        with shown_logs():
            self._tell_degradations()
            self._stepper.step(
                (record, self.engine._member(record.node.name).options.failure_policy)
                for record in records
            )

    def stop(self) -> None:
        """Stop the run, from any thread; before the first run, that one ends at once."""
        self._is_over = True
        if self._engine_runs:
            self.engine.stop()
        elif not self._is_in_run:
            self._stepper.shut_down()

    def _run(self, duration: float | None) -> None:
        if self._has_run:
            self._is_over = False
        self._has_run = self._is_in_run = True
        self._clock.started = time.perf_counter()
        around = around_run.get(None)
        for record in self._records.values():
            record.init_error = None
            if record.node._horus_async:  # it lives on another loop in a run
                self._stepper.forget(record)
        try:
            with (
                shown_logs(),
                contextlib.nullcontext() if around is None else around(self.engine),
            ):
                self._tell_degradations()
                if self._is_over:
                    duration = 0
                report = self.engine.run(duration, task_status=_Started(self._started))
        finally:
            self._is_over, self._is_in_run = True, False
        errors = {r.node.name: r.init_error for r in tuple(self._records.values()) if r.init_error}
        if errors:
            text = f"{self.engine.name}: never initialised: {', '.join(map(repr, errors))}"
            raise RunFailed(text, list(errors.values()), report)

    def _started(self) -> None:
        """A stop may have come before there was a run to be stopped."""
        if self._is_over:
            self.engine.stop()

    def _node_stops(self) -> None:
        self._is_over = True
        self.engine.stop("a node requested it")

    # Looking at it

    def is_running(self) -> bool:
        """Whether nothing has told it to stop: as in HORUS, also before the first run.

        So ``while scheduler.is_running(): scheduler.tick_once()`` ends when a node requests it.
        """
        return self._engine_runs or not self._is_over

    @property
    def _engine_runs(self) -> bool:
        return self.engine._run_state is not None

    def status(self) -> str:
        """``idle`` before the first run, then ``running`` or ``stopped``."""
        if self._engine_runs:
            return "running"
        return "stopped" if self._is_over else "idle"

    def current_tick(self) -> int:
        """Periods of `tick_rate` since the start of the latest run, and calls of `tick_once`."""
        return self._stepper.steps + int(self.engine.statistics().elapsed * self._tick_rate)

    def scheduler_name(self) -> str:
        """Its name."""
        return self.engine.name

    def has_node(self, node_name: str) -> bool:
        """Whether there is a node of that name."""
        return node_name in self._records

    def get_node_names(self) -> list[str]:
        """The names of its nodes, as they were added."""
        return list(self._records)

    def get_node_count(self) -> int:
        """How many nodes it has."""
        return len(self._records)

    def get_node_info(self, node_name: str) -> int | None:
        """The order of a node, or None."""
        record = self._records.get(node_name)
        return None if record is None else record.node.order

    def get_node_stats(self, node_name: str) -> dict[str, Any]:
        """A node's counters, also while it runs.

        Raises:
            HorusNotFoundError: There is no such node.
        """
        return node_statistics(self._record(node_name))

    def get_all_nodes(self) -> list[dict[str, Any]]:
        """The counters of all nodes, as they were added."""
        return [node_statistics(record) for record in tuple(self._records.values())]

    def safety_stats(self) -> dict[str, Any] | None:
        """What went beyond its time in the latest run; None before the first."""
        if not self._has_run:
            return None
        emergency = self.engine.emergency
        return safety_statistics(
            self.engine.statistics(),
            tuple(self._records.values()),
            in_emergency=emergency is not None and emergency.active,
        )

    def capabilities(self) -> dict[str, Any]:
        """What is used of a real-time kernel: nothing."""
        return dict(CAPABILITIES)

    def has_full_rt(self) -> bool:
        """False: nothing here is real-time."""
        return False

    def degradations(self) -> list[str]:
        """What was asked for and has no effect here."""
        return list(self._degradations)

    def _degrade(self, text: str) -> None:
        self._degradations.append(text)

    def _tell_degradations(self) -> None:
        for text in self._degradations[self._told :]:
            _log.warning("%s", text)
        self._told = len(self._degradations)

    def _record(self, name: str) -> Record:
        try:
            return self._records[name]
        except KeyError:
            raise HorusNotFoundError(f"Node '{name}' not found") from None

    def _turn(self, record: Record) -> int:
        return self.engine._member(record.node.name).options.order


class _Started:
    """A `trio.TaskStatus` that calls a function."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def started(self, value: None = None) -> None:
        """Every node is initialised, or handed to its policy."""
        self._function()


def run(
    *nodes: Node,
    duration: float | None = None,
    tick_rate: float = 1000.0,
    rt: bool = False,
    deterministic: bool = False,
    watchdog_ms: int = 0,
    blackbox_mb: int = 0,
    recording: bool = False,
    name: str | None = None,
    cores: Sequence[int] | None = None,
    max_deadline_misses: int | None = None,
    verbose: bool = False,
    telemetry: str | None = None,
    net: bool = False,
) -> None:
    """Run nodes; blocks. The arguments are those of `Scheduler` and `Scheduler.run`.

    Raises:
        RunFailed: A failure was fatal, or a node could not be initialised.
    """
    scheduler = Scheduler(
        tick_rate=tick_rate,
        rt=rt,
        deterministic=deterministic,
        watchdog_ms=watchdog_ms,
        blackbox_mb=blackbox_mb,
        recording=recording,
        name=name,
        cores=cores,
        max_deadline_misses=max_deadline_misses,
        verbose=verbose,
        telemetry=telemetry,
        net=net,
    )
    for node in nodes:
        scheduler.add(node)
    scheduler.run(duration)


def _check_duration(duration: float) -> None:
    if not is_number(duration):
        raise TypeError(f"duration={duration!r}: expected a number of seconds, or None")
    if not duration >= 0:
        raise Refused("Duration must be positive")
