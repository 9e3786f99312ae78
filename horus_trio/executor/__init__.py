"""The tier itself: one supervised task and mailbox per node, and the pool for blocking calls.

Usable without a scheduler: `open_executor`. Rates and policies are the scheduler's.
"""

from .attribution import attribution
from .executor import (
    POOL_TOKENS,
    AsyncIOExecutor,
    ExecutorStatistics,
    numbered_name,
    open_executor,
)
from .mailbox import Mailbox
from .pool import AbandonedThread, PoolStatistics, stack_of
from .process import check_process
from .runner import NodeRunner
from .safety import EmergencyReport, NodeInEmergency, SafetyChain, SafetyOutcome
from .threads import ThreadCall
from .waits import describe, describe_silence, readers_waiting, wait_of

__all__ = [
    "POOL_TOKENS",
    "AbandonedThread",
    "AsyncIOExecutor",
    "EmergencyReport",
    "ExecutorStatistics",
    "Mailbox",
    "NodeInEmergency",
    "NodeRunner",
    "PoolStatistics",
    "SafetyChain",
    "SafetyOutcome",
    "ThreadCall",
    "attribution",
    "check_process",
    "describe",
    "describe_silence",
    "numbered_name",
    "open_executor",
    "readers_waiting",
    "stack_of",
    "wait_of",
]
