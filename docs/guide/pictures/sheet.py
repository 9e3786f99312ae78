"""`Sheet`: a picture as SVG that can be read in a light theme and in a dark one, and listened to.

A picture has a card of its own as background and follows the reader's theme, so it can stand on any
page. Shapes are named by what they mean; a `Look` alone knows how they look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["WIDTH", "Look", "Sheet"]

WIDTH = 720

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the shapes of a kind of picture look.

    Attributes:
        style: Rules without colours, as CSS.
        fills: The kinds of shapes that a colour fills, by the colour's name; comma-separated.
        strokes: The kinds that a colour draws the lines of.
        definitions: What the rules refer to, as SVG.
    """

    style: str
    fills: Mapping[str, str]
    strokes: Mapping[str, str]
    definitions: str = ""

    def colours(self, palette: Mapping[str, str]) -> str:
        """The rules with the colours of a theme."""
        rules: list[str] = []
        for paint, kinds in (("fill", self.fills), ("stroke", self.strokes)):
            for colour, names in kinds.items():
                selector = ",".join(
                    name if name == "text" else f".{name}" for name in names.split(",")
                )
                rules.append(f"{selector}{{{paint}:{palette[colour]}}}\n")
        return "".join(rules)


class Sheet:
    """Collects the shapes of one picture, in pixels."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._shapes: list[str] = []

    def box(self, kind: str, x: float, y: float, width: float, height: float) -> None:
        """A bar whose upper left corner is given."""
        self._add(f'<rect class="{kind}"', x=x, y=y, width=width, height=height, rx=2.5)

    def path(self, kind: str, points: Sequence[tuple[float, float]]) -> None:
        """A line through points."""
        places = " ".join(f"{x:.5g},{y:.5g}" for x, y in points)
        self._shapes.append(f'<polyline class="{kind}" points="{places}"/>')

    def shape(self, kind: str, points: Sequence[tuple[float, float]]) -> None:
        """A closed shape between points."""
        places = " ".join(f"{x:.5g},{y:.5g}" for x, y in points)
        self._shapes.append(f'<polygon class="{kind}" points="{places}"/>')

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
        card = (
            f'<rect class="card rim" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:g}" '
            'rx="10"/>'
        )
        lines = [
            head,
            f'<title id="title">{escape(title, quote=False)}</title>',
            f'<desc id="desc">{escape(description, quote=False)}</desc>',
            f"<style>{self._look.style}{self._look.colours(LIGHT)}",
            f"@media (prefers-color-scheme:dark){{\n{self._look.colours(DARK)}}}\n</style>",
            f"<defs>{self._look.definitions}</defs>",
            card,
        ]
        return "\n".join([*lines, *self._shapes, "</svg>"]) + "\n"

    def _add(self, tag: str, **places: float) -> None:
        attributes = " ".join(f'{name}="{place:.5g}"' for name, place in places.items())
        self._shapes.append(f"{tag} {attributes}/>")
