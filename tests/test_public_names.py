"""What `horus_trio` exports is there, and every part of it is documented."""

from __future__ import annotations

import inspect

import pytest

import horus_trio

CLASSES = [
    value for name in horus_trio.__all__ if inspect.isclass(value := getattr(horus_trio, name))
]


@pytest.mark.parametrize("name", horus_trio.__all__)
def test_every_export_is_documented(name: str) -> None:
    value = getattr(horus_trio, name)
    if callable(value):
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
