"""What the figures of a node are made of them: hints with their reasons, and none without."""

from __future__ import annotations

from typing import Any

import pytest

from horus_trio.profiling import NodeProfile, Times
from horus_trio.profiling.hints import hints_for


def node(**values: Any) -> NodeProfile:
    nothing: dict[str, Any] = {
        "name": "n",
        "where": "pool",
        "ticks": 100,
        "late": Times(),
        "waiting": Times(),
        "running": Times(share=0.5, p50=0.02),
        "awaiting": Times(),
        "step": Times(),
        "longest_step": 0.0,
        "longest_in": "",
        "blocking_steps": 0,
        "cpu": 0.5,
    }
    return NodeProfile(**(nothing | values))


WAITS = "it waited for a thread 43 % of the time: give it thread='own'"
COMPUTES = (
    "its def tick burns CPU (92 % of 20 ms) and holds the interpreter's lock meanwhile: give it "
    "thread='process'"
)
IS_IO = "its def tick mostly waits for I/O (CPU 3 % of 20 ms): an async driver would need no thread"
BLOCKS = (
    "it blocked the loop for 120 ms in a step of its tick 7: move that into a def tick, or "
    "`await trio.to_thread.run_sync(…)`"
)

BLOCKS_OFTEN = (
    "it blocked the loop for 12 ms in a step of its init, and 3 steps for over 10 ms: move that "
    "into a def tick, or `await trio.to_thread.run_sync(…)`"
)


@pytest.mark.parametrize(
    ("values", "hints"),
    [
        ({}, ()),
        ({"waiting": Times(share=0.43)}, (WAITS,)),
        ({"waiting": Times(share=0.09)}, ()),
        ({"waiting": Times(share=0.43), "where": "own"}, ()),
        ({"waiting": Times(share=0.43), "where": "process", "cpu": None}, ()),
        ({"cpu": 0.92}, (COMPUTES,)),
        ({"cpu": 0.92, "running": Times(share=0.05, p50=0.02)}, ()),
        ({"cpu": 0.03}, (IS_IO,)),
        ({"cpu": 0.03, "where": "own"}, (IS_IO,)),
        ({"cpu": 0.03, "running": Times(share=0.5, p50=0.0005)}, ()),
        ({"cpu": 0.03, "waiting": Times(share=0.43)}, (WAITS, IS_IO)),
        ({"cpu": 0.03, "waiting": Times(share=0.43), "ticks": 9}, ()),
        ({"longest_step": 0.12, "longest_in": "tick 7", "blocking_steps": 1}, (BLOCKS,)),
        ({"longest_step": 0.012, "longest_in": "tick 7", "blocking_steps": 2}, ()),
        (
            {"longest_step": 0.12, "longest_in": "tick 7", "blocking_steps": 1, "ticks": 1},
            (BLOCKS,),
        ),
        ({"longest_step": 0.012, "longest_in": "init", "blocking_steps": 3}, (BLOCKS_OFTEN,)),
    ],
)
def test_hints(values: dict[str, Any], hints: tuple[str, ...]) -> None:
    assert hints_for(node(**values)) == hints
