"""Sockets of robots that tests start are found by these tests alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import short_folder


@pytest.fixture(autouse=True)
def untraced_children() -> None:
    """Coverage is measured in children, too: commands run in them."""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which robots have their sockets during the test."""
    with short_folder() as folder:
        monkeypatch.setenv("HORUS_TRIO_RUNTIME_DIR", str(folder))
        yield folder
