"""Measure first: where the time of each node goes, and what to do about it.

``with Profiler(scheduler) as profiler:`` around a run, or ``horus-trio run --profile``. The engine
knows nothing of it, and a run without it pays nothing: what is measured is put around the hooks of
the nodes and before the pool when a run begins.
"""

from .profiler import Profiler
from .report import NodeProfile, PoolProfile, ProfileReport, Times

__all__ = ["NodeProfile", "PoolProfile", "ProfileReport", "Profiler", "Times"]
