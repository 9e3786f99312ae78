"""What a simulated hour of a twelve-node robot costs, beside a bare Trio program.

Both release the same grid; the bare program only sleeps, under Trio's autojump clock, while the
robot also sends, fails, times out and is restarted. CPU time, interleaved in one run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROBOT = Path(__file__).parent.parent / "twelve_nodes.py"
REPETITIONS = 3

if __name__ == "__main__":
    subprocess.run([sys.executable, str(ROBOT), "cost", "3600", str(REPETITIONS)], check=True)
