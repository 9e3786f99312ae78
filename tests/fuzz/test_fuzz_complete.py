"""The page of what comes from outside knows each place, and each test that is named there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from horus_trio import drivers
from horus_trio.drivers import Driver, ReceiveOnlyDriver, StreamDriver
from horus_trio.drivers.framing import Framing, Headed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide" / "outside.md").read_text("utf-8")

PARSES = re.compile(
    r"json\.loads|pickle\.(loads|dumps)|ast\.parse|yaml\.load|\.unpack(_from)?\(|from_bytes\("
    r"|fromhex\(|os\.environ|message_from|parse_events"
)
"""What a module has in it that takes apart what came from elsewhere."""

INSIDE = {"drivers.framing.checked", "drivers.framing.length_prefixed", "drivers.serial"}
"""Parts of places that are listed, and numbers that the kernel says."""

SHOWN = {"drivers.can.frame"}
"""In a text alone."""


def table(heading: str) -> list[list[str]]:
    """The cells of the table below that heading, without its head."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\|$", section, re.MULTILINE)[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


DEVICES = table("Devices")
OTHERS = table("Commands, files and the environment")


def named(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}


def test_every_device_and_every_framing_is_there() -> None:
    there = {
        name
        for name in drivers.__all__
        if inspect.isclass(kind := getattr(drivers, name))
        and issubclass(kind, (Driver, Framing))
        and kind not in (Driver, ReceiveOnlyDriver, StreamDriver, Framing, Headed)
    }
    listed = named([row[0] for row in DEVICES])
    assert there <= listed
    assert {name for name in listed if name[0].isupper()} <= there | {"QueryDriver"}


def test_each_says_by_what_and_each_test_is_said() -> None:
    modules = {path.stem.removeprefix("test_fuzz_") for path in Path(__file__).parent.glob("*.py")}
    said = named([row[2] for row in DEVICES + OTHERS])
    assert modules - {"complete", "session"} == said
    for row in DEVICES + OTHERS:
        assert len(row) == 5
        assert row[2].startswith("`") or row[2].startswith("not: ")


def test_every_module_that_takes_something_apart_is_there() -> None:
    package = ROOT / "horus_trio"
    found = {
        ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if PARSES.search(path.read_text("utf-8"))
    }
    listed = named(re.findall(r"^\|.*\|$", PAGE, re.MULTILINE))
    assert sorted(found - listed - INSIDE - SHOWN) == []
    assert found >= INSIDE | SHOWN
