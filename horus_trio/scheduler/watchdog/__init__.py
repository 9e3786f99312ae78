"""A thread that looks at the run from outside: what it does, it does while the loop is blocked."""

from .blocked import BlockedLoop, Stall
from .dump import write_dump
from .notify import Notifier
from .stalled import StalledNodes
from .stops import HELD_UP, Announcer, LateStop
from .thread import Duty, Watchdog

__all__ = [
    "HELD_UP",
    "Announcer",
    "BlockedLoop",
    "Duty",
    "LateStop",
    "Notifier",
    "Stall",
    "StalledNodes",
    "Watchdog",
    "write_dump",
]
