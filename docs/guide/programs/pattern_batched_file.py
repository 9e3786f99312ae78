"""Rows are written to a file in batches, and the last ones at the end."""

from __future__ import annotations

import json
from pathlib import Path

import horus_trio as horus
from horus_trio.helpers import BatchProcessor


def write(path: Path, rows: list[int]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


class ByHand(horus.Node):
    """One tick in fifty is slow; a write that fails loses fifty rows; so does a missed shutdown."""

    def init(self) -> None:
        self.rows: list[int] = []

    def tick(self) -> None:
        self.rows.append(len(self.rows))
        if len(self.rows) >= 50:
            write(Path("by_hand.jsonl"), self.rows)
            self.rows = []

    def shutdown(self) -> None:
        write(Path("by_hand.jsonl"), self.rows)


class Here(horus.AsyncNode):
    """The ticks put rows in, and know nothing of files."""

    def __init__(self, name: str) -> None:
        self.batches = BatchProcessor[int](
            lambda rows: write(Path("here.jsonl"), rows),
            batch_size=50,
            dead_letter="not_written.jsonl",
        )
        super().__init__(name, rate=100, helpers=[self.batches])

    async def tick_async(self) -> None:
        self.batches.add(self.batches.statistics().added)


if __name__ == "__main__":
    horus.run(ByHand("by hand", rate=100), Here("here"), duration=1.2)
    for name in ("by_hand", "here"):
        print(f"{name}: {len(Path(f'{name}.jsonl').read_text().splitlines())} rows")
