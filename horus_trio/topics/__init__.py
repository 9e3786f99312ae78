"""Topics: named places where messages are published and read, on the loop and in any thread.

`Hub` is many-to-many, `Link` one-to-one and lossless. Both are thread-safe and need no engine.
"""

from .declarations import Pub, Sub
from .hub import Hub, HubStatistics
from .link import Link, LinkStatistics
from .registry import Topics
from .subscription import Overflow, Subscription, SubscriptionStatistics

__all__ = [
    "Hub",
    "HubStatistics",
    "Link",
    "LinkStatistics",
    "Overflow",
    "Pub",
    "Sub",
    "Subscription",
    "SubscriptionStatistics",
    "Topics",
]
