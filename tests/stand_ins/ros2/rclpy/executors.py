from __future__ import annotations

import time

from rclpy import ok
from rclpy.node import Node
from rclpy.task import Future


class SingleThreadedExecutor:
    def __init__(self) -> None:
        self._nodes: list[Node] = []

    def add_node(self, node: Node) -> bool:
        self._nodes.append(node)
        return True

    def spin_until_future_complete(self, future: Future) -> None:
        while ok() and not future.done():
            for node in self._nodes:
                for timer in node.timers:
                    if time.monotonic() >= timer.due:
                        timer.due += timer.period
                        timer.callback()
                for subscription in node.subscriptions:
                    while subscription.queue:
                        subscription.callback(subscription.queue.popleft())
            time.sleep(0.005)
