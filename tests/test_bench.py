"""What the measuring programs find is recorded, judged, drawn and put on a page as it was found."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import _compare
import _figures
import _plots
import _run
import _surroundings
import pytest
from _compare import (
    Count,
    NotMeasured,
    Target,
    compare,
    counts,
    course,
    curve,
    distribution,
)
from _tables import Row, Table, in_digits

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "tests" / "bench"
SVG = "{http://www.w3.org/2000/svg}"

BARS = Table(
    kind="compare",
    title="A tick",
    unit="µs",
    base="bare",
    repetitions=3,
    rows=(
        Row(name="bare", figures=(10.0, 12.0, 11.0), ratio=1.0),
        Row(name="ours", figures=(12.0, 15.0, 11.0), ratio=1.2, target=Target(at_most=1.3)),
        Row(
            name="ours | all",
            figures=(20.0, 30.0, 22.0),
            ratio=2.0,
            target=Target(at_most=1.5, why_missed="two locks"),
        ),
        Row(name="theirs", target=Target(at_most=1.0), not_measured="there is no `theirs`"),
    ),
)
CURVE = Table(
    kind="curve",
    title="Ticks",
    unit="µs",
    base="bare",
    of="nodes",
    repetitions=2,
    rows=tuple(
        Row(name=name, size=size, figures=(cost * size, cost * size), ratio=cost, target=target)
        for size in (1, 10, 100)
        for name, cost, target in (("bare", 1.0, None), ("ours", 2.0, Target(at_most=1.5)))
    ),
)
COUNTS = Table(
    kind="counts",
    title="Ticks kept",
    unit="ticks",
    rows=(
        Row(name="ours", figures=(299.0,), ratio=299 / 300, whole=300.0, target=Target(at_least=1)),
        Row(name="threads", figures=(5.0,), target=Target(at_most=5)),
    ),
)

DISTRIBUTION = Table(
    kind="distribution",
    title="Lateness",
    unit="ms",
    base="bare",
    rows=(
        Row(name="bare", figures=tuple((50 + part) / 100 for part in range(101))),
        Row(name="horus_trio", figures=tuple((10 + part) / 1000 for part in range(101))),
        Row(name="theirs", not_measured="there is no `theirs`"),
    ),
)
COURSE = Table(
    kind="course",
    title="Achieved rate",
    unit="Hz",
    base="bare",
    step=0.5,
    rows=(
        Row(name="bare", figures=(100.0, 98.0, 102.0, 100.0), whole=100.0),
        Row(name="horus_trio", figures=(100.0, 100.0, 100.0, 100.0), whole=100.0),
        Row(name="theirs", not_measured="there is no `theirs`"),
    ),
)


def recorded(*tables: Table) -> dict[str, Any]:
    """What a program would have written."""
    return {
        "about": "What it measures.",
        "machine": "a machine",
        "versions": {"CPython": "3.11.7"},
        "date": "2026-01-02 03:04 UTC",
        "commit": "0123456789",
        "command": "nox -s bench -- it",
        "tables": [table.to_json() for table in tables],
    }


def in_turn(*figures: float) -> Callable[[], float]:
    """A program that gives these figures, one after the other."""
    return iter(figures).__next__


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that this test records in, as a program of its own would."""
    file = tmp_path / "it.json"
    monkeypatch.setenv(_compare.RECORD, str(file))
    monkeypatch.setattr(_compare, "_tables", [])
    monkeypatch.setattr(_compare, "_surroundings", None)
    return file


# Recording


def test_a_table_comes_back_from_json() -> None:
    for table in (BARS, CURVE, COUNTS, DISTRIBUTION, COURSE):
        assert Table.from_json(json.loads(json.dumps(table.to_json()))).rows == tuple(
            Row(
                name=row.name,
                size=row.size,
                figures=row.figures,
                ratio=None if row.ratio is None else float(f"{row.ratio:.6g}"),
                whole=row.whole,
                target=row.target,
                not_measured=row.not_measured,
            )
            for row in table.rows
        )


