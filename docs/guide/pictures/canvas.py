"""`Canvas`: the sheet of a timeline, which knows where an instant is."""

from __future__ import annotations

from sheet import Look, Sheet

__all__ = ["LEFT", "RIGHT", "Canvas"]

LEFT, RIGHT = 152.0, 700.0
"""Where the axis of time begins and ends."""

SHAPES = """
text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
.title,.lane{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.title{font-size:13px;font-weight:600}
.node{font-weight:600}
.lane,.small,.inside{font-size:11px}
.grid,.lead,.stop,.end,.cross,.hatch{fill:none}
.missed{stroke-width:1.4}
.cross,.refused{stroke-width:1.7;stroke-linecap:round}
.stop,.end{stroke-width:1.5}
.stop{stroke-dasharray:4 3}
.band{fill-opacity:.09}
.state{fill-opacity:.22}
.ghost{fill-opacity:.35}
.hatched{fill:url(#hatch)}
.hatch{stroke-opacity:.4}
.label{paint-order:stroke;stroke-width:3;stroke-linejoin:round}
"""

FILLS = {
    "card": "card,inside,missed",
    "ink": "title,node,lane,label",
    "soft": "text,release",
    "ok": "ok",
    "error": "error",
    "late": "late",
    "cancelled": "cancelled",
    "hook": "hook",
    "wait": "wait",
    "safe": "safe",
}
STROKES = {
    "grid": "grid",
    "line": "rim",
    "card": "cross,label",
    "ink": "stop,end",
    "soft": "missed,lead,hatch",
    "error": "refused",
}
HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse">'
    '<path class="hatch" d="M-1 1L1 -1M-1 7L7 -1M5 7L7 5"/></pattern>'
)

LOOK = Look(style=SHAPES, fills=FILLS, strokes=STROKES, definitions=HATCH)


class Canvas(Sheet):
    """Collects the shapes of one timeline.

    Arguments:
        seconds: Length of the axis of time.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(LOOK)
        self._seconds = seconds

    def x(self, time: float) -> float:
        """Where an instant is."""
        return LEFT + (RIGHT - LEFT) * min(time, self._seconds) / self._seconds

    def bar(self, kind: str, start: float, end: float, y: float, height: float) -> None:
        """A bar from one instant to another; `y` is its upper edge."""
        left, right = self.x(start), self.x(end)
        self.box(kind, left, y, max(right - left - 0.8, 1), height)
