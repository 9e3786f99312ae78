"""what this machine and this environment are like for a robot

Versions, the timer and how precise it is here, limits, optional packages and how to install them.
What may become a problem is said with its remedy, and shows in the exit code.
"""

from __future__ import annotations

import argparse
import json

from .looking import add_json
from .saying import say

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio doctor
  horus-trio doctor --json | jq .warnings
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_json(parser, "print everything as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Examine, and say what was found."""
    from .errors import FAILED
    from .examination import examine

    findings = examine()
    if options.json:
        say(json.dumps(findings.to_dict(), indent=2))
    else:
        for line in findings.lines():
            say(line)
    return FAILED if findings.warnings else 0
