"""As much of ROS 2's rclpy as the guide's program uses, with its names and signatures.

The real one comes with ROS 2 and cannot be installed by pip. Timers and subscriptions are called
one after the other in the thread that spins, as its `SingleThreadedExecutor` does.
"""

from __future__ import annotations

from collections.abc import Sequence

_running = False


def init(*, args: Sequence[str] | None = None) -> None:
    global _running
    assert not _running, "Context.init() must only be called once"
    _running = True


def ok() -> bool:
    return _running


def try_shutdown() -> None:
    global _running
    _running = False
