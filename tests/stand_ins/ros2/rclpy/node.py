from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy import ok
from rclpy.qos import QoSProfile

_subscriptions: list[Subscription] = []


class Parameter(NamedTuple):
    name: str
    value: Any


class Subscription(NamedTuple):
    message_type: type
    topic: str
    callback: Callable[[Any], object]
    queue: collections.deque[Any]


class Publisher(NamedTuple):
    message_type: type
    topic: str

    def publish(self, message: Any) -> None:
        assert type(message) is self.message_type
        for subscription in _subscriptions:
            if subscription.topic == self.topic:
                assert subscription.message_type is self.message_type
                subscription.queue.append(message)


class Timer:
    def __init__(self, period: float, callback: Callable[[], object]) -> None:
        self.period = period
        self.callback = callback
        self.due = time.monotonic() + period


class Node:
    def __init__(self, node_name: str) -> None:
        assert ok(), "rclpy.init() has not been called"
        self.name = node_name
        self.timers: list[Timer] = []
        self.subscriptions: list[Subscription] = []

    def declare_parameter(self, name: str, value: Any = None) -> Parameter:
        return Parameter(name, value)

    def create_publisher(
        self, msg_type: type, topic: str, qos_profile: QoSProfile | int
    ) -> Publisher:
        return Publisher(msg_type, topic)

    def create_subscription(
        self,
        msg_type: type,
        topic: str,
        callback: Callable[[Any], object],
        qos_profile: QoSProfile | int,
    ) -> Subscription:
        depth = qos_profile if isinstance(qos_profile, int) else qos_profile.depth
        queue: collections.deque[Any] = collections.deque(maxlen=depth)
        subscription = Subscription(msg_type, topic, callback, queue)
        self.subscriptions.append(subscription)
        _subscriptions.append(subscription)
        return subscription

    def create_timer(self, timer_period_sec: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(timer_period_sec, callback)
        self.timers.append(timer)
        return timer

    def destroy_node(self) -> None:
        for subscription in self.subscriptions:
            _subscriptions.remove(subscription)
