"""What a soak finds is judged, drawn and put on a page; planted faults are noticed."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from _surroundings import look_around
from hypothesis import given
from hypothesis import strategies as st
from soak import page
from soak import watch as watching
from soak.__main__ import Progress, exit_code, main, warm_up_of
from soak.courses import Curve, course
from soak.judge import (
    GROWTHS,
    Growth,
    Judgement,
    Verdict,
    judge,
    judge_devices,
    judge_end,
    judge_growth,
    judge_losses,
    judge_rates,
)
from soak.laws import KEPT, Laws, broken_laws
from soak.record import record_of
from soak.robot import NODES
from soak.told import Told
from soak.trend import trend

ROOT = Path(__file__).parent.parent
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the soak reads /proc")

SVG = "{http://www.w3.org/2000/svg}"

HELD = {"control": 100.0, "slow": 2.0}

END = {"reason": "its time was over", "failure": "", "failed": [], "left": []}

HOLDS, FAILS, TOO_SHORT = Verdict.HOLDS, Verdict.FAILS, Verdict.TOO_SHORT


def sample(at: float, **other: Any) -> dict[str, Any]:
    """A robot of two nodes and a topic that does as it should."""
    control, slow = int(100 * at), int(2 * at)
    healthy: dict[str, Any] = {
        "at": at,
        "resident": 60_000_000,
        "descriptors": 40,
        "threads": 12,
        "children": 1,
        "tasks": 80,
        "blocks": 300_000,
        "processor": 0.3 * at,
        "processors": 2,
        "machine": [100 * at, 200 * at],
        "late": [0.0002, 0.003, 0.01],
        "stalls": 0,
        "logged": 3,
        "missing": 0,
        "nodes": {
            "control": [control + 1, control, 0, 0, 0, 0, 0, 1, 0],
            "slow": [slow + 1, slow - 1, 1, 0, 0, 0, 1, 0, 2],
        },
        "topics": {"command": [control, [[control, control - 5, 4, 1]]]},
    }
    return healthy | other


def samples(seconds: int, **courses: Callable[[float], Any]) -> list[dict[str, Any]]:
    """A sample each second; what is not given stays as it is."""
    return [
        sample(float(at), **{name: of(float(at)) for name, of in courses.items()})
        for at in range(1, seconds + 1)
    ]


def told_of(found: Sequence[Mapping[str, Any]]) -> Told:
    """What was told, if these were the samples."""
    told = Told(held=HELD, end=END, done={"unplugged": 7})
    for one in found:
        told.add(one)
    return told


def growth_of(what: str) -> Growth:
    return next(growth for growth in GROWTHS if growth.what == what)


def verdict_of(what: str, seconds: int, of: Callable[[float], Any]) -> Verdict:
    return judge_growth(growth_of(what), samples(seconds, **{what: of})).verdict


# The line through them


def test_a_straight_line_is_found_exactly() -> None:
    found = trend([0, 1, 2, 4], [5, 7, 9, 13])
    assert (found.slope, found.low, found.high, found.seconds) == (120, 120, 120, 4)
    assert found.rise == 8


def test_a_quarter_of_wild_values_moves_it_little() -> None:
    values = [0.1 * n for n in range(100)]
    for n in range(0, 100, 4):
        values[n] += 1000
    assert trend(range(100), values).slope == pytest.approx(6, rel=0.05)


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=30))
def test_it_is_the_median_of_all_pairs_and_within_its_bounds(values: list[int]) -> None:
    found = trend(range(len(values)), values)
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2)]
    assert found.slope == pytest.approx(60 * statistics.median(slopes))
    assert found.low <= found.slope <= found.high


def test_its_bounds_hold_the_truth() -> None:
    dice = random.Random(7)
    within = 0
    for _ in range(100):
        values = [0.02 * n + dice.gauss(0, 1) for n in range(60)]
        found = trend(range(60), values)
        within += found.low <= 1.2 <= found.high
    assert 88 <= within <= 100


@pytest.mark.parametrize(
    ("times", "values", "complaint"),
    [
        ([0, 1], [0, 1], "3 at least"),
        ([0, 1, 2], [0, 1], "3 times and 2 values"),
        ([0, 1, 1], [0, 1, 2], "do not rise"),
    ],
)
def test_what_has_no_trend_is_refused(
    times: Sequence[float], values: Sequence[float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        trend(times, values)


# What grows


@pytest.mark.parametrize("growth", GROWTHS, ids=lambda growth: growth.what)
def test_what_stays_holds(growth: Growth) -> None:
    judgement = judge_growth(growth, samples(200))
    assert judgement.verdict is HOLDS
    assert judgement.subject == growth.what
    assert judgement.found.startswith("+0 a minute (+0 to +0), +0 in 199 s")


def test_memory_may_grow_by_a_megabyte_a_minute_and_no_more() -> None:
    def growing(per_minute: float) -> Verdict:
        return verdict_of("resident", 200, lambda at: 60e6 + per_minute * at / 60)

    assert [growing(by) for by in (-9e6, 0.9e6, 1.1e6)] == [HOLDS, HOLDS, FAILS]


def test_memory_that_only_shakes_holds() -> None:
    dice = random.Random(3)
    assert verdict_of("resident", 480, lambda at: 60e6 + dice.gauss(0, 1.5e6)) is HOLDS
    # A burst that has gone again, and one that stays in place of a slope.
    assert verdict_of("resident", 480, lambda at: 90e6 if 100 < at < 150 else 60e6) is HOLDS


def test_a_slow_leak_in_noise_is_seen() -> None:
    dice = random.Random(3)
    leak = verdict_of("resident", 480, lambda at: 60e6 + 2e6 * at / 60 + dice.gauss(0, 1e6))
    assert leak is FAILS


@pytest.mark.parametrize("what", ["descriptors", "threads"])
def test_one_a_minute_is_too_many_though_devices_come_and_go(what: str) -> None:
    def comes_and_goes(at: float) -> int:
        return 40 - (at % 15 < 2)

    assert verdict_of(what, 480, comes_and_goes) is HOLDS
    assert verdict_of(what, 480, lambda at: comes_and_goes(at) + at // 60) is FAILS


def test_a_step_that_a_slope_does_not_show_is_seen() -> None:
    def step(at: float) -> int:
        return 40 if at < 400 else 43

    times = [float(at) for at in range(1, 481)]
    assert trend(times, [step(at) for at in times]).slope == 0
    # Most of the last quarter has it.
    assert verdict_of("descriptors", 480, step) is FAILS
    assert verdict_of("descriptors", 480, lambda at: 40 if at < 400 else 42) is HOLDS


def test_what_is_too_short_does_not_hold() -> None:
    assert verdict_of("resident", 100, lambda at: 60e6) is TOO_SHORT
    assert verdict_of("resident", 2, lambda at: 60e6) is TOO_SHORT
    assert judge_growth(growth_of("threads"), []).verdict is TOO_SHORT


@pytest.mark.parametrize(("what", "by"), [("resident", 3e6), ("descriptors", 5), ("threads", 5)])
def test_a_large_leak_is_seen_in_seconds(what: str, by: float) -> None:
    start = sample(0)[what]
    assert verdict_of(what, 6, lambda at: start + by * at) is FAILS
    # What starts up grows, too, for a while.
    assert verdict_of(what, 6, lambda at: start + by * min(at, 2) / 4) is TOO_SHORT


# Rates


def rates_judged(found: Sequence[Mapping[str, Any]]) -> Judgement:
    return judge_rates(HELD, told_of(found).samples)


def achieving(control: float, slow: float, seconds: int) -> list[dict[str, Any]]:
    """Samples of nodes that achieve such parts of their rates."""
    found = samples(seconds)
    for one in found:
        for name, part in (("control", control), ("slow", slow)):
            one["nodes"][name][1] = round(part * HELD[name] * one["at"])
    return found


@pytest.mark.parametrize(
    ("control", "slow", "verdict"),
    [
        (1.0, 1.0, HOLDS),
        (0.991, 0.991, HOLDS),
        (0.985, 1.0, FAILS),
        (1.0, 0.95, FAILS),
        (1.03, 1.0, FAILS),
        (0.0, 1.0, FAILS),
    ],
)
def test_rates_are_held_within_a_hundredth(control: float, slow: float, verdict: Verdict) -> None:
    assert rates_judged(achieving(control, slow, 200)).verdict is verdict


def test_nodes_that_do_not_hold_theirs_are_named_the_worst_first() -> None:
    judgement = rates_judged(achieving(0.9, 0.5, 200))
    assert judgement.found == "0 hold them over 199 s; slow 50.0%, control 90.0%"


def test_a_tick_at_the_border_is_no_fault() -> None:
    """Of 2 Hz in 60 s, one tick is most of a hundredth."""
    found = achieving(1.0, 1.0, 61)
    found[-1]["nodes"]["slow"][1] -= 2
    assert rates_judged(found).verdict is HOLDS
    found[-1]["nodes"]["slow"][1] -= 1
    assert rates_judged(found).verdict is FAILS


def test_rates_of_a_short_time_are_only_judged_if_they_are_far_off() -> None:
    assert rates_judged(achieving(1.0, 1.0, 8)).verdict is TOO_SHORT
    assert rates_judged(achieving(0.95, 1.0, 8)).verdict is TOO_SHORT
    assert rates_judged(achieving(0.7, 1.0, 8)).verdict is FAILS
    assert rates_judged([]).verdict is TOO_SHORT


# Laws


def test_healthy_samples_break_no_law() -> None:
    assert list(broken_laws(sample(2.0), sample(1.0))) == []


@pytest.mark.parametrize(
    ("where", "value", "complaint"),
    [
        (("nodes", "control", 0), 500, "control: 500 releases, but 201 have become something"),
        (("nodes", "control", 7), 3, "control: 3 ticks in flight"),
        (("topics", "command", 1), [[200, 190, 4, 1]], "200 published, but 190 received"),
        (("topics", "command", 0), 150, "200 of 150 messages published"),
    ],
)
def test_a_broken_law_is_told(where: tuple[str, str, int], value: Any, complaint: str) -> None:
    broken = sample(2.0)
    kind, name, index = where
    broken[kind][name][index] = value
    assert any(complaint in text for text in broken_laws(broken))


def test_no_counter_goes_back() -> None:
    later = sample(2.0)
    later["at"] = 3.0
    texts = list(broken_laws(later, sample(2.5)))
    assert texts == [
        "at 3.0 s: control: a counter has gone back",
        "at 3.0 s: slow: a counter has gone back",
        "at 3.0 s: topic command: its counter has gone back",
    ]


def test_a_node_that_left_and_one_that_came_break_no_law() -> None:
    before, after = sample(1.0), sample(2.0)
    before["nodes"]["visitor 1"] = [9, 9, 0, 0, 0, 0, 0, 0, 0]
    after["nodes"]["visitor 2"] = [1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert list(broken_laws(after, before)) == []


def test_laws_hold_in_the_warm_up_too() -> None:
    found = samples(200)
    found[0]["nodes"]["slow"][4] = 7
    by_subject = {one.subject: one for one in judge(told_of(found), 60)}
    assert by_subject["laws of nodes and topics"].verdict is FAILS
    assert "at 1.0 s: slow" in by_subject["laws of nodes and topics"].found


# The rest, and the whole


def test_a_message_that_is_missing_fails() -> None:
    assert judge_losses(samples(3, missing=lambda at: 0)).verdict is HOLDS
    assert judge_losses(samples(3, missing=lambda at: at // 3)).verdict is FAILS
    assert judge_losses([]).verdict is TOO_SHORT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("failure", "RunFailed()"),
        ("failed", ["camera"]),
        ("hook_errors", ["shutdown"]),
        ("stragglers", ["camera"]),
        ("left", ["descriptor 7 of socket:[1]"]),
    ],
)
def test_an_end_that_is_not_well_says_why(key: str, value: Any) -> None:
    judgement = judge_end(END | {key: value})
    assert judgement.verdict is FAILS
    assert str(value) in judgement.found
    assert judge_end(END).verdict is HOLDS
    assert judge_end({}).verdict is FAILS


def test_devices_that_are_gone_fail() -> None:
    assert judge_devices({"unplugged": 3}).verdict is HOLDS
    assert judge_devices({}).verdict is FAILS


def test_breaches_are_counted_and_the_first_are_kept() -> None:
    laws = Laws()
    for at in range(1, 3 * KEPT):
        broken = sample(float(at))
        broken["nodes"]["control"][0] += 1
        laws.check(broken)
    assert (laws.breaches, len(laws.broken)) == (3 * KEPT - 1, KEPT)


def test_a_day_has_room_and_is_judged_in_time() -> None:
    """Of a sample little is kept, and not every pair of a day's is looked at."""
    told = told_of(samples(3))
    assert set(told.samples[0]["ok"]) < {0, 1, 2, 100}
    assert "topics" not in told.samples[0]
    day: list[dict[str, Any]] = [{"at": float(at), "threads": 12} for at in range(86_400)]
    assert judge_growth(growth_of("threads"), day).verdict is HOLDS
    day = [one | {"threads": 12 + int(one["at"] / 60)} for one in day]
    assert judge_growth(growth_of("threads"), day).verdict is FAILS


