"""Makes the page of figures from what programs have recorded: ``python tests/bench/_figures.py``.

`docs/performance/results/NAME.json` is what the program NAME has found. All of them together make
`figures.md`, a section each, and the pictures in `plots/`; nothing else is in there. With
``--check`` nothing is written; a file that is not as it would be made now is named, and the exit
code is 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _plots import plot
from _tables import Row, Table, in_digits

__all__ = ["PAGE", "is_current", "made_from", "write"]

FOLDER = Path(__file__).parents[2] / "docs" / "performance"
PAGE = "figures.md"

HEAD = """\
# Figures

Made by `nox -s bench`, and not by hand. [How to read them, and how to take your own](index.md).

"""


def made_from(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The text of each file, by its name below the folder.

    Arguments:
        results: What each program has recorded, by the program's name.
    """
    files: dict[str, str] = {}
    sections: list[str] = []
    tables = {
        program: [Table.from_json(table) for table in results[program]["tables"]]
        for program in sorted(results)
    }
    for program, found in tables.items():
        section = [f"## {program}", results[program]["about"], *_provenance(results[program])]
        for number, table in enumerate(found, 1):
            section += [f"### {_cell(table.title)}", _markdown(table)]
            picture = plot(table)
            if picture is not None:
                name = f"plots/{program}-{number}.svg"
                files[name] = picture
                section.append(f"![{_cell(table.title)}: the table above as a picture]({name})")
        sections.append("\n\n".join(section) + "\n")
    files[PAGE] = HEAD + _summary(tables) + "\n" + "\n".join(sections)
    return files


def write(folder: Path = FOLDER) -> None:
    """Write the page and the pictures, and remove pictures of tables that are no more."""
    files = made_from(_results(folder))
    for old in _pictures(folder) - files.keys():
        (folder / old).unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def is_current(folder: Path = FOLDER) -> Iterator[tuple[str, bool]]:
    """Each file that is there or should be, and whether it is as it would be made now."""
    files = made_from(_results(folder))
    for name in sorted(files.keys() | _pictures(folder)):
        there = (folder / name).read_text("utf-8") if (folder / name).exists() else None
        yield name, there == files.get(name)


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.stem: json.loads(path.read_text("utf-8"))
        for path in sorted((folder / "results").glob("*.json"))
    }


def _pictures(folder: Path) -> set[str]:
    return {f"plots/{path.name}" for path in (folder / "plots").glob("*.svg")}


def _summary(tables: Mapping[str, list[Table]]) -> str:
    """How many targets are reached, and which are not."""
    judged = [
        (program, table, row)
        for program, found in tables.items()
        for table in found
        for row in table.rows
        if row.reached is not None
    ]
    missed = [(program, table, row) for program, table, row in judged if not row.reached]
    if not judged:
        return "No program has a target.\n"
    lines = [f"{len(judged) - len(missed)} of {len(judged)} targets are reached.\n"]
    if missed:
        lines += [
            "These are not:\n",
            "| program | figure | is | target | reason |",
            "|---|---|---|---|---|",
        ]
    for program, table, row in missed:
        target = row.target
        if target is not None:
            figure = f"{_cell(table.title)}: {_name(row, table)}"
            reason = _cell(target.why_missed) or "not known yet"
            cells = [f"[{program}](#{program})", figure, f"{row.judged:.3g}"]
            lines.append(f"| {' | '.join([*cells, _signs(target.bounds), reason])} |")
    return "\n".join(lines) + "\n"


def _provenance(found: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    rows = [
        "| taken with | |",
        "|---|---|",
        f"| machine | {_cell(found['machine'])} |",
        f"| versions | {_cell(versions)} |",
        f"| when | {found['date']} |",
        f"| source | {_cell(found['commit'])} |",
        f"| again | `{found['command']}` |",
    ]
    return ["\n".join(rows)]


def _markdown(table: Table) -> str:
    if table.kind == "counts":
        rows = [f"| {_cell(table.unit)} | | of | part | target |", "|---|--:|--:|--:|---|"]
        for row in table.rows:
            figure = in_digits(row.median) if row.figures else ""
            whole = "" if row.whole is None else in_digits(row.whole)
            part = "" if row.ratio is None else f"{row.ratio:.3g}"
            rows.append(f"| {_cell(row.name)} | {figure} | {whole} | {part} | {_verdict(row)} |")
        return "\n".join(rows)
    if table.kind in ("distribution", "course"):
        return _progress(table)
    first = "program" if table.kind == "compare" else f"{_cell(table.of)} | program"
    times = f"{table.repetitions} repetitions, turn by turn."
    rows = [
        f"{_cell(table.unit)}; {times}\n",
        f"| {first} | median | minimum to maximum | ratio | target |",
        f"|{'' if table.kind == 'compare' else '--:|'}---|--:|--:|--:|---|",
    ]
    for row in table.rows:
        size = "" if row.size is None else f"{row.size} | "
        if row.figures:
            spread = f"{in_digits(min(row.figures))} to {in_digits(max(row.figures))}"
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            figures = f"{in_digits(row.median)} | {spread} | {ratio}"
        else:
            figures = " | | "
        rows.append(f"| {size}{_cell(row.name)} | {figures} | {_verdict(row)} |")
    return "\n".join(rows)


def _progress(table: Table) -> str:
    """A distribution by some of its percentiles, or a course by its mean and bounds."""
    unit = _cell(table.unit)
    if table.kind == "distribution":
        heads = ["least", "p50", "p90", "p99", "most"]
    else:
        heads = ["mean", "least", "most", "asked for"]
    rows = [f"| {unit} | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
    for row in table.rows:
        if not row.figures:
            cells = [_cell(row.verdict), *[""] * (len(heads) - 1)]
        elif table.kind == "distribution":
            cells = [in_digits(row.figures[part]) for part in (0, 50, 90, 99, 100)]
        else:
            mean = sum(row.figures) / len(row.figures)
            bounds = min(row.figures), max(row.figures)
            cells = [f"{figure:.4g}" for figure in (mean, *bounds, row.whole or 0.0)]
        rows.append(f"| {_cell(row.name)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _verdict(row: Row) -> str:
    """The target and whether it is reached, or why there is no figure."""
    if row.target is None or row.reached is None:
        return _cell(row.verdict)
    if row.reached:
        return f"{_signs(row.target.bounds)}: reached"
    reason = f": {_cell(row.target.why_missed)}" if row.target.why_missed else ""
    return f"{_signs(row.target.bounds)}: **missed**{reason}"


def _name(row: Row, table: Table) -> str:
    return _cell(row.name if row.size is None else f"{row.name}, {row.size} {table.of}")


def _signs(bounds: str) -> str:
    return bounds.replace("<=", "≤").replace(">=", "≥")


def _cell(text: str) -> str:
    """Text that stands in a cell of a table as it is."""
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def main(arguments: list[str]) -> int:
    """Write the files, or check them; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: _figures.py [--check]", file=sys.stderr)
        return 2
    if not arguments:
        write()
        return 0
    stale = [name for name, current in is_current() if not current]
    for name in stale:
        print(f"{name} is not what the results say; run tests/bench/_figures.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
