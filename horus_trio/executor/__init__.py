"""The tier itself: one supervised task and mailbox per node, and the pool for blocking calls.

Usable without a scheduler: `open_executor`. Rates and policies are the scheduler's.
"""

from .attribution import TASK_ADVICE, Owner, owner_of
from .executor import (
    POOL_TOKENS,
    AsyncIOExecutor,
    ExecutorStatistics,
    numbered_name,
    open_executor,
    open_shielded,
)
from .frames import frames_of, frames_of_thread, is_engines, only_measures, place_of
from .mailbox import Mailbox
from .pool import AbandonedThread, PoolStatistics, stack_of
from .process import check_process
from .runner import NodeRunner
from .safety import EmergencyReport, NodeInEmergency, SafetyChain, SafetyOutcome
from .threads import ThreadCall
from .waits import describe, describe_silence, readers_waiting, wait_of

__all__ = [
    "POOL_TOKENS",
    "TASK_ADVICE",
    "AbandonedThread",
    "AsyncIOExecutor",
    "EmergencyReport",
    "ExecutorStatistics",
    "Mailbox",
    "NodeInEmergency",
    "NodeRunner",
    "Owner",
    "PoolStatistics",
    "SafetyChain",
    "SafetyOutcome",
    "ThreadCall",
    "check_process",
    "describe",
    "describe_silence",
    "frames_of",
    "frames_of_thread",
    "is_engines",
    "numbered_name",
    "only_measures",
    "open_executor",
    "open_shielded",
    "owner_of",
    "place_of",
    "readers_waiting",
    "stack_of",
    "wait_of",
]
