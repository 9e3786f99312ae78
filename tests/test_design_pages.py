"""The design's pages speak of what there is: modules, classes, tests, every promise and breaker."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DESIGN = ROOT / "docs" / "design"
PAGES = sorted(DESIGN.glob("*.md"))
GUARANTEES = ROOT / "tests" / "guarantees"

PROMISES = {
    int(number): text
    for number, text in re.findall(
        r"^## G(\d+) (.+?)(?=^## |\Z)",
        (DESIGN / "promises.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
}


def breakers() -> dict[int, list[str]]:
    """What the breakers of each promise break."""
    spec = importlib.util.spec_from_file_location("_breakers", GUARANTEES / "breakers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_breakers"] = module  # its dataclasses look there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["_breakers"]
    found: dict[int, list[str]] = {}
    for breaker in module.BREAKERS:
        found.setdefault(int(breaker.promise[1:]), []).append(breaker.breaks)
    return found


BREAKERS = breakers()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_module_and_every_test_on_a_page_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for module in re.findall(r"`(horus_trio(?:\.\w+)+)`", text):
        importlib.import_module(module)
    for test in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / test).is_file(), test


def test_every_class_of_the_architecture_is_in_its_module() -> None:
    text = (DESIGN / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`.*?) \| (`horus_trio\..+?) \|", text, re.MULTILINE)
    assert len(rows) > 10
    for names, modules in rows:
        sources = [importlib.import_module(module) for module in re.findall(r"`(.+?)`", modules)]
        for name in re.findall(r"`(\w+)`", names):
            assert any(hasattr(source, name) for source in sources), name


def test_every_room_is_in_the_architecture() -> None:
    text = (DESIGN / "architecture.md").read_text("utf-8")
    table = text.partition("## The rooms")[2].partition("## ")[0]
    there = {
        path.stem
        for path in (ROOT / "horus_trio").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == there - {"__init__"}


def test_every_promise_is_told_explained_and_tested() -> None:
    assert sorted(PROMISES) == sorted(BREAKERS)
    for number, text in PROMISES.items():
        modules = sorted(path.name for path in GUARANTEES.glob(f"test_g{number:02}_*.py"))
        assert re.findall(r"`tests/guarantees/(test_\w+\.py)`", text) == modules
        explained = text.partition("**Explained in:**")[2].partition("- **")[0]
        assert re.search(r"\]\(\S+\.md", explained)
        assert "**Beyond it:**" in text
        assert "**Kept by:** `horus_trio." in text


@pytest.mark.parametrize("number", sorted(BREAKERS))
def test_every_breaker_of_a_promise_is_listed(number: int) -> None:
    """One that is new is a line in docs/design/promises.md."""
    assert re.findall(r"^  - (.+)$", PROMISES[number], re.MULTILINE) == BREAKERS[number]


def test_every_page_is_in_the_index() -> None:
    index = (DESIGN / "index.md").read_text("utf-8")
    listed = index.partition("```{toctree}")[2].split("```")[0].split()[1:]
    assert sorted(listed) == sorted(
        ["../decisions/README", *(page.stem for page in PAGES if page.stem != "index")]
    )
    for page in PAGES:
        assert page.stem == "index" or f"]({page.name})" in index
