"""What is logged is shown on the terminal, as in HORUS, unless the program sets up logging."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from ...logs import PrintableFormatter

__all__ = ["shown_logs"]


@contextlib.contextmanager
def shown_logs() -> Iterator[None]:
    """Show logs on standard error while inside, if the program has not set up logging itself.

    ``HORUS_LOG_LEVEL`` is the lowest level shown; without it INFO.
    """
    logger = logging.getLogger("horus_trio")
    if logging.getLogger().handlers or logger.handlers:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format())
    level, before = _level(), logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def _level() -> int:
    name = os.environ.get("HORUS_LOG_LEVEL", "info").upper()
    return logging.getLevelNamesMapping().get(name, logging.INFO)


class _Format(PrintableFormatter):
    """``[INFO] [camera] text``."""

    def __init__(self) -> None:
        super().__init__("[%(levelname)s] [%(node)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        if getattr(record, "node", None) is None:
            record.node = record.name.removeprefix("horus_trio.")
        return super().format(record)