def test_what_comes_before_the_warm_up_is_over_does_not_count() -> None:
    starting = samples(200, resident=lambda at: 60e6 + 1e6 * min(at, 40))
    verdicts = {one.subject: one.verdict for one in judge(told_of(starting), 41)}
    assert set(verdicts.values()) == {HOLDS}
    verdicts = {one.subject: one.verdict for one in judge(told_of(starting), 1)}
    assert verdicts.pop("resident") is HOLDS  # a fifth of it is no slope
    starting = samples(200, resident=lambda at: 60e6 + 1e6 * min(at, 140))
    [fails] = [one for one in judge(told_of(starting), 1) if one.verdict is FAILS]
    assert fails.subject == "resident"


def test_the_exit_code_is_that_of_the_worst() -> None:
    def judged(*verdicts: Verdict) -> list[Judgement]:
        return [Judgement(subject="", verdict=one, found="", limit="") for one in verdicts]

    assert exit_code(judged(HOLDS, HOLDS)) == 0
    assert exit_code(judged(HOLDS, TOO_SHORT)) == 3
    assert exit_code(judged(TOO_SHORT, FAILS, HOLDS)) == 1


def test_there_is_a_line_of_progress_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    told, progress = Told(held=HELD), Progress(30)
    for one in achieving(0.9, 1.0, 30):
        told.add(one)
        progress(told)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "     1 of 30 s",
        "    10 of 30 s",
        "    20 of 30 s",
        "    30 of 30 s",
    ]
    assert "2 nodes, slowest control  90.0%, late p99 3.0 ms, 60.0 MB, 40 desc" in lines[1]


