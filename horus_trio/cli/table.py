"""A robot as a table that fits its terminal, or as one line."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import horus_trio as horus

from .console import Console
from .frame import Frame, NodeRow

__all__ = ["Table"]

WIDE = 108
"""Columns a terminal needs for all columns of the table."""

LONGEST_NAME = 24
"""Columns a node's name may take."""

NAMED = 8
"""Nodes and topics named in one line."""

_TICKING = frozenset(
    state.value
    for state in (
        horus.NodeState.RUNNING,
        horus.NodeState.WAITING_FOR_INPUT,
        horus.NodeState.WAITING_FOR_THREAD,
    )
)

_STYLES = {
    **dict.fromkeys(_TICKING, "green"),
    horus.NodeState.BACKING_OFF.value: "yellow",
    horus.NodeState.SUSPENDED.value: "yellow",
    horus.NodeState.SAFE.value: "yellow",
    horus.NodeState.STUCK.value: "red",
    horus.NodeState.FAILED.value: "red",
}


class Table:
    """Draws frames, and knows the rates between them.

    Arguments:
        console: Whose size and colours it has.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._earlier: collections.deque[Frame] = collections.deque()

    def observe(self, frame: Frame) -> None:
        """Take the newest frame; the others draw it."""
        earlier = self._earlier
        if earlier and frame.elapsed < earlier[-1].elapsed:
            earlier.clear()  # another run
        earlier.append(frame)
        while len(earlier) > 2 and frame.elapsed - earlier[1].elapsed >= 1.0:
            earlier.popleft()

    def rows(self, space: int) -> list[str]:
        """The header, the nodes and a line of totals, in at most `space` lines (4 or more).

        Where not all nodes have room, those that fare worst come first.
        """
        console, frame = self._console, self._earlier[-1]
        wide = console.size[0] >= WIDE
        nodes: Sequence[NodeRow] = frame.nodes
        hidden = len(nodes) - max(1, space - 3)
        more = []
        if hidden > 0:
            worst_first = sorted(nodes, key=_interest, reverse=True)
            nodes, others = worst_first[: -hidden - 1], worst_first[-hidden - 1 :]
            more = [console.styled(f"… and {len(others)} more", "dim")]
        width = min(LONGEST_NAME, max((len(node.name) for node in nodes), default=0))
        width = max(10, width + 2)
        header = f"{'node':<{width}}{'state':<21}{'rate':>9}{'ok':>8}{'failed':>8}{'missed':>8}"
        header += f"{'late p50/p99':>16}"
        if wide:
            header += f"{'restarts':>10}{'took p50/max':>18}"
        return [
            console.styled(header, "dim"),
            *(self._row(node, width, wide=wide) for node in nodes),
            *more,
            "",
            self._totals(frame),
        ]

    def summary(self) -> str:
        """One line: the time, and each node's rate, or its state if it does not tick."""
        frame = self._earlier[-1]
        words = [
            f"{node.name} {self._rate(node):.0f} Hz"
            if node.state in _TICKING
            else f"{node.name} {node.state}"
            for node in _few(frame.nodes)
        ]
        return f"{frame.elapsed:5.1f} s  " + _listed(words, len(frame.nodes))

    def _row(self, node: NodeRow, width: int, *, wide: bool) -> str:
        state = self._console.styled(f"{node.state:<21}", _STYLES.get(node.state, "dim"))
        name = node.name if len(node.name) < width else node.name[: width - 3] + "…"
        row = f"{name:<{width}}{state}{self._rate(node):>6.1f} Hz{node.ok:>8}{node.failed:>8}"
        row += f"{node.missed:>8}{_milliseconds(node.late_p50, node.late_p99):>16}"
        if wide:
            row += f"{node.restarts:>10}{_milliseconds(node.took_p50, node.took_max):>18}"
        return row

    def _rate(self, node: NodeRow) -> float:
        """Ticks a second over about the last second, or of the run when it is over, in Hz."""
        first, last = self._earlier[0], self._earlier[-1]
        if not last.running and last.elapsed > 0:
            return node.achieved
        seconds = last.elapsed - first.elapsed
        before = next((row for row in first.nodes if row.name == node.name), None)
        if before is None or seconds <= 0:
            return node.achieved
        return (node.ok - before.ok) / seconds

    def _totals(self, frame: Frame) -> str:
        words = [f"{topic} {sent}" for topic, sent in frame.sent.items()]
        sent = _listed(words[:NAMED], len(words)) or "none"
        text = f"messages: {sent}; threads left behind: {frame.left_behind or 'none'}"
        return text + (f"; the loop stood still {frame.stalls} x" if frame.stalls else "")


def _interest(node: NodeRow) -> tuple[int, bool, int]:
    return node.health, node.state not in _TICKING, node.failed


def _few(nodes: Sequence[NodeRow]) -> Sequence[NodeRow]:
    if len(nodes) <= NAMED:
        return nodes
    return sorted(nodes, key=_interest, reverse=True)[:NAMED]


def _listed(words: Sequence[str], number: int) -> str:
    return ", ".join(words) + (f", … and {number - len(words)} more" if number > len(words) else "")


def _milliseconds(*seconds: float) -> str:
    return "/".join(f"{1e3 * value:.1f}" for value in seconds) + " ms"
