"""What the three processes tell each other: JSON, a line each."""

from __future__ import annotations

import json
import os
from typing import Any

__all__ = ["tell"]


def tell(descriptor: int, what: Any) -> None:
    """Write a line; waits for whoever reads.

    Raises:
        BrokenPipeError: Nobody reads any more.
    """
    data = json.dumps(what, separators=(",", ":")).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]
