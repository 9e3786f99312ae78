"""No-op nodes in a process of their own, to compare with HORUS's; run by ``against_horus.py``.

``_many.py HAND NODES RATE SECONDS`` prints one JSON object as its last line: how many ticks began,
and the seconds of CPU that the process spent from start to end.
"""

from __future__ import annotations

import json
import sys

from _jobs import Job, by_horus_trio, by_trio

HANDS = {"horus_trio": by_horus_trio, "trio": by_trio}


def main(hand: str, nodes: int, rate: float, seconds: float) -> None:
    run = HANDS[hand](Job(nodes=nodes, rate=rate, seconds=seconds))
    print(json.dumps({"ticks": len(run.late), "cpu": run.cpu}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
