"""Redis: streams that are kept, and channels for whoever listens."""

from .entries import StreamEntry
from .group import ConsumerGroup
from .pubsub import ChannelMessage, RedisPubSub
from .server import RedisServer
from .stream import RedisStream

__all__ = [
    "ChannelMessage",
    "ConsumerGroup",
    "RedisPubSub",
    "RedisServer",
    "RedisStream",
    "StreamEntry",
]
