"""`ControlError`: what goes wrong between a robot and those who look into it."""

from __future__ import annotations

from ...errors import HorusError

__all__ = ["ControlError"]


class ControlError(HorusError):
    """The robot cannot be reached, its socket cannot be made, or it refuses a request."""
