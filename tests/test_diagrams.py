"""The diagrams of the design's pages are true of the engine, up to date, and for everybody.

Each step of a sequence names a function; a real run has to call them in that order.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "docs" / "guide" / "pictures"
sys.path.append(str(SOURCES))

import sequences  # noqa: E402 - it is found there
from sequence import Note, Step  # noqa: E402
from sequence import Sequence as Drawn  # noqa: E402

PICTURES = sorted((ROOT / "docs" / "design" / "pictures").glob("*.svg"))
PAGES = sorted((ROOT / "docs" / "design").glob("*.md"))
SVG = "{http://www.w3.org/2000/svg}"

SOON = 30.0
"""Real seconds in which a tick comes, on a slow machine, too."""


class Arm(horus.AsyncNode):
    """Has every hook. Its first two ticks fail."""

    async def init(self) -> None:
        await trio.sleep(0.1)

    async def tick_async(self) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("the arm does not answer")

    async def on_error(self, error: BaseException) -> None:
        await trio.lowlevel.checkpoint()

    async def enter_safe_state(self) -> None:
        await trio.lowlevel.checkpoint()

    async def shutdown(self) -> None:
        await trio.lowlevel.checkpoint()


class Camera(horus.AsyncNode):
    """Never returns from its shutdown."""

    async def tick_async(self) -> None:
        await trio.lowlevel.checkpoint()

    async def shutdown(self) -> None:
        await trio.sleep_forever()


async def idle(node: horus.Node) -> None:
    await trio.lowlevel.checkpoint()


def say(node: horus.Node) -> None:
    node.send("said", 1)


def one_tick() -> None:
    scheduler = horus.Scheduler(tick_rate=10).add(horus.Node("voice", tick=say))
    scheduler.on_result(lambda result: scheduler.stop())
    scheduler.run(SOON)


def two_failures() -> None:
    async def run() -> None:
        scheduler = horus.Scheduler(tick_rate=10)
        policy = horus.Restart(max_restarts=1, backoff=0.5)
        scheduler.add(Arm, failure_policy=policy, critical=True)
        scheduler.add(horus.Node("lamp", tick=idle))
        with pytest.raises(horus.RunFailed):
            await scheduler.run(10)

    trio.run(run, clock=MockClock(autojump_threshold=0))


def a_stop_that_is_forced() -> None:
    async def run() -> None:
        scheduler = horus.Scheduler(tick_rate=10, stop_timeout=2)
        scheduler.add(Camera("camera"), shutdown_timeout=60)
        scheduler.add(horus.Node("drive", tick=idle, order=1))
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await trio.sleep(0.55)
            scheduler.stop("enough")
        assert scheduler.report is not None
        assert any("camera" in error for error in scheduler.report.hook_errors)

    trio.run(run, clock=MockClock(autojump_threshold=0))


SCENARIOS = {"tick": one_tick, "failure": two_failures, "shutdown": a_stop_that_is_forced}


def called_in(scenario: Callable[[], None], codes: Sequence[str]) -> list[str]:
    """Which of the functions a scenario calls, in order."""
    calls: list[str] = []

    def listen(code: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*args: Any, **keywords: Any) -> Any:
            calls.append(code)
            return function(*args, **keywords)

        return called

    with ExitStack() as patches:
        for code in set(codes):
            module, _, path = code.partition(":")
            kind, _, name = path.partition(".")
            owner = getattr(importlib.import_module(f"horus_trio.{module}"), kind)
            listener = listen(code, vars(owner)[name])
            patches.enter_context(mock.patch.object(owner, name, listener))
        scenario()
    return calls


@pytest.mark.parametrize("sequence", sequences.SEQUENCES, ids=lambda sequence: sequence.name)
def test_a_run_takes_the_steps_in_this_order(sequence: Drawn) -> None:
    codes = [step.code for step in sequence.steps if isinstance(step, Step)]
    calls = called_in(SCENARIOS[sequence.name], codes)
    left = iter(calls)
    for number, code in enumerate(codes, 1):
        assert code in left, f"step {number}, {code}, does not follow; called were {calls}"


def test_every_lane_of_a_sequence_is_used_and_every_step_has_lanes() -> None:
    for sequence in sequences.SEQUENCES:
        names = [part.name for part in sequence.parts]
        steps = [step for step in sequence.steps if not isinstance(step, Note)]
        assert {name for step in steps for name in (step.source, step.target)} == set(names)


@pytest.mark.slow
def test_every_diagram_is_as_it_would_be_drawn_now() -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(SOURCES / "diagrams.py"), "--check"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_diagram_is_small_and_says_what_it_shows(picture: Path) -> None:
    assert picture.stat().st_size < 12_000
    root = ElementTree.fromstring(picture.read_text("utf-8"))
    assert root.get("role") == "img"
    found = {element.get("id"): element for element in root.iter()}
    title, description = (found[name] for name in (root.get("aria-labelledby") or "").split())
    assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
    assert title.text
    assert len(description.text or "") > 200
    assert "prefers-color-scheme:dark" in picture.read_text("utf-8")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_no_text_leaves_the_diagram(picture: Path) -> None:
    """By the width of its letters, about; anchors are taken into account."""
    root = ElementTree.fromstring(picture.read_text("utf-8"))
    width = float(root.get("width", "0"))
    for element in root.iter(f"{SVG}text"):
        length = 6.8 * len(element.text or "")
        part = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")]
        left = float(element.get("x", "0")) - part * length
        assert left > 0
        assert left + length < width, element.text


def test_every_diagram_is_on_a_page_with_words_for_those_who_listen() -> None:
    shown = [
        found
        for page in PAGES
        for found in re.findall(
            r"^!\[([^\]]+)\]\(pictures/([^)]+\.svg)\)$", page.read_text("utf-8"), re.MULTILINE
        )
    ]
    assert sorted(name for _, name in shown) == [picture.name for picture in PICTURES]
    assert all(len(words) > 20 for words, _ in shown)
