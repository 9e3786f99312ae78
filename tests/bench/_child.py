"""Programs in processes of their own, which print one JSON object as their last line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["held_descriptors", "held_threads", "run_child"]


def run_child(
    program: str,
    *arguments: str,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a program of this folder; what it printed last.

    Arguments:
        program: Name of the file, without ``.py``.
        arguments: For it.
        python: The interpreter.
        environment: On top of this process's.
    """
    done = subprocess.run(
        [python, str(Path(__file__).with_name(f"{program}.py")), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise RuntimeError(f"{program} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    printed: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return printed


def held_threads() -> int:
    """How many threads this process has, those of native libraries too."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def held_descriptors() -> int:
    """How many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1  # looking opens one
