"""`Capture`: what a program prints while a table is drawn stays above the table.

`sys.stdout` and `sys.stderr` are replaced by streams that pass everything on, and while `hold` is
in force keep it for whoever draws. Writing to them then never waits for the terminal. What is kept
is bounded; what does not fit is counted.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["Capture"]

CAPACITY = 1_000_000
"""Characters kept between two pictures."""


class Capture:
    """The text that is written to the streams it has replaced; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holding = False
        self._pieces: list[tuple[_Stream, str]] = []
        self._size = 0
        self._lost = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Stand in for those of `sys.stdout` and `sys.stderr` that are terminals while inside."""
        earlier = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (
            _Stream(self, stream) if stream.isatty() else stream for stream in earlier
        )
        try:
            yield
        finally:
            sys.stdout, sys.stderr = earlier

    def hold(self) -> None:
        """Keep what is written, from now on."""
        self._holding = True

    def take(self) -> list[str]:
        """The lines since the last call; one that is not ended yet stays."""
        with self._lock:
            return self._take()

    def release(self, *, discard: bool) -> None:
        """Pass on what is kept, unless it is discarded, and what will be written."""
        with self._lock:
            lines = self._take()
            rest, self._pieces = self._pieces, []
            self._size = 0
            self._holding = False
            if not discard:
                stream = rest[0][0] if rest else sys.stdout
                stream.write("".join(f"{line}\n" for line in lines))
                for stream, text in rest:
                    stream.write(text)

    def write(self, stream: _Stream, text: str) -> bool:
        """Keep the text; whether it was kept."""
        if not self._holding:
            return False
        with self._lock:
            if not self._holding:
                return False
            if self._size + len(text) > CAPACITY:
                self._lost += 1
            else:
                self._size += len(text)
                self._pieces.append((stream, text))
        return True

    def _take(self) -> list[str]:
        pieces, self._pieces, self._size = self._pieces, [], 0
        lines: list[str] = []
        open_lines: dict[_Stream, str] = {}
        for stream, text in pieces:
            *ended, last = (open_lines.get(stream, "") + text).split("\n")
            lines += ended
            open_lines[stream] = last
        self._pieces = [(stream, text) for stream, text in open_lines.items() if text]
        self._size = sum(len(text) for _, text in self._pieces)
        if self._lost:
            lines.append(f"… {self._lost} prints did not fit and were dropped")
            self._lost = 0
        return lines


class _Stream(io.TextIOBase):
    """Stands in for a stream; what it does not know it asks that one."""

    def __init__(self, capture: Capture, stream: TextIO) -> None:
        self._capture = capture
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._capture.write(self, text):
            return len(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding
