"""Which HORUS this is like."""

from __future__ import annotations

from ... import __version__ as _engine_version

__all__ = ["__version__", "get_version"]

__version__ = "0.4.1"
"""The version of HORUS whose Python API this is."""


def get_version() -> str:
    """The version of HORUS whose API this is, and of this package."""
    return f"HORUS Python API v{__version__} on horus_trio {_engine_version}"