def test_ratios_are_taken_within_a_repetition(
    record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> float:
        raise NotMeasured("it is not installed")

    ratios = compare(
        "A tick",
        "µs",
        {"bare": in_turn(1, 2, 4), "ours": in_turn(3, 4, 4), "theirs": absent},
        base="bare",
        repetitions=3,
        targets={"ours": Target(at_most=1.9, why_missed="a reason")},
    )
    assert ratios == {"bare": 1.0, "ours": 2.0}
    said = capsys.readouterr().out
    assert "2.00  target <= 1.9: MISSED (a reason)" in said
    assert "not measured: it is not installed" in said
    found = json.loads(record.read_text())
    [table] = map(Table.from_json, found["tables"])
    assert [row.figures for row in table.rows] == [(1, 2, 4), (3, 4, 4), ()]
    assert [row.reached for row in table.rows] == [None, False, None]
    assert table.rows[2].not_measured == "it is not installed"
    assert {"about", "machine", "versions", "date", "commit", "command"} < found.keys()


def test_nothing_is_compared_with_a_base_that_is_absent(record: Path) -> None:
    def absent() -> float:
        raise NotMeasured("no base")

    programs = {"bare": absent, "ours": in_turn(3, 4)}
    assert compare("A tick", "µs", programs, base="bare", repetitions=2) == {}
    [table] = map(Table.from_json, json.loads(record.read_text())["tables"])
    assert table.rows[1].figures == (3, 4)
    assert table.rows[1].ratio is None
    assert _plots.plot(table) is None


def test_each_table_is_there_as_soon_as_it_is_complete(record: Path) -> None:
    ratios = curve(
        "Ticks",
        "µs",
        (1, 10),
        "nodes",
        {"bare": float, "ours": lambda size: 2.0 * size},
        base="bare",
        repetitions=2,
    )
    assert ratios == {"bare": {1: 1.0, 10: 1.0}, "ours": {1: 2.0, 10: 2.0}}
    assert len(json.loads(record.read_text())["tables"]) == 1
    counts(
        "Kept",
        "ticks",
        [
            Count(name="ours", figure=3, whole=4, target=Target(at_least=0.9)),
            Count(name="theirs", figure=None, not_measured="not here"),
        ],
    )
    kept = Table.from_json(json.loads(record.read_text())["tables"][1])
    assert kept.rows[0].ratio == 0.75
    assert kept.rows[0].reached is False
    assert kept.rows[1].verdict == "not measured: not here"


def test_a_failing_program_is_not_taken_for_an_absent_one(record: Path) -> None:
    def broken() -> float:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        compare("A tick", "µs", {"bare": broken}, base="bare")
    assert not record.exists()


@pytest.mark.parametrize(
    ("target", "bounds", "inside", "outside"),
    [
        (Target(at_most=1.3), "<= 1.3", [1.3, 0], [1.31]),
        (Target(at_least=12), ">= 12", [12, 99], [11.9]),
        (Target(at_least=0.9, at_most=1.1), ">= 0.9, <= 1.1", [0.9, 1.1], [0.89, 1.11]),
    ],
)
def test_a_target_includes_its_bounds(
    target: Target, bounds: str, inside: list[float], outside: list[float]
) -> None:
    assert target.bounds == bounds
    assert all(target.holds(figure) for figure in inside)
    assert not any(target.holds(figure) for figure in outside)


def test_figures_have_three_digits() -> None:
    assert [in_digits(x) for x in (0.01234, 1.5, 99.94, 151.4, 1_800_000.0)] == [
        "0.0123",
        "1.5",
        "99.9",
        "151",
        "1,800,000",
    ]


# The page


def test_the_page_says_what_was_found() -> None:
    files = _figures.made_from({"tick": recorded(BARS, CURVE, COUNTS)})
    assert sorted(files) == ["figures.md", "plots/tick-1.svg", "plots/tick-2.svg"]
    page = files["figures.md"]
    for line in (
        "2 of 7 targets are reached.",
        "| [tick](#tick) | A tick: ours \\| all | 2 | ≤ 1.5 | two locks |",
        "| [tick](#tick) | Ticks: ours, 100 nodes | 2 | ≤ 1.5 | not known yet |",
        "| machine | a machine |",
        "| again | `nox -s bench -- it` |",
        "µs; 3 repetitions, turn by turn.",
        "| ours | 12 | 11 to 15 | 1.20 | ≤ 1.3: reached |",
        "| ours \\| all | 22 | 20 to 30 | 2.00 | ≤ 1.5: **missed**: two locks |",
        "| theirs |  | |  | not measured: there is no `theirs` |",
        "| 10 | ours | 20 | 20 to 20 | 2.00 | ≤ 1.5: **missed** |",
        "| ours | 299 | 300 | 0.997 | ≥ 1: **missed** |",
        "![A tick: the table above as a picture](plots/tick-1.svg)",
    ):
        assert line in page.splitlines(), line
    assert "```" not in page


def test_a_row_has_as_many_cells_as_its_table() -> None:
    page = _figures.made_from({"tick": recorded(BARS, CURVE, COUNTS)})["figures.md"]
    tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(tables) == 5
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1, table[0]


def test_what_a_run_was_like_is_on_the_page() -> None:
    files = _figures.made_from({"run": recorded(DISTRIBUTION, COURSE)})
    assert sorted(files) == ["figures.md", "plots/run-1.svg", "plots/run-2.svg"]
    for line in (
        "| ms | least | p50 | p90 | p99 | most |",
        "| horus_trio | 0.01 | 0.06 | 0.1 | 0.109 | 0.11 |",
        "| theirs | not measured: there is no `theirs` |  |  |  |  |",
        "| Hz | mean | least | most | asked for |",
        "| bare | 100 | 98 | 102 | 100 |",
        "No program has a target.",
    ):
        assert line in files["figures.md"].splitlines(), line


def test_a_run_is_recorded_as_percentiles_and_as_a_course(
    record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = NotMeasured("it is not installed")
    late = [number / 10 for number in range(1000)]
    distribution("Late", "ms", {"bare": late, "theirs": absent}, base="bare")
    course("Rate", "Hz", {"bare": [9, 11], "theirs": absent}, base="bare", asked=10, step=0.5)
    found = [Table.from_json(table) for table in json.loads(record.read_text())["tables"]]
    assert [table.kind for table in found] == ["distribution", "course"]
    parts = found[0].rows[0].figures
    assert len(parts) == 101
    assert (parts[0], parts[50], parts[99], parts[100]) == (0.0, 50.0, 99.0, 99.9)
    assert (found[1].rows[0].figures, found[1].rows[0].whole) == ((9, 11), 10)
    assert found[1].step == 0.5
    assert {table.rows[1].not_measured for table in found} == {"it is not installed"}
    assert "10.00, from 9 to 11" in capsys.readouterr().out


def test_a_program_renews_its_own_section_alone(tmp_path: Path) -> None:
    def put(name: str, *tables: Table) -> None:
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(recorded(*tables)))

    put("first", BARS, CURVE)
    put("second", CURVE)
    _figures.write(tmp_path)
    before = (tmp_path / "figures.md").read_text("utf-8").partition("## second")
    assert all(current for _, current in _figures.is_current(tmp_path))

    put("first", COUNTS)
    assert [name for name, current in _figures.is_current(tmp_path) if not current] == [
        "figures.md",
        "plots/first-1.svg",
        "plots/first-2.svg",
    ]
    _figures.write(tmp_path)
    after = (tmp_path / "figures.md").read_text("utf-8").partition("## second")
    assert before[0] != after[0]
    assert before[2] == after[2]
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["second-1.svg"]


def test_the_page_is_what_the_results_say() -> None:
    assert _figures.main(["--check"]) == 0


# Pictures


def parts(table: Table) -> tuple[ElementTree.Element, dict[str, list[ElementTree.Element]]]:
    """A picture, and its shapes by kind."""
    root = ElementTree.fromstring(_plots.plot(table) or "")
    kinds: dict[str, list[ElementTree.Element]] = {}
    for element in root.iter():
        kinds.setdefault(element.get("class") or "", []).append(element)
    return root, kinds


@pytest.mark.parametrize("table", [BARS, CURVE], ids=["bars", "curve"])
def test_a_picture_says_what_it_shows(table: Table) -> None:
    root, _ = parts(table)
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == table.title
    said = root.findtext(f"{SVG}desc") or ""
    for row in table.rows:
        assert row.name in said
    assert "target <= 1.5 missed" in said


def test_a_bar_is_as_long_as_its_ratio_and_the_target_has_a_mark() -> None:
    _, kinds = parts(BARS)
    bars = kinds["soft bar"]
    lengths = [float(bar.get("width") or 0) for bar in bars]
    assert lengths[1] == pytest.approx(1.2 * lengths[0], abs=0.02)
    assert lengths[2] == pytest.approx(2.0 * lengths[0], abs=0.02)
    origin = float(bars[0].get("x") or 0)
    marks = [float(mark.get("x1") or 0) - origin for mark in kinds["goal"]]
    assert marks == pytest.approx([1.3 * lengths[0], 1.5 * lengths[0]], abs=0.02)
    assert len(kinds["missed"]) == 2  # the two arms of one cross
    assert "not measured" in [text.text for text in kinds["small"]]


def test_a_curve_of_several_magnitudes_is_straight() -> None:
    _, kinds = parts(CURVE)
    line = kinds["hook curve"][0]
    points = [tuple(map(float, p.split(","))) for p in (line.get("points") or "").split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.02)
    assert y0 > y1 > y2
    assert len(kinds["missed"]) == 2 * 3


def test_ratios_of_several_magnitudes_begin_at_one() -> None:
    rows = (
        Row(name="bare", figures=(10.0,), ratio=1.0),
        Row(name="fast", figures=(200.0,), ratio=20.0, target=Target(at_least=12)),
        Row(name="slow", figures=(1.0,), ratio=0.1),
    )
    table = Table(kind="compare", title="Messages", unit="1/s", base="bare", rows=rows)
    _, kinds = parts(table)
    [one] = kinds["one"]
    middle = float(one.get("x1") or 0)
    _, fast, slow = kinds["soft bar"]
    assert float(fast.get("x") or 0) == pytest.approx(middle, abs=0.02)
    assert float(slow.get("x") or 0) + float(slow.get("width") or 0) == pytest.approx(
        middle, abs=0.02
    )


def points_of(kind: str, table: Table) -> list[tuple[float, float]]:
    """Of the one curve of a kind."""
    _, kinds = parts(table)
    [line] = [shape for shape in kinds[kind] if shape.tag == f"{SVG}polyline"]
    return [(float(x), float(y)) for x, y in (p.split(",") for p in line.get("points", "").split())]


def test_a_distribution_rises_from_none_to_all() -> None:
    ours, bare = points_of("hook curve", DISTRIBUTION), points_of("soft curve", DISTRIBUTION)
    for points in (ours, bare):
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))
        assert (points[0][1], points[-1][1]) == (_plots.CURVE_BOTTOM, _plots.CURVE_TOP)
    assert ours[-1][0] < bare[0][0]  # less late, so further to the left
    said = parts(DISTRIBUTION)[0].findtext(f"{SVG}desc") or ""
    assert "horus_trio: p50 0.06, p99 0.109. theirs: not measured." in said


