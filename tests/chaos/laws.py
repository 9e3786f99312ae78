"""All laws of a robot that has been played, as functions of what was taken down.

Each function yields what is wrong, and nothing where its law holds. A law says only what the engine
promises whatever the order of things was: none of them depends on how fast the machine is.
"""

from __future__ import annotations

from .end_laws import end_is_explained, nothing_is_left, report_is_true, stop_is_bounded
from .hook_laws import (
    hooks_in_order,
    nothing_while_held,
    nothing_while_paused,
    own_thread_is_kept,
    safe_where_reported,
)
from .record import Record
from .result_laws import (
    channel_is_whole,
    counters_are_results,
    every_tick_has_its_result,
    numbers_rise,
    releases_follow_the_rate,
    restarts_are_counted,
)
from .snapshots import Violation
from .topic_laws import messages_are_whole, nobody_publishes_after_his_end

__all__ = ["LAWS", "judge"]

LAWS = (
    hooks_in_order,
    nothing_while_paused,
    nothing_while_held,
    own_thread_is_kept,
    safe_where_reported,
    every_tick_has_its_result,
    numbers_rise,
    counters_are_results,
    channel_is_whole,
    restarts_are_counted,
    releases_follow_the_rate,
    messages_are_whole,
    nobody_publishes_after_his_end,
    end_is_explained,
    stop_is_bounded,
    nothing_is_left,
    report_is_true,
)


def judge(record: Record) -> list[Violation]:
    """All violations of all laws."""
    found: list[Violation] = []
    for law in LAWS:
        found.extend(law(record))
    return found
