"""Programs on both packages."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bridges.differential import (
    FACADE,
    HOW_TO_INSTALL,
    ORIGINAL,
    Both,
    Observed,
    has_original,
    observe,
)

PACKAGES = (ORIGINAL, FACADE)


@pytest.fixture
def on_facade(tmp_path: Path) -> Callable[[str], Observed]:
    """Runs a program's text on the facade."""
    return lambda program: observe(FACADE, program, tmp_path)


@pytest.fixture
def on_both(tmp_path: Path, require: Callable[[str, bool, str], None]) -> Callable[[str], Both]:
    """Runs a program's text on HORUS's own package, and on the facade."""
    require("HORUS's own package", has_original(), HOW_TO_INSTALL)

    def run(program: str) -> Both:
        # Side by side: most of what they do is to wait.
        with ThreadPoolExecutor(2) as pool:
            return Both(*pool.map(lambda package: observe(package, program, tmp_path), PACKAGES))

    return run
