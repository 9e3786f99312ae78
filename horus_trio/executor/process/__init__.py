"""Ticks in worker processes: ``thread="process"``.

`ticks` is the robot's side, `far_side` the worker's; `parcels` go to and fro, and a `tally` is
shared.
"""

from .ticks import ProcessTicks, check_process

__all__ = ["ProcessTicks", "check_process"]