def test_a_course_runs_beside_what_was_asked_for() -> None:
    _, kinds = parts(COURSE)
    [asked] = kinds["one"]
    height = float(asked.get("y1", "0"))
    assert {y for _, y in points_of("hook curve", COURSE)} == {height}
    bare = points_of("soft curve", COURSE)
    assert bare[1][1] - height == pytest.approx(height - bare[2][1], abs=0.02)
    apart = {round(b[0] - a[0], 1) for a, b in itertools.pairwise(bare)}
    assert len(apart) == 1


def test_the_engines_curve_lies_on_top() -> None:
    root, _ = parts(COURSE)
    lines = [element.get("class") for element in root.iter(f"{SVG}polyline")]
    assert lines == ["soft curve", "hook curve"]


def test_counts_have_no_picture() -> None:
    assert _plots.plot(COUNTS) is None


# Running


PROGRAM = """\
from _compare import compare, print_machine

print_machine()
compare("A tick", "µs", {"bare": lambda: 1.0, "ours": lambda: 2.0}, base="bare", repetitions=1)
"""


@pytest.mark.slow
def test_a_failing_program_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(BENCH))
    here, folder = tmp_path / "bench", tmp_path / "performance"
    here.mkdir()
    (folder / "results").mkdir(parents=True)
    (here / "a_broken.py").write_text(PROGRAM + "raise SystemExit(3)\n")
    (here / "b_good.py").write_text(PROGRAM)
    (here / "c_silent.py").write_text("print('hello')\n")
    (here / "_helper.py").write_text("raise SystemExit(9)\n")
    before = json.dumps(recorded(COUNTS))
    (folder / "results" / "a_broken.json").write_text(before)

    names = _run.programs(here)
    assert names == ["a_broken", "b_good", "c_silent"]
    assert _run.run_all(names, folder, here) == {
        "a_broken": "ended with exit code 3",
        "c_silent": "recorded no table",
    }
    assert (folder / "results" / "a_broken.json").read_text() == before
    page = (folder / "figures.md").read_text("utf-8")
    assert re.findall("^## .*$", page, re.MULTILINE) == ["## a_broken", "## b_good"]
    assert "| ours | 2 | 2 to 2 | 2.00 |  |" in page
    found = json.loads((folder / "results" / "b_good.json").read_text("utf-8"))
    assert found["command"] == "nox -s bench -- b_good"
    assert found["versions"].keys() >= {"CPython", "trio", "horus-trio"}


