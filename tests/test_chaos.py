"""Chaos itself: plans are what their seeds say, and campaigns say what they found."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import subprocess
import sys

import pytest
from chaos.campaign import main, past_failures
from chaos.distribution import LEAST_SHARES, enough, table
from chaos.generator import make_plan
from chaos.plan import ACTS, EVENTS, KINDS, POLICIES, Plan
from chaos.planted import PLANTED
from chaos.robot import Outcome
from chaos.shrinking import shrink
from chaos.small import SMALL
from chaos.workers import Worker
from patches import PACKAGE, PROJECT, Patch

from horus_trio import Overflow

# Plans


def test_the_same_seed_makes_the_same_plan() -> None:
    assert make_plan(5) == make_plan(5)
    assert make_plan(5) != make_plan(6)


def test_it_is_the_same_in_another_process() -> None:
    program = "from chaos.generator import make_plan; print(make_plan(5).to_json())"
    environment = os.environ | {
        "PYTHONHASHSEED": "77",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "tests")]),
    }
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )
    assert Plan.from_json(said.stdout.decode()) == make_plan(5)


@functools.cache
def many_plans() -> tuple[Plan, ...]:
    return tuple(make_plan(seed) for seed in range(400))


def test_json_brings_a_plan_back() -> None:
    for plan in many_plans()[:100]:
        assert Plan.from_json(plan.to_json()) == plan


def test_everything_occurs() -> None:
    plans = many_plans()
    nodes = [node for plan in plans for node in plan.all_nodes().values()]
    events = [event for plan in plans for event in plan.events]
    assert {node.kind for node in nodes} == set(KINDS)
    assert {node.policy.kind for node in nodes} == set(POLICIES)
    assert {event.kind for event in events} == set(EVENTS)
    assert {act for node in nodes for act in (*node.tick, *node.init, *node.shutdown)} == set(ACTS)
    assert {entry.overflow for node in nodes for entry in node.inputs} == {
        overflow.name for overflow in Overflow
    }
    assert {node.on_miss for node in nodes} >= {"SKIP", "WARN", "CATCH_UP", "SAFE_MODE", "STOP"}
    assert {event.foreign for event in events if event.kind == "signal"} == {True, False}
    assert {len(plan.nodes) for plan in plans} >= {1, 2, 3, 60}
    assert {plan.virtual for plan in plans} == {True, False}


def test_events_concern_nodes_and_topics_that_there_are() -> None:
    for plan in many_plans():
        known = {*plan.all_nodes(), *plan.topics, ""}
        assert {event.node for event in plan.events} <= known
        assert [event.at for event in plan.events] == sorted(event.at for event in plan.events)


def test_a_plan_prints_what_is_not_usual() -> None:
    plan = dataclasses.replace(SMALL, late=(), events=SMALL.events[:1])
    assert str(plan).splitlines()[0] == (
        "seed 4: 3 node(s) for 6 s of virtual time, 2 token(s), max_abandoned=1, stop_timeout=2"
    )
    assert str(plan).splitlines()[-1] == "  at 1.000 s: kind='add', node='late'"


# Campaigns


def outcome(seconds: float = 30.0, **features: float) -> Outcome:
    every = dict.fromkeys(LEAST_SHARES, 1.0)
    return Outcome(seed=1, violations=(), seconds=seconds, features=every | features, took=0.1)


def test_enough_is_what_is_needed_of_everything() -> None:
    lively = [outcome() for _ in range(98)] + [outcome(virtual=0.0) for _ in range(2)]
    assert enough(lively) == []
    assert len(list(table(lively))) == 2 + 4 + len(LEAST_SHARES)


@pytest.mark.parametrize("name", [name for name in LEAST_SHARES if name not in ("real", "virtual")])
def test_too_little_of_one_thing_is_said(name: str) -> None:
    dull = [outcome(virtual=0.0) for _ in range(5)]
    dull += [outcome(**{name: 0.0}) for _ in range(995)]
    assert [text.partition(":")[0] for text in enough(dull) if name in text] == [name]


def test_short_lives_are_said() -> None:
    brief = [outcome(19.9) for _ in range(51)] + [outcome() for _ in range(49)]
    assert any("19.9" in text for text in enough(brief))


def test_a_plan_is_made_as_small_as_possible() -> None:
    def fails(plan: Plan) -> bool:
        names = {node.name for node in plan.nodes}
        return "steady" in names and any(event.kind == "pause" for event in plan.events)

    smaller = shrink(SMALL, fails, seconds=30.0)
    assert [node.name for node in smaller.nodes] == ["steady"]
    assert [event.kind for event in smaller.events] == ["pause"]
    assert smaller.late == ()


def test_no_time_no_smaller_plan() -> None:
    assert shrink(SMALL, lambda plan: True, seconds=-1.0) == SMALL


@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: str(patch.breaks))
def test_a_planted_defect_fits_the_sources_once(patch: Patch) -> None:
    sources = [path.read_text() for path in sorted((PROJECT / PACKAGE).rglob("*.py"))]
    assert sum(source.count(patch.search) for source in sources) == 1
    assert patch.replace != patch.search


def test_planted_defects_are_many_and_different() -> None:
    assert len({patch.breaks for patch in PLANTED}) == len(PLANTED) >= 8


def test_past_failures_are_seeds() -> None:
    assert all(make_plan(seed).nodes for seed in past_failures())


@pytest.mark.parametrize("arguments", [["--robots", "0"], ["--jobs", "0"], ["--replay"]])
def test_options_that_make_no_sense_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "error" in capsys.readouterr().err


@pytest.mark.slow
def test_a_robot_plays_the_same_in_a_worker() -> None:
    with Worker() as worker:
        played = worker.play(SMALL)
        again = worker.play(SMALL)
    assert played.violations == again.violations == ()
    assert played.seconds == 6.0
    assert collections.Counter(played.features)["restart"] == 1.0


@pytest.mark.slow
def test_who_takes_too_long_is_killed_and_reported() -> None:
    with Worker(patience=0.01) as worker:
        (text,) = worker.play(SMALL).violations
    assert text.startswith("hangs: no end after")


@pytest.mark.slow
def test_a_worker_that_dies_is_reported_and_replaced() -> None:
    with Worker() as worker:
        (text,) = worker.play(dataclasses.replace(SMALL, duration=-1.0)).violations
        assert text.startswith("end: the run of Trio itself ended with")
        assert worker._process is not None
        worker._process.kill()
        worker._process.wait()
        (text,) = worker.play(SMALL).violations
        assert text.startswith("dies: its process ended with code -9")
        assert worker.play(SMALL).violations == ()


@pytest.mark.slow
def test_a_campaign_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--robots", "2", "--seed", "1"]) == 0
    said = capsys.readouterr().out
    assert "then 2 robots" in said
    assert "0 broke a law" in said
