"""What `horus_trio` exports is there, and every part of it is documented."""

from __future__ import annotations

import inspect

import pytest

import horus_trio
import horus_trio.bridges.asyncio
import horus_trio.bridges.horus_process
import horus_trio.drivers
import horus_trio.helpers
import horus_trio.profiling
import horus_trio.testing

EXPORTS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (
        horus_trio,
        horus_trio.bridges.asyncio,
        horus_trio.bridges.horus_process,
        horus_trio.drivers,
        horus_trio.helpers,
        horus_trio.profiling,
        horus_trio.testing,
    )
    for name in module.__all__
}
CLASSES = [value for value in EXPORTS.values() if inspect.isclass(value)]


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_is_documented(name: str) -> None:
    if callable(value := EXPORTS[name]):
        assert inspect.getdoc(value), f"{name} has no docstring"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_method_and_property_is_documented(cls: type) -> None:
    undocumented = [
        name
        for name in vars(cls)
        if not name.startswith("_")
        and (inspect.isroutine(getattr(cls, name)) or isinstance(vars(cls)[name], property))
        and not inspect.getdoc(getattr(cls, name))
    ]
    assert undocumented == []