def test_the_warm_up_is_a_part_of_what_it_has_lived() -> None:
    """Also if it was to live for longer."""
    assert warm_up_of(told_of(samples(50))) == 10
    assert warm_up_of(told_of(samples(900))) == 120
    assert warm_up_of(Told()) == 0


@pytest.mark.parametrize(
    "arguments", [[], ["0"], ["-1"], ["nan"], ["inf"], ["ten"], ["5", "--plant=x"]]
)
def test_arguments_that_make_no_sense_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert "usage: soak" in capsys.readouterr().err


# The page


def recorded(seconds: int = 200, **courses: Callable[[float], Any]) -> dict[str, Any]:
    told = told_of(samples(seconds, **courses))
    judgements = judge(told, 40)
    record = record_of(
        told,
        judgements,
        warm_up=40,
        surroundings=look_around(),
        command="nox -s soak -- 200",
        note="a | b, <all> *quiet*",
    )
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def test_the_page_says_what_was_found() -> None:
    files = page.made_from(recorded(threads=lambda at: 12 + at // 20))
    lines = files["soak.md"].splitlines()
    for line in (
        "| how long | 200 s; the first 40 s are not judged |",
        "| again | `nox -s soak -- 200` |",
        "| load | 1 of 2 processors were busy, 0.3 of them with the robot |",
        "| note | a \\| b, &lt;all> \\*quiet\\* |",
        "| end | holds | its time was over; nothing left behind | well, and with nothing left |",
        "| messages dropped | 4 |",
        "| unplugged (devices) | 7 |",
        "| control | 100 | 100.00 % |",
        "| slow | 2 | 100.00 % |",
    ):
        assert line in lines, line
    assert any(line.startswith("| threads | **FAILS** | +") for line in lines)
    pictures = {f"plots/soak/{n}.svg" for n in ("memory", "things", "rates", "lateness", "load")}
    assert files.keys() == {"soak.md", *pictures}
    for name in pictures:
        assert f"]({name})" in files["soak.md"]


def test_a_row_has_as_many_cells_as_its_table() -> None:
    blocks = page.made_from(recorded())["soak.md"].split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1, table[0]


def test_what_is_written_is_current_until_something_changes(tmp_path: Path) -> None:
    page.write(recorded(), tmp_path)
    assert all(current for _, current in page.is_current(tmp_path))
    (tmp_path / "plots" / "soak" / "old.svg").write_text("")
    (tmp_path / "soak.md").write_text("other")
    stale = [name for name, current in page.is_current(tmp_path) if not current]
    assert stale == ["plots/soak/old.svg", "soak.md"]


def test_the_page_is_what_the_record_says() -> None:
    assert page.main(["--check"]) == 0
    assert page.main(["--nonsense"]) == 2


def test_a_soak_of_two_samples_has_a_page() -> None:
    files = page.made_from(recorded(2))
    assert "plots/soak/rates.svg" not in files
    assert "too short to judge" in files["soak.md"]


def picture_of(curves: Sequence[Curve], **looks: Any) -> tuple[ElementTree.Element, dict[str, Any]]:
    root = ElementTree.fromstring(course("Memory", "MB", curves, warm_up=10, **looks))
    kinds: dict[str, list[ElementTree.Element]] = {}
    for element in root.iter():
        kinds.setdefault(element.get("class") or "", []).append(element)
    return root, kinds


def points_of(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [
        (float(x), float(y)) for x, y in (p.split(",") for p in (line.get("points") or "").split())
    ]


def test_a_curve_is_where_its_values_are_and_says_them() -> None:
    curve = Curve(name="resident", times=[0, 20, 40], values=[60, 61, 62])
    limit = Curve(name="limit", times=[0, 40], values=[60, 64], is_measured=False)
    root, kinds = picture_of([curve, limit])
    (x0, y0), (x1, y1), (x2, y2) = points_of(kinds["hook curve"][0])
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 - y1 == pytest.approx(y1 - y2)
    assert y0 > y1
    [warm] = kinds["warm"]
    assert float(warm.get("width") or 0) == pytest.approx((x1 - x0) / 2, abs=0.02)
    assert points_of(kinds["soft curve"][0])[0] == (x0, y0)
    said = root.findtext(f"{SVG}desc")
    assert said == "MB. resident: from 61 to 62, median 61.5, at the end 62."
    assert root.findtext(f"{SVG}title") == "Memory"


def test_equal_factors_are_equal_heights() -> None:
    curve = Curve(name="p99", times=[0, 1, 2, 3], values=[0.0, 1, 10, 100])
    _, kinds = picture_of([curve], logarithmic=True)
    y = [y for _, y in points_of(kinds["hook curve"][0])]
    assert y[1] - y[2] == pytest.approx(y[2] - y[3])
    assert y[0] == y[1]  # 0 has no place of its own


def test_a_flat_curve_has_an_axis() -> None:
    for value in (0.0, 3.0, 1e9):
        curve = Curve(name="threads", times=[0, 1], values=[value, value])
        picture_of([curve])
        picture_of([curve], low=0)
        picture_of([curve], logarithmic=True)


# What becomes of the processes

WORLD = "import sys; print('{}', flush=True); sys.stdin.read(); print('{\"unplugged\": 1}')"


def tells(*lines: Mapping[str, Any], then: str) -> tuple[str, str]:
    """A program in the robot's place."""
    texts = [json.dumps(line) for line in lines]
    return "-c", f"import os, signal, sys, time\nprint(*{texts!r}, sep='\\n', flush=True)\n{then}"


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, str]], Told]:
    """Watch a program in the robot's place, and what it says of itself."""
    monkeypatch.setattr(watching, "WORLD", ("-c", WORLD))

    def watch_it(robot: tuple[str, str], on_sample: Callable[[Told], object] = id) -> Told:
        monkeypatch.setattr(watching, "ROBOT", robot)
        return watching.watch(60, plants=(), every=1, on_sample=on_sample)

    return watch_it


