"""A profile as text: shares, one tick in milliseconds, the pool, and the hints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import ProfileReport, Times

__all__ = ["draw"]

NARROWEST = 72
"""Columns that all but the names need."""

LONGEST_NAME = 32
"""Columns a node's name may take."""

FIGURES = 60
"""Columns of the figures beside the names."""


def draw(report: ProfileReport, columns: int) -> Iterator[str]:
    """The lines of a report."""
    columns = max(columns, NARROWEST)
    longest = max((len(node.name) for node in report.nodes), default=0)
    width = min(max(longest + 2, 8), LONGEST_NAME, columns - FIGURES)
    yield f"where {report.elapsed:.2f} s went: waiting for the loop or a thread, running, awaiting"
    yield (
        f"{'node':<{width}}{'in':<9}{'ticks':>9}{'loop':>8}{'thread':>8}{'runs':>8}{'awaits':>8}"
        f"{'cpu':>8}"
    )
    for node in report.nodes:
        parts = (node.late, node.waiting, node.running, node.awaiting)
        shares = "".join(f"{_percent(times.share):>8}" for times in parts)
        cpu = "-" if node.cpu is None else _percent(node.cpu)
        yield f"{_cut(node.name, width)}{node.where:<9}{node.ticks:>9}{shares}{cpu:>8}"
    yield ""
    yield "one tick in ms, p50/p99/max; a step on the loop blocks it"
    names = ("thread", "runs", "awaits", "step")
    yield f"{'node':<{width}}" + "".join(f"{name:>15}" for name in names)
    for node in report.nodes:
        on_loop = node.where == "loop"
        cells = (
            _ms(node.waiting, known=not on_loop),
            _ms(node.running),
            _ms(node.awaiting, known=on_loop),
            _ms(node.step, known=on_loop),
        )
        yield _cut(node.name, width) + "".join(f"{cell:>15}" for cell in cells)
    yield ""
    pool = report.pool
    yield from _wrapped(
        f"pool: {pool.taken:.1f} of {pool.tokens:g} tokens were taken on average, all of them "
        f"{_percent(pool.saturation)} of the time; {pool.waiting:.1f} calls waited for one; "
        f"threads left behind: {pool.abandoned or 'none'}",
        columns,
    )
    for hint in report.hints:
        yield from _wrapped(f"HINT {hint}", columns)


def _cut(name: str, width: int) -> str:
    return f"{name if len(name) < width else name[: width - 2] + '…':<{width}}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _ms(times: Times, *, known: bool = True) -> str:
    if not known:
        return "-"
    return "/".join(_figure(1e3 * seconds) for seconds in (times.p50, times.p99, times.max))


def _figure(ms: float) -> str:
    return f"{ms:.2f}" if ms < 9.995 else f"{ms:.0f}"


def _wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(text, columns, subsequent_indent="    ", break_on_hyphens=False)
