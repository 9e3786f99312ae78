"""The names of HORUS's extension module, ``horus._horus``, but for the messages."""

from __future__ import annotations

from .clock import budget_remaining as time_budget_remaining
from .clock import dt as time_dt
from .clock import elapsed as time_elapsed
from .clock import now as time_now
from .clock import rng_float as time_rng_float
from .clock import tick as time_tick
from .clock import timestamp_ns as get_timestamp_ns
from .config import SchedulerConfig
from .enums import Miss, NodeState, Priority
from .errors import HorusNotFoundError, HorusTimeoutError, HorusTransformError
from .node_info import NodeInfo
from .params import Params
from .rate import Rate
from .scheduler import Scheduler
from .topic import Topic
from .version import get_version

__all__ = [
    "HorusNotFoundError",
    "HorusTimeoutError",
    "HorusTransformError",
    "Miss",
    "NodeInfo",
    "NodeState",
    "Params",
    "Priority",
    "Rate",
    "Scheduler",
    "SchedulerConfig",
    "Topic",
    "get_timestamp_ns",
    "get_version",
    "time_budget_remaining",
    "time_dt",
    "time_elapsed",
    "time_now",
    "time_rng_float",
    "time_tick",
]