def test_a_robot_that_crashes_is_judged_by_what_it_has_told(
    in_place: Callable[..., Told], capfd: pytest.CaptureFixture[str]
) -> None:
    told = in_place(tells({"held": HELD}, sample(1.0), sample(2.0), then="sys.exit(7)"))
    assert [one["at"] for one in told.samples] == [1.0, 2.0]
    assert (told.end, told.done) == ({}, {"unplugged": 1})
    assert "the robot has ended with exit code 7" in capfd.readouterr().err
    assert FAILS in {one.verdict for one in judge(told, 0)}


@pytest.mark.slow
def test_a_robot_that_hangs_is_asked_where_and_killed(
    in_place: Callable[..., Told],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 3.0)
    monkeypatch.setattr(watching, "DUMPING", 0.5)
    say = "signal.signal(signal.SIGUSR1, lambda *_: os.write(2, b'I wait for Godot'))"
    told = in_place(tells({"held": HELD}, sample(1.0), then=f"{say}\nwhile True: time.sleep(60)"))
    assert len(told.samples) == 1
    said = capfd.readouterr().err
    assert "the robot has said nothing for 3 s:" in said
    assert "I wait for Godot" in said


def test_ctrl_c_asks_it_to_stop_and_the_second_one_kills_it(in_place: Callable[..., Told]) -> None:
    end = {"end": END | {"reason": "SIGINT"}}
    stop = f"signal.signal(signal.SIGINT, lambda *_: (print({json.dumps(end)!r}), sys.exit()))"
    polite = tells({"held": HELD}, then=f"{stop}\nprint({json.dumps(sample(1.0))!r}, flush=True)")
    wait = "\nwhile True: time.sleep(60)"
    told = in_place((polite[0], polite[1] + wait), lambda told: signal.raise_signal(signal.SIGINT))
    assert told.interrupted
    assert told.end["reason"] == "SIGINT"

    deaf = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    rude = tells({"held": HELD}, then=f"{deaf}print({json.dumps(sample(1.0))!r}, flush=True)")

    def twice(told: Told) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    told = in_place((rude[0], rude[1] + wait), twice)
    assert told.interrupted
    assert told.end == {}


