"""Byte orders, as `int.from_bytes` names them."""

from __future__ import annotations

from ...errors import ConfigurationError

__all__ = ["check_byteorder"]


def check_byteorder(owner: object, byteorder: str) -> None:
    """Refuse what is not a byte order."""
    if byteorder not in ("big", "little"):
        raise ConfigurationError(
            f"{type(owner).__name__}(byteorder={byteorder!r}): expected 'big' or 'little'"
        )
