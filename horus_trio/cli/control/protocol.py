"""Requests and answers: one JSON object a line.

A request is ``{"do": "pause", "node": "camera"}``, with ``"version": 1`` if the client wants to be
sure; an answer is ``{"version": 1, "ok": …}`` or ``{"version": 1, "error": "…"}``. After an `echo`
answers follow each other until the client hangs up. Whatever a line holds, it is answered or the
connection ends: nothing in it is trusted, and its length is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import ControlError

__all__ = [
    "ANSWER_LIMIT",
    "ERROR_LIMIT",
    "LINE_LIMIT",
    "VERSION",
    "answer",
    "parse_request",
    "refusal",
]

VERSION = 1
"""Of the protocol. A robot refuses requests of another one."""

LINE_LIMIT = 16 * 1024
"""Bytes of a request."""

ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes of an answer that a client reads."""

ERROR_LIMIT = 1000
"""Characters of an error; it may quote what came."""


def parse_request(line: bytes) -> tuple[str, dict[str, Any]]:
    """What is asked for, and its arguments.

    Raises:
        ControlError: The line is not a request.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError(
            f'expected a JSON object a line, such as {{"do": "nodes"}}, got {line[:80]!r}'
        ) from None
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        raise ControlError(f'expected an object with "do": a command, got {line[:80]!r}')
    arguments: dict[str, Any] = dict(request)
    version = arguments.pop("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise ControlError(
            f"this robot speaks version {VERSION} of the protocol, the request {version!r:.20}; "
            "use the horus-trio the robot was started with"
        )
    return arguments.pop("do"), arguments


def answer(value: Any) -> bytes:
    """A line that says: done, and this is the result."""
    return _line({"version": VERSION, "ok": value})


def refusal(error: str) -> bytes:
    """A line that says: not done, and why."""
    return _line({"version": VERSION, "error": error[:ERROR_LIMIT]})


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
