"""The options are written down in one table, and the table, the value and the keywords agree."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from pathlib import Path
from typing import Any

import pytest

import horus_trio as horus
from horus_trio.node import NodeOptions, OptionKeywords
from horus_trio.node.options import ConstructorKeywords
from horus_trio.policies import Miss, Restart

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "options.md"
NAMES = {"Miss": Miss, "Restart": Restart}


def table() -> dict[str, str]:
    """Option and default, as the page shows them."""
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|\n").split("|")[:2]]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    return {row[0]: row[1] for row in rows}


def fields() -> dict[str, Any]:
    return {
        field.name: (
            field.default_factory()
            if field.default_factory is not dataclasses.MISSING
            else field.default
        )
        for field in dataclasses.fields(NodeOptions)
    }


def test_the_table_has_every_option_in_order() -> None:
    assert list(table()) == list(fields())


@pytest.mark.parametrize("option", list(fields()))
def test_the_table_has_the_defaults(option: str) -> None:
    shown = eval(table()[option], dict(NAMES))  # noqa: S307 - our own page
    assert shown == fields()[option]


def test_every_option_is_a_keyword_of_add() -> None:
    assert set(typing.get_type_hints(OptionKeywords)) == set(fields())


def test_every_option_but_the_name_is_a_keyword_of_the_constructor() -> None:
    assert set(typing.get_type_hints(ConstructorKeywords)) == set(fields()) - {"name"}


def test_every_option_is_described_where_it_is_defined() -> None:
    described = inspect.getdoc(NodeOptions) or ""
    missing = [name for name in fields() if f"\n    {name}: " not in described]
    assert missing == []


@pytest.mark.parametrize("option", list(fields()))
def test_a_default_may_be_written_out(option: str) -> None:
    def tick(node: horus.Node) -> None:
        pass

    options: Any = {option: fields()[option]}
    horus.Scheduler().add(horus.Node(tick=tick), **options)
    horus.Scheduler().add(horus.Node(tick=tick, **options))
