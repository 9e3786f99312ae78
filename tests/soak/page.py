"""Makes the page and its pictures from what was recorded: ``python -m soak.page [--check]``.

`docs/performance/results/soak/soak.json` is the latest recorded soak. It makes `soak.md`, and the
pictures in `plots/soak/`. With ``--check`` nothing is written; a file that is not as it would be
made now is named, and the exit code is 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .courses import Curve, course

__all__ = ["FOLDER", "is_current", "made_from", "write"]

FOLDER = Path(__file__).parents[2] / "docs" / "performance"

RESULT = Path("results") / "soak" / "soak.json"

HEAD = """\
# Soak

Made by `nox -s soak -- SECONDS --record`, and not by hand.

What leaks a little in each tick is nothing in a test of a second, and the end of a robot that
runs for a week. So a robot of {nodes} nodes runs for minutes, on the real clock, and is judged by
what it has used up: memory, descriptors, threads, processes, tasks; by whether the rates are
held; and by whether every counter adds up in every sample.

```sh
nox -s soak -- 600
nox -s soak -- 600 --record
nox -s soak -- 30 --plant memory
```

The first tells every ten seconds how it is, and judges at the end; its exit code is 1 if a
judgement fails, and 3 if the time was too short for one. Ctrl-C ends it, and what was told so far
is judged. The second makes this page anew. The third plants a fault, which has to be noticed:
`memory`, `descriptors`, `threads`, or `rates`. Let the machine do nothing else meanwhile, or the
rates will say so.
"""

ROBOT = """\
## The robot

- **Devices** over ptys, TCP, UDP and Unix sockets, HTTP, WebSockets, a FIFO, a subprocess, files
  and a folder, in an asyncio node and in threads that block. Their other ends are in a process
  of their own, and fail on a schedule: serial lines are unplugged, servers hang up, a sonar stops
  answering, a log is rotated, a web service answers 503 or late.
- **Databases and helpers**: an SQLite pool with four nodes, a connection in a thread of its own,
  batches (some of which fail for good), a rate limiter, aggregators, operations that time out.
- **Loops**: 100 Hz and 50 Hz, `async`, in the pool, in threads of their own, in a process, in
  asyncio, on arrivals; nodes that raise, hang and overrun under each policy, and are restarted
  for ever; one that is added and removed again and again, paused, resumed, and given another
  rate; emergencies that are drills; a node that reads all statistics, and a program that looks
  into the robot by its socket.

The samples are taken by a thread of the robot once a second and written down in another process,
so that what is kept for the judgement is not in the memory that is judged.

Memory that still rises after the warm-up need not be lost. Python keeps the source of each file
that a traceback has shown, and what makes a busy machine's loop stand still is shown: of 1.9 MB by
which Python's objects grew in 160 s on a machine with a load average above 20, 1.8 were these
files, and most of the rest was histograms that got new buckets. And C's allocator keeps what is
free between what is not: 2 of 73 MB, which `malloc_trim` gave back.

