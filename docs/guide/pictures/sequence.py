"""`draw`: who calls whom, one step below the other, beside a lane for each who takes part.

Each step names the function that takes it, and a test sees a real run call them in this order. The
steps are also written out in the picture's description, for those who listen to the page.
"""

from __future__ import annotations

from dataclasses import dataclass

from sheet import WIDTH, Look, Sheet

__all__ = ["Note", "Part", "Sequence", "Step", "draw"]

TEXT, LEFT, RIGHT = 18.0, 322.0, 668.0
"""Where the words begin, and the first and the last lane."""

HEAD, TOP, ROW, GAP, FOOT = 62.0, 112.0, 40.0, 30.0, 12.0
"""Where the names of the lanes and the first step begin; heights of a step, a note, the rest."""

SHAPES = """
text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
.title{font-size:13px;font-weight:600}
.small,.part{font-size:11px}
.part{font-weight:600}
.code{font:11px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.number{font-size:11px}
.note{font-style:italic;paint-order:stroke;stroke-width:4;stroke-linejoin:round}
.grid,.lane,.rule,.arrow{fill:none}
.lane{stroke-dasharray:2 3}
.arrow{stroke-width:1.8}
.head{stroke-width:1}
"""

KINDS = ("hook", "ok", "error", "late", "wait", "safe")

LOOK = Look(
    style=SHAPES,
    fills={
        "card": "card,head,number",
        "ink": "title,part,says",
        "soft": "text,code,note",
        **{kind: f"{kind}.dot,{kind}.tip" for kind in KINDS},
    },
    strokes={
        "grid": "grid,rule",
        "line": "rim,head",
        "card": "note",
        "soft": "lane",
        **{kind: f"{kind}.arrow" for kind in KINDS},
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One who takes part.

    Attributes:
        name: In the steps.
        lines: What stands above its lane, one or two lines.
    """

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One call.

    Attributes:
        source: Who calls.
        target: Who is called; the same one: it acts by itself.
        says: What happens, in words.
        code: The function, such as ``executor.mailbox:Mailbox.release``, below the package.
        kind: The colour.
    """

    source: str
    target: str
    says: str
    code: str
    kind: str = "hook"


@dataclass(frozen=True, slots=True)
class Note:
    """A line between two steps.

    Attributes:
        says: What is the case from here on.
    """

    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """Steps in the order of time.

    Attributes:
        name: Of the picture's file.
        title: What it shows.
        caption: In which case.
        parts: From the left.
        steps: From the top.
    """

    name: str
    title: str
    caption: str
    parts: tuple[Part, ...]
    steps: tuple[Step | Note, ...]


def draw(sequence: Sequence) -> str:
    """The picture, as the text of an SVG file."""
    sheet = Sheet(LOOK)
    sheet.text("title", TEXT, 27, sequence.title)
    sheet.text("small", TEXT, 46, sequence.caption)
    lanes = _places(sequence.parts)
    bottom = TOP + sum(ROW if isinstance(step, Step) else GAP for step in sequence.steps)
    for part in sequence.parts:
        _draw_head(sheet, part, lanes[part.name], bottom)
    y, number = TOP, 0
    for step in sequence.steps:
        sheet.line("rule", TEXT, y, WIDTH - TEXT, y)
        if isinstance(step, Note):
            sheet.text("note", TEXT, y + 20, step.says)
            y += GAP
            continue
        number += 1
        sheet.text("small", TEXT + 12, y + 17, str(number), "end")
        sheet.text("says", TEXT + 22, y + 17, step.says)
        sheet.text("code", TEXT + 22, y + 32, step.code.partition(":")[2])
        _draw_call(sheet, step, number, lanes, y + ROW / 2)
        y += ROW
    return sheet.svg(bottom + FOOT, sequence.title, describe(sequence))


def describe(sequence: Sequence) -> str:
    """The steps in words, in order."""
    said: list[str] = []
    number = 0
    for step in sequence.steps:
        if isinstance(step, Note):
            said.append(f"{step.says[:1].upper()}{step.says[1:]}.")
            continue
        number += 1
        who = step.source if step.source == step.target else f"{step.source} to {step.target}"
        said.append(f"{number}, {who}: {step.says}.")
    return " ".join(said)


def _places(parts: tuple[Part, ...]) -> dict[str, float]:
    """Where the lane of each is."""
    apart = (RIGHT - LEFT) / (len(parts) - 1)
    return {part.name: LEFT + apart * number for number, part in enumerate(parts)}


def _draw_head(sheet: Sheet, part: Part, x: float, bottom: float) -> None:
    sheet.line("lane", x, TOP - 6, x, bottom)
    sheet.box("head", x - 40, HEAD, 80, 38)
    for number, line in enumerate(part.lines):
        y = HEAD + 23.0 if len(part.lines) == 1 else HEAD + 16.0 + 14 * number
        sheet.text("part", x, y, line, "middle")


def _draw_call(sheet: Sheet, step: Step, number: int, lanes: dict[str, float], y: float) -> None:
    start, end = lanes[step.source], lanes[step.target]
    if start != end:
        tip = 7.0 if end > start else -7.0
        sheet.path(f"{step.kind} arrow", [(start, y), (end - tip, y)])
        sheet.shape(f"{step.kind} tip", [(end, y), (end - tip, y - 4), (end - tip, y + 4)])
    sheet.dot(f"{step.kind} dot", start, y, 10)
    sheet.text("number", start, y + 4, str(number), "middle")
