"""`CommandFailed`: how a command ends that cannot do what it was asked to do."""

from __future__ import annotations

__all__ = ["FAILED", "USAGE", "CommandFailed"]

FAILED = 1
"""Exit code: it was tried, and did not succeed."""

USAGE = 2
"""Exit code: what was asked for makes no sense."""


class CommandFailed(Exception):
    """One line for the user, and an exit code; `main` shows it.

    Arguments:
        message: What was expected, what came, what to do.
        code: The exit code.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code: int = code
