"""Fuzz for a while: `nox -s fuzz -- SECONDS`, with pytest's arguments after that.

The tests are run again and again, each time with inputs that are new, until the time is over or one
of them fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent

FACTOR = 10
"""How many times as many inputs as usual a test takes in one round."""


def again_and_again(seconds: float, arguments: list[str]) -> int:
    """Run the tests in rounds until the time is over; the exit code."""
    end = time.monotonic() + seconds
    environment = os.environ | {"HORUS_FUZZ": str(FACTOR)}
    # One test may take long now; that it hangs is seen by the time that it counts itself.
    options = ["-x", "-q", "-o", "faulthandler_timeout=0", "-o", "horus_patience=3600"]
    rounds = 0
    while (left := end - time.monotonic()) > 0:
        command = [sys.executable, "-m", "pytest", str(FOLDER), *options, *arguments]
        with subprocess.Popen(command, env=environment) as process:
            try:
                code = process.wait(left)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
                break
        if code:
            return code
        rounds += 1
    sys.stdout.write(f"\nnothing was found in {seconds:g} s: {rounds} whole rounds, and a part\n")
    return 0


def main() -> int:
    """Take the command line apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=600.0)
    options, others = parser.parse_known_args()
    return again_and_again(options.seconds, others)


if __name__ == "__main__":
    sys.exit(main())