A slope is that of Theil and Sen: the median of the slopes of all pairs of samples, which a third
of them cannot disturb. In brackets are its bounds, of 95 % confidence if the noise were
independent.
"""


def made_from(found: Mapping[str, Any]) -> dict[str, str]:
    """The text of each file, by its name below the folder."""
    sections = [HEAD.format(nodes=found["nodes"]), "## What was found\n", _provenance(found)]
    sections.append(_judgements(found))
    files: dict[str, str] = {}
    for name, title, picture in _pictures(found):
        files[f"plots/soak/{name}.svg"] = picture
        sections.append(f"![{title}: described in the picture](plots/soak/{name}.svg)\n")
    sections += [_counts(found), _rates(found), ROBOT]
    files["soak.md"] = "\n".join(sections)
    return files


def write(found: Mapping[str, Any], folder: Path = FOLDER) -> None:
    """Write the record, the page and the pictures."""
    files = made_from(found) | {str(RESULT): json.dumps(found, separators=(",", ":")) + "\n"}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def is_current(folder: Path = FOLDER) -> Iterator[tuple[str, bool]]:
    """Each file that is there or should be, and whether it is as it would be made now."""
    found = json.loads((folder / RESULT).read_text("utf-8"))
    files = made_from(found)
    there = {f"plots/soak/{path.name}" for path in (folder / "plots" / "soak").glob("*.svg")}
    for name in sorted(files.keys() | there):
        path = folder / name
        yield name, path.exists() and path.read_text("utf-8") == files.get(name)


def _provenance(found: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    load = found["load"]
    busy = f"{load['machine']:g} of {load['processors']} processors were busy"
    rows = [
        "| taken with | |",
        "|---|---|",
        f"| machine | {_cell(found['machine'])} |",
        f"| versions | {_cell(versions)} |",
        f"| when | {found['date']} |",
        f"| source | {_cell(found['commit'])} |",
        f"| how long | {found['seconds']:.0f} s; the first {found['warm_up']:g} s are not judged |",
        f"| load | {busy}, {load['robot']:g} of them with the robot |",
        f"| again | `{found['command']}` |",
    ]
    if found["note"]:
        rows.append(f"| note | {_cell(found['note'])} |")
    return "\n".join(rows) + "\n"


def _judgements(found: Mapping[str, Any]) -> str:
    rows = ["| judged | | found | limit |", "|---|---|---|---|"]
    for one in found["judgements"]:
        verdict = f"**{one['verdict']}**" if one["verdict"] == "FAILS" else one["verdict"]
        cells = [_cell(one["subject"]), verdict, _cell(one["found"]), _cell(one["limit"])]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _pictures(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, title and text of each."""
    warm_up, of = found["warm_up"], found["course"]
    at = of["at"]

    def picture(
        name: str, title: str, unit: str, *curves: Curve, **looks: Any
    ) -> tuple[str, str, str]:
        return name, title, course(title, unit, curves, warm_up=warm_up, **looks)

    memory = Curve(name="resident", times=at, values=of["resident"])
    begin = next((n for n, t in enumerate(at) if t >= warm_up), 0)
    allowed = Curve(
        name="1 MB a minute more",
        times=[at[begin], at[-1]],
        values=[of["resident"][begin], of["resident"][begin] + (at[-1] - at[begin]) / 60],
        is_measured=False,
    )
    yield picture("memory", "Memory of the robot", "MB", memory, allowed)
    yield picture(
        "things",
        "What the robot has open",
        "number",
        *(
            Curve(name=name, times=at, values=of[name])
            for name in ("tasks", "descriptors", "threads", "children")
        ),
        low=0,
    )
    rates = of["rates"]
    if rates["at"]:
        yield picture(
            "rates",
            "Rates that are to be held, over ten seconds each",
            "per cent of the rate, nodes of 10 Hz and more",
            Curve(name="median node", times=rates["at"], values=rates["median"]),
            Curve(name="slowest node", times=rates["at"], values=rates["slowest"]),
        )
    yield picture(
        "lateness",
        "How late ticks begin, each second",
        "ms",
        Curve(name="p50", times=at, values=of["late p50"]),
        Curve(name="p99", times=at, values=of["late p99"]),
        logarithmic=True,
    )
    load = of["load"]
    if load["at"]:
        yield picture(
            "load",
            "Processors that are busy",
            "processors",
            Curve(name="of the machine", times=load["at"], values=load["machine"]),
            Curve(name="by the robot", times=load["at"], values=load["robot"]),
            low=0,
        )


def _counts(found: Mapping[str, Any]) -> str:
    counts = {**found["totals"], **{f"{k} (devices)": v for k, v in found["done"].items()}}
    rows = ["## What happened\n", "| | |", "|---|--:|"]
    rows += [f"| {_cell(name)} | {count:,} |" for name, count in counts.items()]
    return "\n".join(rows) + "\n"


def _rates(found: Mapping[str, Any]) -> str:
    rows = [
        "## The nodes that are meant to hold their rates\n",
        "The ticks of a device's node look after it; its messages come at rates of their own.\n",
        "| node | Hz | achieved |",
        "|---|--:|--:|",
    ]
    for name, one in found["held"].items():
        rows.append(f"| {_cell(name)} | {one['rate']:g} | {100 * one['achieved']:.2f} % |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    """Text that stands in a cell of a table as it is."""
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def main(arguments: list[str]) -> int:
    """Write the files, or check them; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m soak.page [--check]", file=sys.stderr)
        return 2
    if not arguments:
        write(json.loads((FOLDER / RESULT).read_text("utf-8")))
        return 0
    stale = [name for name, current in is_current() if not current]
    for name in stale:
        print(f"{name} is not what the record says; run python -m soak.page")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
