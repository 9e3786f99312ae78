"""Whether a call that blocks, and runs nodes, may be made where it is made."""

from __future__ import annotations

import trio

from ...messages import current_fence
from ...scheduler.surroundings import in_asyncio_loop
from .record import current_record
from .refusals import Refused

__all__ = ["refuse_nested"]


def refuse_nested(call: str) -> None:
    """Refuse to run nodes inside a node, or where a loop would be blocked.

    Raises:
        Refused: Says what to do instead.
    """
    record, fence = current_record.get(), current_fence.get()
    name = record.node.name if record is not None else None if fence is None else fence.owner
    if name is not None:
        raise Refused(
            f"{call} was called in node {name!r}, whose tick it would hold up: add the nodes to "
            "the scheduler that runs (add works while it does), or start another process"
        )
    if trio.lowlevel.in_trio_run():
        raise Refused(
            f"{call} blocks, and was called on a Trio loop: `await scheduler.engine.run(…)` runs "
            "the same nodes there, or `await trio.to_thread.run_sync(scheduler.run)` beside it"
        )
    if not in_asyncio_loop():
        return
    raise Refused(
        f"{call} blocks, and was called on an asyncio loop: `await asyncio.to_thread("
        "scheduler.run)` runs it beside the loop; scheduler.stop() ends it from any thread"
    )