@pytest.mark.slow
@pytest.mark.parametrize("program", ["camera", "real_run"])
def test_a_program_that_only_glimpses_records_its_tables(program: str, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    subprocess.run(
        [sys.executable, str(BENCH / f"{program}.py")],
        env=os.environ
        | {"BENCH_QUICK": "1", _compare.RECORD: str(record), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    tables = [Table.from_json(table) for table in json.loads(record.read_text("utf-8"))["tables"]]
    assert tables
    assert all(row.figures or row.not_measured for table in tables for row in table.rows)
    assert all(table.rows[0].figures for table in tables)


def test_the_exit_code_tells_of_a_failing_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong: dict[str, str] = {}
    monkeypatch.setattr(_run, "run_all", lambda *arguments: wrong)
    assert _run.main(["--to", str(tmp_path)]) == 0
    wrong["lateness"] = "ended with exit code 1"
    assert _run.main(["--to", str(tmp_path), "lateness"]) == 1
    assert "lateness ended with exit code 1" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        _run.main(["--to", str(tmp_path), "no_such_program"])


def test_a_version_that_nobody_tells_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HORUS_PYTHON", "/there/is/no/python")
    assert _surroundings.look_around().versions["horus-robotics"] == "unknown"


def test_figures_taken_ahead_of_other_programs_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _surroundings.look_around().command.startswith("chrt")
    monkeypatch.setattr(os, "sched_getscheduler", lambda pid: os.SCHED_RR)
    monkeypatch.setattr(os, "sched_getparam", lambda pid: os.sched_param(20))
    assert _surroundings.look_around().command.startswith("chrt --rr 20 nox -s bench -- ")
