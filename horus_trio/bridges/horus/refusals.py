"""`Refused`: a call that makes no sense here or now."""

from __future__ import annotations

from ...errors import HorusError

__all__ = ["Refused"]


class Refused(HorusError, RuntimeError):
    """A call that makes no sense here or now; HORUS raises `RuntimeError`, too."""