def test_a_world_that_does_not_start_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "WORLD", ("-c", "raise SystemExit(3)"))
    assert main(["60"]) == 1
    assert "soak: the devices could not be started" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as refused:
        main(["60", "--record", "--to", str(tmp_path / "file" / "folder")])
    assert refused.value.code == 2
    assert "Not a directory" in capsys.readouterr().err


# Real runs, in processes of their own


def start(*arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "bench")))
    return subprocess.Popen(
        [sys.executable, "-m", "soak", "--every", "0.2", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def verdicts_in(said: str) -> dict[str, str]:
    """The verdict on each subject."""
    found: dict[str, str] = {}
    for line in said.splitlines():
        if match := re.match(r"(holds|FAILS|too short to judge) {2,}(\S.*?) {2,}", line):
            found[match[2]] = match[1]
    return found


@pytest.mark.slow
@on_linux
def test_sixty_nodes_live_for_some_seconds(tmp_path: Path) -> None:
    said, complaints = start("6", "--record", "--to", str(tmp_path)).communicate(timeout=90)
    assert complaints == ""
    verdicts = verdicts_in(said)
    # Rates are for a machine of one's own.
    assert verdicts.pop(next(name for name in verdicts if name.startswith("rates"))) != "holds"
    assert verdicts.pop("laws of nodes and topics") == "holds", said
    assert verdicts.pop("numbered messages") == "holds", said
    assert verdicts.pop("end") == "holds", said
    assert verdicts.pop("devices") == "holds", said
    assert verdicts == dict.fromkeys((growth.what for growth in GROWTHS), "too short to judge")
    found = json.loads((tmp_path / page.RESULT).read_text("utf-8"))
    assert found["nodes"] == NODES == 60
    assert all(current for _, current in page.is_current(tmp_path))
    assert found["done"]["unplugged"] >= 3
    for what in ("raised", "timed out", "abandoned", "restarts", "messages sent"):
        assert found["totals"][what] > 0, what


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("plants", [("memory", "descriptors", "threads"), ("rates",)], ids=len)
def test_planted_faults_are_noticed(plants: tuple[str, ...]) -> None:
    asked = [f"--plant={plant}" for plant in plants]
    soak = start("5", "--warm-up", "0.5", *asked)
    said, _ = soak.communicate(timeout=90)
    assert soak.returncode == 1
    noticed = {name.split()[0] for name, verdict in verdicts_in(said).items() if verdict == "FAILS"}
    subjects = {"memory": "resident"}
    # A machine that is busy costs rates, too.
    assert noticed - {"rates"} == {subjects.get(plant, plant) for plant in plants} - {"rates"}, said
    assert "rates" not in plants or "rates" in noticed, said


@pytest.mark.slow
@on_linux
def test_ctrl_c_ends_it_with_what_was_told_so_far() -> None:
    soak = start("600")
    assert soak.stdout is not None
    assert "sixty nodes for 600 s" in soak.stdout.readline()
    assert "60 nodes" in soak.stdout.readline()
    time.sleep(1.0)
    soak.send_signal(signal.SIGINT)
    said, complaints = soak.communicate(timeout=60)
    assert complaints == ""
    assert verdicts_in(said)["end"] == "holds", said
    assert "SIGINT" in said
    assert soak.returncode in (1, 3)


def test_judging_changes_nothing() -> None:
    found = samples(150)
    before = copy.deepcopy(found)
    judge(told_of(found), 30)
    assert found == before
