"""Where batches go that could not be processed: lines of JSON at the end of a file.

A line is ``{"item": …, "error": "…"}``; what JSON cannot express is there by its `repr`, as
``{"repr": "…", "error": "…"}``. The lines are on the disk when `append_lines` returns.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from ..logs import headline

__all__ = ["append_lines"]


def append_lines(path: str, items: Sequence[object], error: BaseException) -> None:
    """Append a line for each item, and have them written to the disk; blocking.

    Raises:
        OSError: They could not be written. Some may have been.
    """
    cause = headline(error)
    text = "".join(_line(item, cause) for item in items)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            text = "\n" + text  # the end of a line is missing: a disk was full, or a power cut
        left = memoryview(text.encode())
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(item: object, cause: str) -> str:
    try:
        text = json.dumps({"item": item, "error": cause}, allow_nan=False)
    except Exception:  # noqa: BLE001 - what an item raises must not lose it
        text = json.dumps({"repr": _text_of(item), "error": cause})
    return text + "\n"


def _text_of(item: object) -> str:
    try:
        return repr(item)
    except Exception as error:  # noqa: BLE001 - it is told all the same
        return f"<a {type(item).__name__} whose repr raises {headline(error)}>"
