"""`Canvas`: the shapes of a timeline as SVG, and the colours of both themes.

A picture has a card of its own as background and follows the reader's theme, so it can stand on any
page. Shapes are named by what they mean; the style sheet alone knows how they look.
"""

from __future__ import annotations

from html import escape

__all__ = ["LEFT", "RIGHT", "Canvas"]

WIDTH = 720
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

LIGHT = {
    "card": "#fbfcfd",
    "grid": "#e6eaee",
    "line": "#d0d7de",
    "ink": "#1f2328",
    "soft": "#59636e",
    "ok": "#2f9e5b",
    "error": "#d1383d",
    "late": "#d06a06",
    "cancelled": "#77818b",
    "hook": "#4a7fc1",
    "wait": "#b58900",
    "safe": "#8b5fbf",
}
DARK = {
    "card": "#1a1d21",
    "grid": "#2a2f35",
    "line": "#3d444d",
    "ink": "#e6e9ec",
    "soft": "#9aa4ae",
    "ok": "#3fb46f",
    "error": "#ef5b5f",
    "late": "#ee9140",
    "cancelled": "#8b959f",
    "hook": "#6a9fe0",
    "wait": "#d3ae3c",
    "safe": "#b08ae0",
}
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


class Canvas:
    """Collects the shapes of one picture, and knows where an instant is.

    Arguments:
        seconds: Length of the axis of time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._shapes: list[str] = []

    def x(self, time: float) -> float:
        """Where an instant is."""
        return LEFT + (RIGHT - LEFT) * min(time, self._seconds) / self._seconds

    def bar(self, kind: str, start: float, end: float, y: float, height: float) -> None:
        """A bar from one instant to another; `y` is its upper edge."""
        left, right = self.x(start), self.x(end)
        self._add(
            f'<rect class="{kind}"',
            x=left,
            y=y,
            width=max(right - left - 0.8, 1),
            height=height,
            rx=2.5,
        )

    def dot(self, kind: str, x: float, y: float, radius: float = 3.0) -> None:
        """A dot around a point."""
        self._add(f'<circle class="{kind}"', cx=x, cy=y, r=radius)

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        """A line between two points."""
        self._add(f'<line class="{kind}"', x1=x1, y1=y1, x2=x2, y2=y2)

    def cross(self, x: float, y: float, kind: str = "cross", arm: float = 2.6) -> None:
        """A cross on a point."""
        self.line(kind, x - arm, y - arm, x + arm, y + arm)
        self.line(kind, x - arm, y + arm, x + arm, y - arm)

    def text(self, kind: str, x: float, y: float, text: str, anchor: str = "start") -> None:
        """A line of text that stands on `y`."""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        tag = f'<text class="{kind}"{where} x="{x:.5g}" y="{y:.5g}">'
        self._shapes.append(f"{tag}{escape(text, quote=False)}</text>")

    def svg(self, height: float, title: str, description: str) -> str:
        """The whole picture."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
            f'viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="title desc">'
        )
        hatch = (
            '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse">'
            '<path class="hatch" d="M-1 1L1 -1M-1 7L7 -1M5 7L7 5"/></pattern>'
        )
        card = (
            f'<rect class="card rim" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:g}" '
            'rx="10"/>'
        )
        lines = [
            head,
            f'<title id="title">{escape(title, quote=False)}</title>',
            f'<desc id="desc">{escape(description, quote=False)}</desc>',
            f"<style>{SHAPES}{_colours(LIGHT)}",
            f"@media (prefers-color-scheme:dark){{\n{_colours(DARK)}}}\n</style>",
            f"<defs>{hatch}</defs>",
            card,
        ]
        return "\n".join([*lines, *self._shapes, "</svg>"]) + "\n"

    def _add(self, tag: str, **places: float) -> None:
        attributes = " ".join(f'{name}="{place:.5g}"' for name, place in places.items())
        self._shapes.append(f"{tag} {attributes}/>")


def _colours(palette: dict[str, str]) -> str:
    rules: list[str] = []
    for paint, kinds in (("fill", FILLS), ("stroke", STROKES)):
        for colour, names in kinds.items():
            selector = ",".join(name if name == "text" else f".{name}" for name in names.split(","))
            rules.append(f"{selector}{{{paint}:{palette[colour]}}}\n")
    return "".join(rules)
