"""What is shown of a robot, and how it is made to fit."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import horus_trio as horus
from horus_trio.cli.capture import Capture
from horus_trio.cli.console import Console
from horus_trio.cli.frame import Frame, NodeRow
from horus_trio.cli.table import Table


def frame(*nodes: NodeRow, elapsed: float = 1.0, **more: Any) -> Frame:
    return Frame(name="rover", running=True, elapsed=elapsed, nodes=nodes, **more)


def node(name: str, **values: Any) -> NodeRow:
    return NodeRow(name=name, **({"state": "running"} | values))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setenv("COLUMNS", "100")
    return Table(Console(io.StringIO()))


def names(rows: list[str]) -> list[str]:
    return [row.split()[0] if row else "" for row in rows]


def test_all_nodes_in_their_order_where_there_is_room(table: Table) -> None:
    table.observe(frame(node("b", health=2), node("a"), sent={"imu": 3}, left_behind=2))
    rows = table.rows(5)
    assert names(rows) == ["node", "b", "a", "", "messages:"]
    assert rows[-1] == "messages: imu 3; threads left behind: 2"


def test_the_worst_where_there_is_not(table: Table) -> None:
    nodes = [node(f"n{i}") for i in range(20)]
    nodes[7] = node("n7", health=1)
    nodes[13] = node("n13", health=2)
    nodes[17] = node("n17", state="paused")
    table.observe(frame(*nodes))
    rows = table.rows(9)
    assert len(rows) == 9
    assert names(rows)[1:] == ["n13", "n7", "n17", "n0", "n1", "…", "", "messages:"]
    assert "… and 15 more" in rows


@pytest.mark.parametrize("number", [1, 2, 5, 17, 18, 19, 40])
@pytest.mark.parametrize("space", [4, 5, 10, 20])
def test_it_always_fits_and_says_how_many_are_left_out(
    table: Table, number: int, space: int
) -> None:
    table.observe(frame(*(node(f"n{i}") for i in range(number))))
    rows = table.rows(space)
    assert len(rows) <= space
    shown = [name for name in names(rows) if name.startswith("n") and name != "node"]
    more = [int(row.split()[2]) for row in rows if row.startswith("…")]
    assert len(shown) + sum(more) == number


def test_rates_are_those_of_the_last_second(table: Table) -> None:
    for tenth in range(30):
        table.observe(frame(node("imu", ok=10 * tenth, achieved=7.0), elapsed=tenth / 10))
        rate = float(table.rows(9)[1].split()[2])
        assert rate == pytest.approx(100.0 if tenth else 7.0)
    table.observe(frame(node("imu", ok=290), elapsed=3.9))  # it has not ticked since
    assert float(table.rows(9)[1].split()[2]) == 0.0
    table.observe(frame(node("imu", ok=3, achieved=5.0), elapsed=0.1))  # another run
    assert float(table.rows(9)[1].split()[2]) == 5.0


def test_a_line_names_few(table: Table) -> None:
    table.observe(frame(*(node(f"n{i}") for i in range(10)), node("bad", state="stuck", health=2)))
    line = table.summary()
    assert line.startswith("  1.0 s  bad stuck, n0 0 Hz, n1 0 Hz")
    assert line.endswith(", … and 3 more")


def test_a_long_name_is_cut(table: Table) -> None:
    table.observe(frame(node("x" * 100)))
    assert table.rows(9)[1].startswith("x" * 23 + "… ")


def test_a_frame_travels_also_between_versions() -> None:
    there = frame(node("imu", ok=3), sent={"imu": 4})
    values = json.loads(json.dumps(there.to_dict()))
    assert Frame.from_dict(values) == there
    values["new"] = values["nodes"][0]["new"] = 1
    assert Frame.from_dict(values) == there
    assert Frame.from_dict({}) == Frame()


def test_a_frame_shows_a_scheduler() -> None:
    class Idle(horus.Node):
        def tick(self) -> None:
            pass

    shown = Frame.of(horus.Scheduler(name="rover").add(Idle("idle")).statistics())
    assert shown == Frame(name="rover", nodes=(NodeRow(name="idle", state="new"),))


# What is printed meanwhile


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_prints_are_kept_while_a_table_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, file = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", file)
    import sys

    capture = Capture()
    with capture.installed():
        print("before")
        capture.hold()
        print("one", "two", sep="\n")
        sys.stdout.write("half")
        print("a file is no business of the table's", file=sys.stderr)
        assert capture.take() == ["one", "two"]
        assert capture.take() == []
        print(" a line")
        print("last", end="")
        assert terminal.getvalue() == "before\n"
        capture.release(discard=False)
        print(" words")
    assert sys.stdout is terminal
    assert terminal.getvalue() == "before\nhalf a line\nlast words\n"
    assert file.getvalue() == "a file is no business of the table's\n"


def test_prints_beyond_measure_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    capture = Capture()
    with capture.installed():
        capture.hold()
        for _ in range(30):
            print("x" * 99_999, end="\n")
        lines = capture.take()
        assert 9 <= len(lines) <= 11
        assert lines[-1].endswith("prints did not fit and were dropped")
        print("y")
        assert capture.take() == ["y"]
        print("z")
        capture.release(discard=True)
    assert terminal.getvalue() == ""
