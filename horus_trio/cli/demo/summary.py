"""What the demo has shown, as values, as text and as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import horus_trio as horus

from ..console import Console
from .naive import NaiveOutcome
from .robot import Imu

__all__ = ["BlackBoxCheck", "LineTally", "Summary", "count_rows"]


class LineTally(NamedTuple):
    """What has happened on the inertial sensor's line so far."""

    accepted: int
    rejected: int
    hang_ups: int
    connections: int

    @classmethod
    def of(cls, imu: Imu) -> LineTally:
        """Read a node's counters."""
        parser = imu.parser
        return cls(parser.accepted, parser.rejected, imu.hang_ups, imu.connections)

    def since(self, earlier: LineTally) -> LineTally:
        """What has happened since then."""
        return LineTally(*(now - then for now, then in zip(self, earlier, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackBoxCheck:
    """The file against the node that wrote it.

    Attributes:
        path: The SQLite file.
        rows: Rows that are in it.
        acknowledged: Rows whose transaction the node has seen committed.
        problem: Why the rows could not be counted, or None.
    """

    path: str
    rows: int
    acknowledged: int
    problem: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether the file holds exactly what was acknowledged."""
        return self.problem is None and self.rows == self.acknowledged


def count_rows(path: Path, acknowledged: int) -> BlackBoxCheck:
    """Open the file anew and count."""
    problem = None
    rows = 0
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as database:
            [[rows]] = database.execute("SELECT count(*) FROM messages")
    except sqlite3.Error as error:
        problem = str(error)
    return BlackBoxCheck(path=str(path), rows=rows, acknowledged=acknowledged, problem=problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The demo's result.

    Attributes:
        report: The run's report.
        error: What made the run fail, or None.
        naive: How the same nodes fared in one loop.
        line: What happened on the inertial sensor's line during the run.
        failures: How often each node failed in a tick, by node and by what it said.
        casualties: Processes of the world that died, as sentences.
        black_box: The file against its writer.
    """

    report: horus.RunReport
    error: str | None
    naive: NaiveOutcome
    line: LineTally
    failures: Mapping[tuple[str, str], int]
    casualties: tuple[str, ...]
    black_box: BlackBoxCheck

    @property
    def control(self) -> horus.NodeStatistics:
        """The control loop's counters."""
        return self.report.statistics.nodes["control"]

    @property
    def problems(self) -> list[str]:
        """What is wrong with the result; nothing, if the demo has shown what it promises."""
        found = [] if self.error is None else [f"the run failed: {self.error}"]
        found += [
            f"node {failure.node} failed for good: {failure.error}"
            for failure in self.report.failed
        ]
        found += [text.rstrip().splitlines()[-1] for text in self.report.hook_errors]
        box = self.black_box
        if box.problem is not None:
            found.append(f"the black box cannot be read: {box.problem}")
        elif not box.agrees:
            found.append(
                f"the black box holds {box.rows} rows, but {box.acknowledged} were acknowledged"
            )
        return found

    @property
    def exit_code(self) -> int:
        """1 if something is wrong; 128 + n if signal n had to force the end; else 0."""
        if self.report.forced_by:
            return 128 + signal.Signals[self.report.forced_by]
        return 1 if self.problems else 0

    @property
    def hung_ticks(self) -> dict[str, int]:
        """How many ticks each node left behind in a thread; only nodes that did."""
        nodes = self.report.statistics.nodes.values()
        return {node.name: node.abandoned for node in nodes if node.abandoned}

    def causes(self, node: str) -> dict[str, int]:
        """How often a node's ticks failed, by what it said."""
        return {said: count for (name, said), count in self.failures.items() if name == node}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        control = self.control
        return {
            "ok": not self.problems,
            "problems": self.problems,
            "ended": self.report.reason,
            "seconds": self.report.duration,
            "control": {
                "rate": control.achieved_rate,
                "ticks": control.ok,
                "releases": control.ticks_released,
                "missed": control.missed,
            },
            "naive": dataclasses.asdict(self.naive) | {"rate": self.naive.rate},
            "survived": {
                "frames_accepted": self.line.accepted,
                "frames_rejected": self.line.rejected,
                "hang_ups": self.line.hang_ups,
                "connections": self.line.connections,
                "http_failures": self.causes("weather"),
                "hung_ticks": self.hung_ticks,
            },
            "casualties": list(self.casualties),
            "black_box": {
                "path": self.black_box.path,
                "rows": self.black_box.rows,
                "acknowledged": self.black_box.acknowledged,
            },
            "report": self.report.to_dict(),
        }

    def write(self, console: Console) -> None:
        """Say it in words."""
        for title, paragraph in (
            ("The control loop, made for 100 Hz", self._control_lines()),
            ("What failed, and was survived", self._survived_lines()),
            ("The black box", self._black_box_lines()),
        ):
            console.line()
            console.line(console.styled(title, "bold"))
            for line in paragraph:
                console.line(f"  {line}")
        console.line()
        for problem in self.problems:
            console.line(console.styled(f"WRONG: {problem}", "red"))
        for warning in self.report.warnings:
            console.line(console.styled(f"note: {warning}", "dim"))
        console.line(f"The run ended: {self.report.reason}.")

    def _control_lines(self) -> Iterator[str]:
        control, naive = self.control, self.naive
        yield (
            f"in horus_trio     {control.achieved_rate:6.1f} Hz   {control.ok} of "
            f"{control.ticks_released} ticks in {self.report.duration:.1f} s"
        )
        yield (
            f"in a naive loop   {naive.rate:6.1f} Hz   {naive.rounds} ticks in "
            f"{naive.seconds:.1f} s"
            + (f", then it hung in {naive.stuck_in}" if naive.stuck_in else "")
        )

    def _survived_lines(self) -> Iterator[str]:
        line = self.line
        yield (
            f"imu        {line.rejected} of {line.accepted + line.rejected} frames were corrupted, "
            "noticed and rejected"
        )
        if line.hang_ups:
            back = max(0, line.connections - 1)
            fate = "connected again" if back >= line.hang_ups else "not connected again"
            restarts = self.report.statistics.nodes["imu"].restarts
            yield (
                f"           its line hung up {_times(line.hang_ups)}; {fate} "
                f"after {_count(restarts, 'attempt')}"
            )
        causes = self.causes("weather")
        requests = self.report.statistics.nodes["weather"]
        asked = requests.ok + requests.errors
        yield f"weather    {sum(causes.values())} of {asked} requests failed"
        for said, count in causes.items():
            yield f"             {count} x {said}"
        for node, number in self.hung_ticks.items():
            yield (
                f"{node:<9}  stopped answering: {_count(number, 'hung tick')} left behind, "
                "the others ran on"
            )
        for casualty in self.casualties:
            yield f"world      {casualty}; the robot ran on"

    def _black_box_lines(self) -> Iterator[str]:
        box = self.black_box
        yield box.path
        verdict = "equal" if box.agrees else "NOT EQUAL"
        yield f"{box.rows} rows in the file, {box.acknowledged} acknowledged by its node: {verdict}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
