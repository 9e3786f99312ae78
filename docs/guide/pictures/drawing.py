"""`draw`: a recording as a picture, a lane for each hook of each node over one axis of time.

Outcomes differ in shape as well as in colour. What is to be seen is also written out in order, in
the picture's description, for those who listen to the page.
"""

from __future__ import annotations

import itertools

from canvas import RIGHT, Canvas
from recording import Mark, Recording, Span

import horus_trio as horus
from horus_trio import TickStatus

__all__ = ["draw"]

TOP = 62.0
"""Where the lanes begin, below title and caption."""

HOOKS = ("init", "tick", "thread", "enter_safe_state", "shutdown")
"""The lanes of a node, from the top; one in which nothing happens is left out."""

LANE, TICKS, HEAD, FOOT = 22.0, 36.0, 26.0, 28.0
"""Heights: of a lane, of the one with ticks and their releases, of a node's head, of the axis."""

STATES = {"backing off": "wait", "suspended": "wait", "stuck": "late", "failed": "error"}
"""The states that are shown, and their colours."""

OUTCOMES = {
    TickStatus.OK: "ok",
    TickStatus.ERROR: "error",
    TickStatus.TIMED_OUT: "late",
    TickStatus.ABANDONED: "late",
    TickStatus.CANCELLED: "cancelled",
}

ROOM = 60.0
"""Width of a bar that has room for the name of an outcome."""

WORDS = {"error": 30.0, "ok": 15.0, "missed": 40.0, "release": 39.0}
"""Widths of the words of the legend, about."""


def draw(recording: Recording, title: str, caption: str) -> str:
    """The picture of a recording, as the text of an SVG file."""
    canvas = Canvas(recording.seconds)
    canvas.text("title", 18, 27, title)
    canvas.text("caption", 18, 46, caption)
    _draw_legend(canvas, recording)
    top = TOP if recording.stopped is None else TOP + 18
    heads = [top]
    for node in recording.nodes:
        heads.append(heads[-1] + HEAD + sum(_lanes(recording, node).values()) + 4)
    bottom = heads[-1]
    _draw_axis(canvas, recording.seconds, top, bottom)
    if recording.stopped is not None:
        _draw_stop(canvas, recording, recording.stopped, top, bottom)
    for node, head in zip(recording.nodes, heads, strict=False):
        _draw_node(canvas, recording, node, head)
    return canvas.svg(bottom + FOOT, title, describe(recording))


def _lanes(recording: Recording, node: str) -> dict[str, float]:
    """The lanes of a node, by name, and their heights."""
    used = {"tick"} | {span.what for span in recording.hooks if span.node == node}
    lanes = {hook: TICKS if hook == "tick" else LANE for hook in HOOKS if hook in used}
    marks = {mark.what for mark in recording.marks if mark.node == node}
    if marks & {"sent", "refused"}:
        lanes[recording.topic] = LANE
    if "logged" in marks:
        lanes["log"] = LANE
    return lanes


def _draw_axis(canvas: Canvas, seconds: float, top: float, bottom: float) -> None:
    for half in range(int(seconds * 2) + 1):
        x, time = canvas.x(half / 2), half / 2
        canvas.line("grid", x, top, x, bottom)
        canvas.text(
            "small", x, bottom + 16, f"{time:g} s" if time % 1 == 0 else f"{time:g}", "middle"
        )


def _draw_node(canvas: Canvas, recording: Recording, node: str, top: float) -> None:
    lanes = _lanes(recording, node)
    bottom = top + HEAD + sum(lanes.values())
    canvas.line("grid", 18, top, RIGHT, top)
    canvas.text("node", 18, top + 18, node)
    for state in recording.states:
        if state.node == node and state.what in STATES:
            _draw_state(canvas, state, top, bottom)
    y = top + HEAD
    for lane, height in lanes.items():
        canvas.text("lane", 30, y + (26 if lane == "tick" else 15), lane)
        if lane == "tick":
            _draw_ticks(canvas, recording, node, y)
        for span in recording.hooks:
            if span.node == node and span.what == lane:
                _draw_hook(canvas, recording, span, y + 4)
        for mark in recording.marks:
            if mark.node == node and lane == ("log" if mark.what == "logged" else recording.topic):
                _draw_mark(canvas, mark, y + 11)
        y += height


def _draw_state(canvas: Canvas, state: Span, top: float, bottom: float) -> None:
    kind = STATES[state.what]
    canvas.bar(f"{kind} band", state.start, state.end, top + 5, bottom - top - 5)
    canvas.bar(f"{kind} state", state.start, state.end, top + 5, 18)
    canvas.bar("hatched", state.start, state.end, top + 5, 18)
    text = state.what
    if text != "failed":  # which has no end
        text += f" {state.end - state.start:.3g} s"
    middle = (canvas.x(state.start) + canvas.x(state.end)) / 2
    canvas.text("small label", middle, top + 18, text, "middle")


