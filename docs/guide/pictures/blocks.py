"""`run_of_nodes`: the parts of a run as boxes, and what goes from one to the other."""

from __future__ import annotations

from sheet import Look, Sheet

__all__ = ["run_of_nodes"]

SHAPES = """
text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
.title{font-size:13px;font-weight:600}
.small{font-size:11px}
.strong{font-weight:600}
.code{font:11px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.frame,.arrow{fill:none}
.frame{stroke-width:1.2}
.block,.frame{stroke-width:1.2}
.arrow{stroke-width:1.6}
.thread{stroke-dasharray:5 3}
.label{paint-order:stroke;stroke-width:4;stroke-linejoin:round}
"""

KINDS = ("hook", "ok", "late", "wait", "safe", "error")

LOOK = Look(
    style=SHAPES,
    fills={
        "card": "card,block",
        "ink": "title,strong,code",
        "soft": "text,tip",
    },
    strokes={
        "line": "rim,frame",
        "card": "label",
        "soft": "arrow",
        **{kind: f"{kind}.block" for kind in KINDS},
    },
)

TITLE = "A run, and what is in it"
SAID = (
    "A run is one nursery, whatever started it: scheduler.run(), trio.run(scheduler.run), "
    "horus.run(nodes) or background(nodes). In it the metronome, one timer with a grid for each "
    "node, puts Tick into the mailbox of each node's task; stop, signals and live control put "
    "Shutdown there. The task of a node has its hooks, its policy and its counters. An async hook "
    "runs on the loop, a def hook in a worker thread, by a token of the pool or in a thread of the "
    "node's own. Each tick gives one AsyncResult to observers: callbacks, channels, statistics. "
    "The watchdog, a thread, names who blocks the loop, and the safety chain has threads of its "
    "own for safe states. Hooks send to and receive from topics, Hub and Link, and so do code "
    "outside nodes and foreign threads."
)


def run_of_nodes() -> str:
    """The picture, as the text of an SVG file."""
    sheet = Sheet(LOOK)
    sheet.text("title", 18, 27, TITLE)
    _draw_spellings(sheet)
    sheet.box("frame", 18, 122, 684, 306)
    sheet.text("small", 32, 140, "one run = one nursery")
    _draw_sources(sheet)
    _draw_task(sheet)
    _draw_sides(sheet)
    _draw_topics(sheet)
    return sheet.svg(540, TITLE, SAID)


def _draw_spellings(sheet: Sheet) -> None:
    for number, text in enumerate(
        ("scheduler.run()", "trio.run(scheduler.run)", "horus.run(nodes…)", "background(nodes)")
    ):
        x = 18.0 + 174 * number
        sheet.box("wait block", x, 46, 162, 30)
        sheet.text("code", x + 81, 65, text, "middle")
        sheet.path("arrow", [(x + 81, 76), (x + 81, 96)])
    sheet.path("arrow", [(99, 96), (621, 96)])
    _arrow(sheet, (360, 96), (360, 122))


def _draw_sources(sheet: Sheet) -> None:
    _block(sheet, "hook", 36, 156, 164, 58, "metronome", "one timer, a grid a node")
    _block(sheet, "hook", 36, 238, 164, 58, "stop, signals", "and live control")
    _arrow(sheet, (200, 185), (274, 185), "Tick")
    _arrow(sheet, (200, 258), (274, 218), "Shutdown")


def _draw_task(sheet: Sheet) -> None:
    for back in (12, 6, 0):
        sheet.box("ok block", 274 + back, 160 - back, 176, 112)
    sheet.box("ok block", 274, 172, 62, 60)
    sheet.text("small", 305, 206, "mailbox", "middle")
    sheet.text("strong", 394, 186, "node's task", "middle")
    sheet.text("small", 394, 206, "init · tick ·", "middle")
    sheet.text("small", 394, 221, "shutdown", "middle")
    sheet.text("small", 362, 258, "policy, counters; N of them", "middle")
    _arrow(sheet, (318, 272), (290, 336), "async def")
    _arrow(sheet, (402, 272), (432, 336), "def")
    _block(sheet, "ok", 222, 336, 136, 58, "on the loop", "in a cancel scope")
    _block(sheet, "late thread", 374, 336, 136, 58, "worker thread", "by token, or its own")


def _draw_sides(sheet: Sheet) -> None:
    _arrow(sheet, (462, 185), (542, 185), "AsyncResult")
    _block(sheet, "hook", 542, 156, 144, 58, "observers", "callbacks, channels")
    _block(
        sheet, "safe thread", 542, 238, 144, 74, "safety chain", "threads kept for", "safe states"
    )
    _block(
        sheet,
        "error thread",
        542,
        336,
        144,
        74,
        "watchdog",
        "a thread: names who",
        "blocks the loop",
    )
    sheet.text("small", 36, 368, "dashed: in threads")


def _draw_topics(sheet: Sheet) -> None:
    _both_ways(sheet, (290, 394), (290, 456))
    _both_ways(sheet, (442, 394), (442, 456))
    sheet.text("small label", 366, 446, "send, receive", "middle")
    _block(sheet, "hook", 190, 456, 340, 34, "topics:  Hub, many to many  ·  Link, one to one")
    _both_ways(sheet, (150, 473), (190, 473))
    _both_ways(sheet, (530, 473), (570, 473))
    _block(sheet, "wait", 18, 456, 132, 34, "outside nodes")
    _block(sheet, "late thread", 570, 456, 132, 34, "foreign threads")
    sheet.text(
        "small",
        360,
        522,
        "a topic is no task: it lives where its senders and readers are",
        "middle",
    )


def _block(
    sheet: Sheet, kind: str, x: float, y: float, width: float, height: float, *lines: str
) -> None:
    """A box with lines in its middle, the first of them strong."""
    sheet.box(f"{kind} block", x, y, width, height)
    top = y + height / 2 + 4 - 8 * (len(lines) - 1)
    for number, line in enumerate(lines):
        kind_of_text = "small" if number else "strong"
        sheet.text(kind_of_text, x + width / 2, top + 16 * number, line, "middle")


def _arrow(
    sheet: Sheet, start: tuple[float, float], end: tuple[float, float], text: str = ""
) -> None:
    """From one point to another, with what goes there in its middle."""
    sheet.path("arrow", [start, end])
    _tip(sheet, start, end)
    if text:
        sheet.text(
            "small label", (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - 5, text, "middle"
        )


def _both_ways(sheet: Sheet, start: tuple[float, float], end: tuple[float, float]) -> None:
    sheet.path("arrow", [start, end])
    _tip(sheet, start, end)
    _tip(sheet, end, start)


def _tip(sheet: Sheet, start: tuple[float, float], end: tuple[float, float]) -> None:
    """The tip of an arrow, at its end."""
    x, y = end
    dx, dy = x - start[0], y - start[1]
    length = (dx * dx + dy * dy) ** 0.5
    ux, uy = dx / length, dy / length
    back, side = 8.0, 4.0
    sheet.shape(
        "tip",
        [
            (x, y),
            (x - back * ux - side * uy, y - back * uy + side * ux),
            (x - back * ux + side * uy, y - back * uy - side * ux),
        ],
    )
