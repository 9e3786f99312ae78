from __future__ import annotations

from typing import Any


class Future:
    def __init__(self) -> None:
        self._result: Any = None
        self._done = False

    def set_result(self, result: Any) -> None:
        self._result, self._done = result, True

    def done(self) -> bool:
        return self._done
