from __future__ import annotations


class QoSProfile:
    def __init__(self, *, depth: int) -> None:
        self.depth = depth
