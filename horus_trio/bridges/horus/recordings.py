"""HORUS's recordings and replays: none are here, and each call says so."""

from __future__ import annotations

from typing import NoReturn

from .errors import OutOfScope

__all__ = ["Recordings"]


class Recordings:
    """The part of HORUS's `Scheduler` that is out of scope: nothing is ever recorded."""

    def is_recording(self) -> bool:
        """False."""
        return False

    def is_replaying(self) -> bool:
        """False."""
        return False

    def stop_recording(self) -> list[str]:
        """No files."""
        return []

    def list_recordings(self) -> list[str]:
        """No recordings."""
        return []

    def delete_recording(self, name: str) -> bool:
        """False: there is none of that name."""
        return False

    @staticmethod
    def replay_from(path: str) -> NoReturn:
        """Raises `OutOfScope`."""
        _refuse("replay_from")

    def add_replay(self, path: str, priority: int = 0) -> NoReturn:
        """Raises `OutOfScope`."""
        _refuse("add_replay")

    def start_at_tick(self, tick: int) -> NoReturn:
        """Raises `OutOfScope`."""
        _refuse("start_at_tick")

    def stop_at_tick(self, tick: int) -> NoReturn:
        """Raises `OutOfScope`."""
        _refuse("stop_at_tick")

    def set_replay_speed(self, speed: float) -> NoReturn:
        """Raises `OutOfScope`."""
        _refuse("set_replay_speed")

    def set_replay_override(self, node_name: str, output_name: str, value: bytes) -> NoReturn:
        """Raises `OutOfScope`."""
        _refuse("set_replay_override")


def _refuse(call: str) -> NoReturn:
    raise OutOfScope(
        f"horus.Scheduler.{call} is not part of horus_trio: nothing is recorded or replayed; "
        "subscribe to the topics and keep what you need"
    )
