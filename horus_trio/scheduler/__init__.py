"""The scheduler: rates, policies, live control, reports, and the ways to run a robot."""

from .async_scheduler import AsyncScheduler
from .launch import background, run
from .report import NodeFailure, RunReport, SchedulerStatistics
from .scheduler import Scheduler
from .watchdog import Stall

__all__ = [
    "AsyncScheduler",
    "NodeFailure",
    "RunReport",
    "Scheduler",
    "SchedulerStatistics",
    "Stall",
    "background",
    "run",
]
