"""HORUS's `Params`: a robot's parameters by name, kept in a file beside the program."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError, MessageTypeError
from . import yaml
from .data import plain
from .messages.kinds import text

__all__ = ["DEFAULTS", "Params"]

FILE = Path(".horus/config/params.yaml")
"""Where parameters are kept, below the working directory."""

DEFAULTS: dict[str, float] = {
    "acceleration_limit": 0.5,
    "camera_fps": 30,
    "collision_threshold": 0.5,
    "emergency_stop_distance": 0.3,
    "lidar_rate": 10,
    "max_angular_speed": 1.0,
    "max_memory_mb": 512,
    "max_speed": 1.0,
    "pid_kd": 0.05,
    "pid_ki": 0.1,
    "pid_kp": 1.0,
    "sensor_timeout_ms": 1000,
    "tick_rate": 30,
}
"""HORUS's own."""


class Params:
    """Parameters: HORUS's defaults, then those of ``.horus/config/params.yaml``, then of `path`.

    Values are what JSON can say, copied in and out. Any thread.

    Arguments:
        path: A file of further ones; one that does not exist yet is made by `save`. None:
            ``.horus/config/params.yaml`` below the working directory.

    Raises:
        ConfigurationError: A file is not a table of names and values; or PyYAML, which reads it,
            is not here.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = (FILE if path is None else Path(text(path))).absolute()
        self._lock = threading.Lock()
        self._values: dict[str, Any] = {**DEFAULTS, **_read(FILE)}
        if path is not None:
            self._values.update(_read(self._path))

    def __repr__(self) -> str:
        return f"Params({len(self)} keys)"

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return text(key) in self._values

    def __getitem__(self, key: str) -> Any:
        try:
            return plain(self._values[text(key)])
        except KeyError:
            raise KeyError(f"{key!r}") from None

    def __setitem__(self, key: str, value: Any) -> None:
        kept = plain(value)
        with self._lock:
            self._values[text(key)] = kept

    def get(self, key: str, default: Any = None) -> Any:
        """The value of that name, or `default`."""
        found = self._values.get(text(key), self)  # itself is no value
        return default if found is self else plain(found)

    def has(self, key: str) -> bool:
        """Whether there is one of that name."""
        return key in self

    def keys(self) -> list[str]:
        """The names, in order."""
        with self._lock:
            return sorted(self._values)

    def remove(self, key: str) -> bool:
        """Forget one; whether there was one."""
        with self._lock:
            return self._values.pop(text(key), self) is not self  # itself is no value

    def reset(self) -> None:
        """Go back to HORUS's defaults; the file stays as it is."""
        with self._lock:
            self._values = dict(DEFAULTS)

    def save(self) -> None:
        """Write them to the file, whole or not at all.

        Raises:
            OSError: The file cannot be written; the former one is untouched.
            ConfigurationError: PyYAML is not here.
        """
        with self._lock:
            content = yaml.written(self._values)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (yaml.YamlError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"{path}: expected a table of names and values, got {type(found).__name__}"
        )
    try:
        return {str(key): plain(value) for key, value in found.items()}
    except MessageTypeError as error:
        raise ConfigurationError(f"{path}: {error}") from error
