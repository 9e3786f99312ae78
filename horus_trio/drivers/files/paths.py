"""Paths that a program gives."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import ConfigurationError

__all__ = ["path_of"]


def path_of(who: str, path: object, example: str) -> Path:
    """A path that was given, absolute.

    Raises:
        ConfigurationError: It is none.
    """
    if (
        not isinstance(path, (str, os.PathLike))
        or not (text := os.fspath(path))
        or not isinstance(text, str)
        or "\0" in text
    ):
        raise ConfigurationError(f"{who}({path!r:.80}): expected a path, such as {example!r}")
    return Path(text).absolute()
