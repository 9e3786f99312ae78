"""What the tests here need of the machine.

That they end in time and leave nothing behind is seen to by this package's own pytest plugin, which
is configured in `pyproject.toml`.

Time: an async test that asks for `autojump_clock` or `mock_clock` (of pytest-trio), or that opens a
harness, runs on virtual time and compares it with `==`. Real time is for tests of what only real
time shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import hypothesis
import pytest

pytest_plugins = ["pytester"]

hypothesis.settings.register_profile("real machines pause", deadline=None)
hypothesis.settings.load_profile("real machines pause")


@pytest.fixture(scope="session")
def require() -> Callable[[str, bool, str], None]:
    """Call with a name, whether it is present, and how to install it.

    What is absent skips the test on a user's machine, and fails it in continuous integration.
    """

    def require(name: str, present: bool, how_to_install: str) -> None:
        if present:
            return
        reason = f"needs {name}, which is not here: {how_to_install}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return require
