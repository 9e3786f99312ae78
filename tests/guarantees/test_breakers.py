"""Every breaker still fits the sources, and no promise is without one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

_spec = importlib.util.spec_from_file_location("breakers", HERE / "breakers.py")
assert _spec is not None
assert _spec.loader is not None
breakers = importlib.util.module_from_spec(_spec)
sys.modules["breakers"] = breakers
_spec.loader.exec_module(breakers)

SOURCES = [
    path.read_text(encoding="utf-8")
    for path in sorted((HERE.parents[1] / "horus_trio").rglob("*.py"))
    if not path.is_symlink()
]


@pytest.mark.parametrize("breaker", breakers.BREAKERS, ids=lambda b: f"{b.promise} {b.breaks}")
def test_its_text_occurs_once(breaker: breakers.Breaker) -> None:  # type: ignore[name-defined]
    assert sum(source.count(breaker.search) for source in SOURCES) == 1
    assert breaker.replace != breaker.search


def test_every_promise_with_a_module_has_a_breaker() -> None:
    promises = {f"G{int(path.name[6:8])}" for path in HERE.glob("test_g*.py")}
    assert {breaker.promise for breaker in breakers.BREAKERS} == promises