def _draw_ticks(canvas: Canvas, recording: Recording, node: str, top: float) -> None:
    dots, bars = top + 7, top + 16
    for tick in recording.ticks:
        if tick.node != node:
            continue
        end = tick.started + tick.duration
        kind = OUTCOMES[tick.status]
        if tick.lateness > 1e-6:
            canvas.line("lead", canvas.x(tick.scheduled), dots, canvas.x(tick.started) + 0.5, bars)
        canvas.dot("release", canvas.x(tick.scheduled), dots)
        canvas.bar(kind, tick.started, end, bars, 15)
        middle = (canvas.x(tick.started) + canvas.x(end)) / 2
        if tick.status is TickStatus.ERROR:
            canvas.cross(middle, bars + 7.5)
        elif tick.status is not TickStatus.OK and canvas.x(end) - canvas.x(tick.started) > ROOM:
            canvas.text("inside", middle, bars + 11.5, tick.status.value, "middle")
    for mark in recording.marks:
        if mark.node == node and mark.what == "missed":
            canvas.dot("missed", canvas.x(mark.time), dots)


def _draw_hook(canvas: Canvas, recording: Recording, span: Span, y: float) -> None:
    left = span.end
    if span.what == "thread":
        left = _abandoned_at(recording.ticks, span)
    kind = "safe" if span.what == "enter_safe_state" else "hook"
    canvas.bar(kind, span.start, left, y, 14)
    if left < span.end:
        canvas.bar("late ghost", left, span.end, y, 14)
        canvas.bar("hatched", left, span.end, y, 14)
        middle = (canvas.x(left) + canvas.x(span.end)) / 2
        canvas.text("small label", middle, y + 11, "left behind", "middle")


def _abandoned_at(ticks: tuple[horus.AsyncResult, ...], thread: Span) -> float:
    """When the tick that runs in a thread was settled, if that was before the thread's end."""
    return min(
        tick.started + tick.duration
        for tick in ticks
        if tick.node == thread.node and tick.started == thread.start
    )


def _draw_mark(canvas: Canvas, mark: Mark, y: float) -> None:
    x = canvas.x(mark.time)
    if mark.what == "refused":
        canvas.cross(x, y, "refused", 3.5)
        canvas.text("small label", x + 8, y + 4, f"“{mark.text}” refused")
    elif mark.what == "sent":
        canvas.dot("hook", x, y, 3.5)
        canvas.text("small label", x + 6, y + 4, mark.text)
    elif mark.what == "logged":
        canvas.dot("wait", x, y, 3.5)
        canvas.text("small label", x + 8, y + 4, mark.text.partition(" (")[0])


def _draw_stop(
    canvas: Canvas, recording: Recording, stopped: float, top: float, bottom: float
) -> None:
    over = max([stopped, *(span.end for span in recording.hooks)])
    for kind, time in (("stop", stopped), ("end", over)):
        canvas.line(kind, canvas.x(time), top - 6, canvas.x(time), bottom)
    canvas.text("small", canvas.x(stopped) - 6, top - 4, f"stop: {recording.reason}", "end")
    canvas.text("small", canvas.x(over) + 6, top - 4, "end of the run")


def _draw_legend(canvas: Canvas, recording: Recording) -> None:
    """What the marks mean, from the right; an outcome whose name is in its bar needs none."""
    statuses = {tick.status for tick in recording.ticks}
    x = RIGHT
    for status in (TickStatus.ERROR, TickStatus.OK):
        if status in statuses:
            canvas.text("small", x, 46, status.value, "end")
            x -= WORDS[status.value] + 10
            canvas.dot(OUTCOMES[status], x, 42, 5)
            if status is TickStatus.ERROR:
                canvas.cross(x, 42, arm=2)
            x -= 18
    missed = any(mark.what == "missed" for mark in recording.marks)
    for kind in ("missed", "release") if missed else ("release",):
        canvas.text("small", x, 46, kind, "end")
        x -= WORDS[kind] + 8
        canvas.dot(kind, x, 42)
        x -= 16


def describe(recording: Recording) -> str:
    """What happened, in words, in order."""
    texts = [f"Node {node}: {'; '.join(_events(recording, node))}." for node in recording.nodes]
    if recording.stopped is not None:
        texts.append(f"The run stops at {recording.stopped:.3g} s: {recording.reason}.")
    return " ".join(texts)


def _events(recording: Recording, node: str) -> list[str]:
    found: list[tuple[float, str]] = []
    for tick in recording.ticks:
        if tick.node == node:
            found.append((tick.started, f"tick {tick.status.value}"))
    for span in (*recording.hooks, *recording.states):
        if span.node == node and (span.what in STATES or span.what in HOOKS):
            length = f"{span.end - span.start:.3g}"
            found.append((span.start, f"{span.what} for {length} s"))
    for mark in recording.marks:
        if mark.node == node:
            text = f" {mark.text.partition(' (')[0]}" if mark.text else ""
            found.append((mark.time, f"{mark.what}{text}"))
    found.sort(key=lambda event: event[0])
    events: list[str] = []
    for what, group in itertools.groupby(found, key=lambda event: event[1]):
        events.append(f"{what} at {', '.join(f'{time:.3g}' for time, _ in group)} s")
    return events
