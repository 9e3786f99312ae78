"""The command line's parser: each command is a module with `EXAMPLES`, `add_arguments` and `run`.

The first line of the module's docstring is the summary of its help, the rest the description.
Importing these modules must cost next to nothing: what a command needs is imported where it runs.
"""

from __future__ import annotations

import argparse
import importlib

__all__ = ["COMMANDS", "make_parser"]

COMMANDS = {
    "new": "new",
    "run": "run",
    "demo": "demo.command",
    "top": "top",
    "nodes": "nodes",
    "topics": "topics",
    "hz": "hz",
    "echo": "echo",
    "pause": "pause",
    "resume": "resume",
    "rate": "rate",
    "stop": "stop",
    "emergency": "emergency",
    "reset": "reset",
    "dump": "dump",
    "doctor": "doctor",
    "completion": "completion",
}
"""The module of each command, in the order of the help."""

EPILOG = """\
examples:
  horus-trio demo                          a robot among failing devices, ten seconds
  horus-trio new my-robot                  a project of your own, with its tests
  horus-trio run robot.py                  the scheduler, or the nodes, of a file
  horus-trio run robot.py --set camera.rate=15 --duration 60
  horus-trio top                           look into the robot that runs
  horus-trio doctor                        what this machine is like for a robot

exit codes:
  0      done; a run stopped by the first Ctrl-C or SIGTERM ends in order, too
  1      the run failed, a node failed for good, or what was asked for cannot be done now
  2      wrong usage
  70     the robot was told to stop and could not; the process was ended by force
  128+n  ended by signal n: 130 by the second Ctrl-C, 141 when nobody reads the output
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the one that was given is ``options.run``."""
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="horus-trio",
        description="The asynchronous I/O tier of a robot.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"horus-trio {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, location in COMMANDS.items():
        module = importlib.import_module(f".{location}", __package__)
        summary, _, description = (module.__doc__ or "").partition("\n")
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary}\n{description.rstrip()}",
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
