"""A no-op dora node, a process of its own as dora has it; run by ``against_dora.py``.

Its environment names a file in `TICKED`: there it writes, as JSON, how many ticks it got within
`SECONDS` of its first one, and what its process spent on them.
"""

import json
import os
import time
from pathlib import Path

import dora


def main(told: Path, seconds: float) -> None:
    """Count ticks."""
    ticks, cpu, until = 0, 0.0, float("inf")
    for event in dora.Node():
        if event["type"] == "STOP" or time.monotonic() >= until:
            break
        if event["type"] == "INPUT":
            if not ticks:
                cpu, until = time.process_time(), time.monotonic() + seconds
            ticks += 1
    told.write_text(json.dumps({"ticks": ticks, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main(Path(os.environ["TICKED"]), float(os.environ["SECONDS"]))
