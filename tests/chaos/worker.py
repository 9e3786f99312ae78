"""Plays robots in a process of its own: plans come in on stdin, outcomes go out, a line each.

python -m chaos.worker
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time

from .plan import Plan
from .robot import play

LOOK_EVERY = 2.0
"""Seconds between two looks whether anybody still waits for an answer."""


def main() -> None:
    """Serve until stdin ends."""
    faulthandler.enable()  # of SIGABRT, too: who hangs is asked where
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    logger = logging.getLogger("horus_trio")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    # What a robot prints does not come between.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(play(Plan.from_json(line)).to_json(), file=answers, flush=True)


def end_with(parent: int) -> None:
    """End this process when its parent has ended, though a robot may hang."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os._exit(1)


if __name__ == "__main__":
    main()
