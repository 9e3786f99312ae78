"""What each request does: plain functions of the scheduler and checked arguments.

They read counters, and add no subscription. They run in a thread of the server and may wait for
the robot's loop; the server limits for how long.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import horus_trio as horus
from horus_trio.errors import nearest

from ...arguments import is_whole
from ..frame import Frame
from .errors import ControlError

__all__ = ["ECHO", "REQUESTS", "checked", "perform"]

ECHO = "echo"
"""The one request that is answered again and again; the server does it."""

DUMP_LIMIT = 1_000_000
"""Characters of a dump."""

REASON_LIMIT = 200
"""Characters of the reason of a stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A command.

    Attributes:
        perform: Called with the scheduler, and the arguments as keywords.
        required, optional: Names and types of the arguments.
    """

    perform: Callable[..., Any]
    required: Mapping[str, type] = field(default_factory=dict)
    optional: Mapping[str, type] = field(default_factory=dict)


def perform(scheduler: horus.Scheduler, do: str, arguments: Mapping[str, Any]) -> Any:
    """Do what is asked for; returns JSON-able values. `arguments` are `checked`.

    Raises:
        HorusError: It cannot be done.
    """
    return REQUESTS[do].perform(scheduler, **arguments)


def checked(do: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, if there is such a command and they are its.

    Raises:
        ControlError: They are not.
    """
    request = REQUESTS.get(do)
    if request is None:
        raise ControlError(f"no command {do[:80]!r}{nearest(do[:80], REQUESTS)}")
    known = {**request.required, **request.optional}
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in known:
            raise ControlError(f"{do}: no argument {name[:80]!r}{nearest(name[:80], known)}")
        if known[name] is float and is_whole(value):
            value = float(value) if abs(value) < 1 << 64 else float("inf")
        if not isinstance(value, known[name]):
            raise ControlError(f"{do}: {name}={value!r:.80}, expected a {_SPOKEN[known[name]]}")
        values[name] = value
    for name in request.required:
        if name not in values:
            raise ControlError(f"{do}: {name!r} is missing")
    return values


_SPOKEN = {str: "string", float: "number"}


def _robot(scheduler: horus.Scheduler) -> dict[str, Any]:
    return {
        "name": scheduler.name,
        "pid": os.getpid(),
        "version": horus.__version__,
    }


def _frame(scheduler: horus.Scheduler) -> dict[str, Any]:
    return Frame.of(scheduler.statistics()).to_dict()


def _statistics(scheduler: horus.Scheduler) -> dict[str, Any]:
    return scheduler.statistics().to_dict()


def _topic(scheduler: horus.Scheduler, topic: str) -> dict[str, Any]:
    hub = scheduler._topics.find(topic)
    return {"sent": hub.statistics().sent, "time": time.monotonic()}


def _pause(scheduler: horus.Scheduler, node: str) -> None:
    scheduler.pause(node)


def _resume(scheduler: horus.Scheduler, node: str) -> None:
    scheduler.resume(node)


def _rate(scheduler: horus.Scheduler, node: str, hz: float) -> None:
    scheduler.set_rate(node, hz)


def _stop(scheduler: horus.Scheduler, reason: str = "horus-trio stop") -> None:
    scheduler.stop(_printable(reason))


def _emergency(scheduler: horus.Scheduler, reason: str = "horus-trio emergency") -> dict[str, Any]:
    report = scheduler.emergency_stop(_printable(reason))
    if not report.active:
        raise ControlError("the robot is not running: nobody was called")
    return {
        "reason": report.reason,
        "safe": list(report.reached),
        "pending": list(report.pending),
        "failed": list(report.unreached),
    }


def _reset(scheduler: horus.Scheduler) -> None:
    scheduler.reset_emergency()


def _printable(reason: str) -> str:
    return "".join(c if c.isprintable() else " " for c in reason[:REASON_LIMIT]).strip()


def _dump(scheduler: horus.Scheduler) -> str:
    text = io.StringIO()
    scheduler.dump(text)
    return text.getvalue()[:DUMP_LIMIT]


REQUESTS: Mapping[str, Request] = {
    "robot": Request(perform=_robot),
    "frame": Request(perform=_frame),
    "statistics": Request(perform=_statistics),
    "topic": Request(perform=_topic, required={"topic": str}),
    ECHO: Request(perform=_topic, required={"topic": str}),
    "pause": Request(perform=_pause, required={"node": str}),
    "resume": Request(perform=_resume, required={"node": str}),
    "rate": Request(perform=_rate, required={"node": str, "hz": float}),
    "stop": Request(perform=_stop, optional={"reason": str}),
    "emergency": Request(perform=_emergency, optional={"reason": str}),
    "reset": Request(perform=_reset),
    "dump": Request(perform=_dump),
}
