"""Helpers for the I/O of ticks, ``def`` and ``async``: bounded, and nothing is lost in them."""

from .helper import Helper

__all__ = ["Helper"]
