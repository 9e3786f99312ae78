"""Where commands speak: lines on any stream, a picture that is redrawn in place on a terminal.

Nothing is assumed of a stream that is no terminal. A reader that went away (``| head``) shows as
`BrokenPipeError` at the next write. A stream with a descriptor is written past Python's buffer and
its lock: a thread that is held up by a stopped terminal then holds up nobody else, nor the
interpreter's end.
"""

from __future__ import annotations

import io
import os
import re
import select
import shutil
from collections.abc import Sequence
from typing import TextIO

from ..printable import entry

__all__ = ["Console", "cut"]

_SGR = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_STYLE = "|".join(_SGR.values())
_OWN = re.compile(rf"(\x1b\[(?:0|(?:{_STYLE})(?:;(?:{_STYLE}))*)m)")
_COLOUR = re.compile(f"({_ESCAPE.pattern})")


class Console:
    """Writes text.

    Arguments:
        stream: Where to; None: nowhere.
        plain: Write lines only, also on a terminal.

    Attributes:
        live: Whether pictures can be redrawn in place.
    """

    def __init__(self, stream: TextIO | None, *, plain: bool = False) -> None:
        self._stream = stream
        self._descriptor = _descriptor_of(stream)
        terminal = (
            stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        )
        self.live: bool = terminal and not plain
        self._colour = terminal and not os.environ.get("NO_COLOR")
        self._drawn = 0

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal; 80 by 24 where there is none."""
        return shutil.get_terminal_size()

    def styled(self, text: str, *styles: str) -> str:
        """The text in bold, dim, red, green or yellow where there is colour."""
        if not self._colour or not styles:
            return text
        return f"\x1b[{';'.join(_SGR[style] for style in styles)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """Write a line; what is in it besides `styled` text a terminal shows and does not obey."""
        self._write(_shown(text, _OWN) + "\n")

    def draw(self, lines: Sequence[str], above: Sequence[str] = ()) -> None:
        """Write lines over those drawn last, cut to the terminal's width and height.

        Arguments:
            lines: The picture.
            above: Lines that stay: they scroll away over the picture, uncut. They may be coloured,
                and do nothing else to the terminal.
        """
        columns, rows = self.size
        drawn = (cut(_shown(line, _OWN), columns - 1) for line in lines[: rows - 1])
        picture = [f"{line}\x1b[K\n" for line in drawn]
        back = f"\x1b[{self._drawn}A" if self._drawn else ""
        stays = "".join(f"{_shown(line, _COLOUR)}\x1b[K\n" for line in above)
        stays += "\x1b[0m" if "\x1b[" in stays else ""
        # Autowrap off while drawing: a terminal made narrower must not fold lines.
        self._write(f"\r\x1b[?25l{back}{stays}\x1b[?7l{''.join(picture)}\x1b[J\x1b[?7h\x1b[?25h")
        self._drawn = len(picture)

    def keep(self) -> None:
        """Leave the last picture where it is."""
        self._drawn = 0

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        if self._descriptor is None:
            self._stream.write(text)
            self._stream.flush()
            return
        rest = memoryview(text.encode(self._stream.encoding or "utf-8", "replace"))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # whoever shares the terminal has made it non-blocking
                select.select((), (self._descriptor,), ())


def _shown(line: str, obeyed: re.Pattern[str]) -> str:
    """The line with nothing in it that a terminal obeys, besides what matches."""
    if "\x1b" not in line:
        return entry(line.replace("\n", "\\n"))
    pieces = obeyed.split(line)
    return "".join(
        piece if at % 2 else entry(piece.replace("\n", "\\n")) for at, piece in enumerate(pieces)
    )


def _descriptor_of(stream: TextIO | None) -> int | None:
    if stream is None:
        return None
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, ValueError):
        return None


def cut(line: str, columns: int) -> str:
    """The line without what stands beyond so many columns; escape sequences take none."""
    kept, room, position = [], columns, 0
    for escape in _ESCAPE.finditer(line):
        text = line[position : escape.start()][:room]
        room -= len(text)
        kept += [text, escape.group()]
        position = escape.end()
    return "".join((*kept, line[position:][:room]))
