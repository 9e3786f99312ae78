"""A bridge to processes of HORUS's own: its topics in shared memory, carried by a node."""

from .bridge import HorusBridge, HorusBridgeStatistics, HorusReceived, HorusSent
from .ring import HorusTopicError
from .topic import HorusTopic

__all__ = [
    "HorusBridge",
    "HorusBridgeStatistics",
    "HorusReceived",
    "HorusSent",
    "HorusTopic",
    "HorusTopicError",
]
