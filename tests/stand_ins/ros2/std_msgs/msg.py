from __future__ import annotations


class Float64:
    def __init__(self, *, data: float = 0.0) -> None:
        assert isinstance(data, float)
        self.data = data
