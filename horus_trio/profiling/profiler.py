"""`Profiler`: attaches to a scheduler, measures its runs, and reports."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO, cast

import trio

from ..arguments import is_whole
from ..errors import AlreadyRunning, ConfigurationError, NotRunning
from ..executor import AsyncIOExecutor
from ..node import Hooks
from ..scheduler import Scheduler
from .dressing import dress_hooks
from .hints import hints_for
from .report import NodeProfile, PoolProfile, ProfileReport, profile_of
from .tokens import MeteredLimiter
from .trace import write_trace
from .track import Track, Watch

__all__ = ["Profiler"]

LEAST_KEPT = 16
"""Hooks that are kept of each node, however many nodes share the memory."""


class Profiler:
    """Measures where the time of a scheduler's nodes goes, in the runs that begin while inside::

        with Profiler(scheduler) as profiler:
            scheduler.run(10)
        print(profiler.report())
        profiler.write_trace("robot.json")

    It holds one run, the present or the latest one. Everything is in seconds on the run's clock:
    on a virtual clock awaiting and waiting are exact and code takes no time, save ``cpu``, which
    is a processor's. What a step or a ``def`` tick takes includes the time for which it waits for
    the interpreter's lock and for a processor.

    Arguments:
        scheduler: Whose runs to measure.
        keep: Hooks whose instants are kept, for percentiles and the trace, of all nodes together;
            each node keeps its latest ones. One takes 30 to 150 bytes on the loop, about 500 in a
            thread. Sums know of all hooks.

    Raises:
        ConfigurationError: `scheduler` is none, or `keep` is no number above 0.
    """

    def __init__(self, scheduler: Scheduler, *, keep: int = 100_000) -> None:
        if not isinstance(scheduler, Scheduler):
            raise ConfigurationError(
                f"Profiler({scheduler!r}): expected the horus_trio.Scheduler to measure"
            )
        if not is_whole(keep, 1):
            raise ConfigurationError(f"Profiler(keep={keep!r}): expected a whole number above 0")
        self._scheduler = scheduler
        self._keep = keep
        self._attached = False
        self._run: _ProfiledRun | None = None

    def __repr__(self) -> str:
        state = "attached" if self._attached else "not attached"
        if self._run is not None:
            state += f", {self._run.ticks} tick(s) of a run"
        return f"<Profiler of {self._scheduler.name!r}, {state}>"

    def __enter__(self) -> Self:
        """Attach.

        Raises:
            AlreadyRunning: The scheduler runs, or a profiler is attached to it.
        """
        name = self._scheduler.name
        if self._scheduler._run_state is not None:
            raise AlreadyRunning(
                f"scheduler {name!r} runs already, and hooks are dressed when a run begins; attach "
                "the profiler before it"
            )
        if self._scheduler._profile is not None:
            raise AlreadyRunning(
                f"scheduler {name!r} has a profiler already; leave its `with` block first"
            )
        self._scheduler._profile = self._begin
        self._attached = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._scheduler._profile = None
        self._attached = False

    def report(self) -> ProfileReport:
        """Where the time went, so far if the run still goes on; any thread.

        Raises:
            NotRunning: No run has begun while it was attached.
        """
        return self._measured().report()

    def write_trace(self, file: str | os.PathLike[str] | TextIO) -> None:
        """Write the hooks that are kept as a trace which ``ui.perfetto.dev`` opens; any thread.

        It is JSON in the trace event format: a track a node, and one for the tokens of the pool.

        Arguments:
            file: Its path, or an open text file.

        Raises:
            NotRunning: No run has begun while it was attached.
            OSError: It cannot be written.
        """
        run = self._measured()
        if isinstance(file, str | os.PathLike):
            with Path(file).open("w", encoding="utf-8") as opened:
                run.write(opened)
        else:
            run.write(file)

    def _measured(self) -> _ProfiledRun:
        if self._run is None:
            raise NotRunning(
                f"scheduler {self._scheduler.name!r} has not run while the profiler was attached; "
                "run it inside `with Profiler(scheduler) as profiler:`"
            )
        return self._run

    @contextlib.contextmanager
    def _begin(self, executor: AsyncIOExecutor) -> Iterator[None]:
        """A run begins, none of its nodes has its seat yet; on leaving it is over."""
        run = self._run = _ProfiledRun(self._scheduler, executor, self._keep)
        try:
            yield
        finally:
            run.close()


class _ProfiledRun:
    """What is measured of one run."""

    def __init__(self, scheduler: Scheduler, executor: AsyncIOExecutor, keep: int) -> None:
        self._scheduler = scheduler
        self._name = scheduler.name
        self._executor = executor
        self._clock: Callable[[], float] = executor.clock
        self._begun = self._clock()
        self._watch = Watch.of(trio.lowlevel.current_clock())
        self._share = max(LEAST_KEPT, keep // max(1, len(scheduler._members)))
        self._tracks: dict[str, Track] = {}
        self._last: ProfileReport | None = None
        self._tokens = MeteredLimiter(executor.pool.limiter, self._clock, keep)
        executor.pool.limiter = cast(trio.CapacityLimiter, self._tokens)
        dress = executor.dress
        executor.dress = lambda name, hooks: self._dress(name, dress(name, hooks))

    @property
    def ticks(self) -> int:
        return sum(track.look()[0].ticks for track in self._tracks.copy().values())

    def _dress(self, name: str, hooks: Hooks) -> Hooks:
        track = self._tracks.get(name)
        if track is None:
            member = self._scheduler._members[name]
            where = "loop" if hooks.tick.is_async else member.options.thread
            track = self._tracks[name] = Track(
                self._executor, name, where, self._share, self._watch
            )
        track.renew()
        return dress_hooks(track, hooks, self._clock)

    def report(self) -> ProfileReport:
        if self._last is not None:
            return self._last
        elapsed = self._scheduler.statistics().elapsed
        taken, waiting, full = self._tokens.seconds(self._clock())
        since = self._clock() - self._begun
        nodes: list[NodeProfile] = []
        dropped = abandoned = 0
        for track in self._tracks.copy().values():
            sums, kept = track.look()
            node = profile_of(track.name, track.where, sums, kept, elapsed)
            nodes.append(dataclasses.replace(node, hints=hints_for(node)))
            abandoned += track.left_behind
            dropped += sums.ticks + sums.hooks - len(kept)
        return ProfileReport(
            name=self._name,
            elapsed=elapsed,
            nodes=tuple(nodes),
            pool=PoolProfile(
                tokens=self._tokens.total_tokens,
                taken=taken / since if since > 0 else 0.0,
                saturation=full / since if since > 0 else 0.0,
                waiting=waiting / since if since > 0 else 0.0,
                abandoned=abandoned,
            ),
            dropped=dropped,
        )

    def write(self, file: TextIO) -> None:
        tracks = list(self._tracks.copy().values())
        write_trace(file, self._name, self._begun, tracks, self._tokens)

    def close(self) -> None:
        """The run is over; what is out stays out."""
        now = self._clock()
        for track in self._tracks.values():
            track.leave_behind(now)
        self._last = self.report()
