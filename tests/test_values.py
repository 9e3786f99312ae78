"""What the engine hands out stays as it was: its values are frozen, and read by their names."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import horus_trio as horus
from horus_trio.policies import (
    BREATHER,
    CATCH_UP_BOUND,
    CircuitBreaker,
    FailureState,
    Restart,
)
from horus_trio.scheduler.interpreter import SWITCH_INTERVAL
from horus_trio.scheduler.observer import PATIENCE
from horus_trio.scheduler.run import SAY_WITHIN
from horus_trio.timer import HIGHEST_RATE

ROOMS = ("policies", "health", "timer", "topics", "executor", "scheduler")

BY_POSITION: dict[str, tuple[str, ...]] = {
    "CircuitBreaker": ("max_failures", "cooldown"),
    "EmergencyAsked": ("reason",),
    "Logged": ("record",),
    "NodeParcel": ("cls", "rest", "name"),
    "Parcel": ("data", "problem"),
    "Pub": ("topic",),
    "Rebuild": ("delay",),
    "Sent": ("topic", "data"),
    "StopAsked": ("reason",),
    "Restart": ("max_restarts", "within", "backoff", "max_backoff", "jitter"),
    "Sub": ("topic",),
    "Suspend": ("delay",),
}
"""Fields that may be given by their position: what users write, and what goes between processes."""


def modules() -> list[Any]:
    found = []
    for room in ROOMS:
        module = importlib.import_module(f"horus_trio.{room}")
        found.append(module)
        for inner in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}."):
            found.append(importlib.import_module(inner.name))
    return found


VALUES = sorted(
    {
        value
        for module in modules()
        for value in vars(module).values()
        if inspect.isclass(value)
        and dataclasses.is_dataclass(value)
        and value.__module__ == module.__name__
    },
    key=lambda value: (value.__qualname__, value.__module__),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__qualname__)
def test_values_are_frozen_and_read_by_name(value: Any) -> None:
    parameters = value.__dataclass_params__
    assert parameters.frozen
    positional = tuple(field.name for field in dataclasses.fields(value) if not field.kw_only)
    assert positional == BY_POSITION.get(value.__name__, ())


def test_the_defaults_of_policies() -> None:
    assert Restart() == Restart(5, within=60.0, backoff=0.1, max_backoff=10.0, jitter=0.2)
    assert CircuitBreaker() == CircuitBreaker(5, cooldown=30.0)
    state = FailureState(failures=(), total=0, streak=0, open=False)
    assert Restart().start() == FailureState() == state


def test_the_defaults_of_declarations() -> None:
    plain = horus.Sub("t", type=None, capacity=64, overflow=horus.Overflow.DROP_OLDEST)
    assert horus.Sub("t") == dataclasses.replace(plain, max_age=None, on_stale=None)
    assert horus.Pub("t") == horus.Pub("t", type=None, latch=False)


def test_the_bounds_of_policies_and_rates() -> None:
    assert BREATHER == 60.0
    assert CATCH_UP_BOUND == 10
    assert HIGHEST_RATE == 1e6


def test_health_is_a_number() -> None:
    assert [*map(int, horus.Health)] == [0, 1, 2]


def test_what_is_said_of_a_run_in_seconds_and_numbers() -> None:
    assert SAY_WITHIN == 0.3  # `Scheduler.emergency_stop`
    assert SWITCH_INTERVAL == 0.00025  # `Scheduler`, in its arguments
    assert PATIENCE == 10  # `Scheduler.on_result`


def test_the_schedulers_have_the_same_defaults() -> None:
    options = inspect.signature(horus.Scheduler).parameters
    assert {name: option.default for name, option in options.items()} == {
        "tick_rate": 100.0,
        "name": "horus",
        "limiter": None,
        "stop_timeout": 10.0,
        "signals": True,
        "deterministic": False,
        "max_abandoned": 16,
        "stall_after": 0.5,
        "switch_interval": None,
    }
    results = inspect.signature(horus.Scheduler.open_results).parameters
    assert results["capacity"].default == 1024
    mine = inspect.signature(horus.AsyncScheduler).parameters
    assert mine["tick_rate"].default == options["tick_rate"].default
