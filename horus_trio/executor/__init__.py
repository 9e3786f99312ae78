"""The tier itself: one supervised task and mailbox per node, and the pool for blocking calls.

Usable without a scheduler: `open_executor`. Rates and policies are the scheduler's.
"""

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
from .threads import ThreadCall

__all__ = [
    "POOL_TOKENS",
    "AbandonedThread",
    "AsyncIOExecutor",
    "ExecutorStatistics",
    "Mailbox",
    "NodeRunner",
    "PoolStatistics",
    "ThreadCall",
    "check_process",
    "numbered_name",
    "open_executor",
    "stack_of",
]
