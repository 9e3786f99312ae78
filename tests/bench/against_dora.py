"""No-op nodes on a timer in dora-rs, where a node is a process and the timer a daemon's.

They do the same work in a user's eyes only: dora's nodes do not share a process, and so neither an
interpreter lock nor memory; ours do not pay for that. CPU time is that of the nodes' processes,
from the first tick on; dora's daemon, which is written in Rust, is not counted, while of ours
start and stop are.

dora's daemon looks for others in the network. So it runs in a network namespace of its own, which
holds nobody else; where such a namespace cannot be made, dora is not measured. `DORA_PYTHON` names
an interpreter that has ``dora-rs`` and ``dora-rs-cli``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from _compare import NotMeasured, print_machine
from _sides import SECONDS, Said, Side, by_many, measure

FLEETS = ((1, 100.0), (10, 100.0), (1, 1000.0))
ENCLOSED = (
    *("unshare", "--map-root-user", "--net"),
    *("sh", "-c", 'ip link set lo up && exec "$@"', "sh"),
)
"""Runs a command where there is no network but the loopback device."""


def dataflow(nodes: int, rate: float, folder: Path) -> str:
    """A description of the nodes, in YAML, of which JSON is a part."""
    described = [
        {
            "id": f"n{number}",
            "path": str(Path(__file__).with_name("_rival_dora.py")),
            "inputs": {"tick": f"dora/timer/millis/{round(1000 / rate)}"},
            "env": {"TICKED": str(folder / f"{number}.json"), "SECONDS": str(SECONDS)},
        }
        for number in range(nodes)
    ]
    return json.dumps({"nodes": described})


def by_dora(nodes: int, rate: float) -> Said:
    python = os.environ.get("DORA_PYTHON")
    if not python:
        raise NotMeasured("DORA_PYTHON names no interpreter that has it")
    if shutil.which(ENCLOSED[0]) is None or subprocess.run([*ENCLOSED, "true"]).returncode:
        raise NotMeasured("no network namespace can be made, and dora would search the network")
    programs = Path(python).parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        described = folder / "robot.yml"
        described.write_text(dataflow(nodes, rate, folder))
        done = subprocess.run(
            [*ENCLOSED, str(programs / "dora"), "run", str(described)],
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "VIRTUAL_ENV": str(programs.parent),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        told: list[dict[str, Any]] = [json.loads(p.read_text()) for p in folder.glob("*.json")]
    if done.returncode or len(told) != nodes:
        raise RuntimeError(f"dora ended with {done.returncode}:\n{done.stderr[:2000]}")
    return {key: sum(node[key] for node in told) for key in ("ticks", "cpu")}


def main() -> None:
    print_machine()
    sides: dict[str, Side] = {"dora-rs": by_dora, "horus_trio": by_many("horus_trio")}
    for nodes, rate in FLEETS:
        measure(nodes, rate, sides, base="dora-rs")


if __name__ == "__main__":
    main()
