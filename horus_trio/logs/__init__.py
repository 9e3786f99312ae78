"""Logging that never blocks the loop, and never floods.

Records are made where they arise and handled in a thread (`thread`); repeated errors are told once
with their traceback and then as counts (`errors`), by a pure rule (`throttle`).
"""

from .errors import ErrorLog, headline, message_of, text_of
from .thread import LogThread, OffLoopLogger, PrintableFormatter, engine_logger
from .throttle import Notice, Throttle, span
from .troubles import WarningLog

__all__ = [
    "ErrorLog",
    "LogThread",
    "Notice",
    "OffLoopLogger",
    "PrintableFormatter",
    "Throttle",
    "WarningLog",
    "engine_logger",
    "headline",
    "message_of",
    "span",
    "text_of",
]
