"""print a script that completes this command line in a shell

It needs the package shtab, which `pip install 'horus-trio[cli]'` brings.
"""

from __future__ import annotations

import argparse
import sys

__all__ = ["EXAMPLES", "add_arguments", "run"]

EXAMPLES = """\
  horus-trio completion bash > ~/.local/share/bash-completion/completions/horus-trio
  horus-trio completion zsh > ~/.zfunc/_horus-trio       with ~/.zfunc in $fpath
  horus-trio completion tcsh > ~/.horus-trio.tcsh        source it in ~/.tcshrc
"""

FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
"""How a script of shtab completes the name of a file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", metavar="SHELL", choices=tuple(FILES), help=", ".join(FILES))


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from .errors import CommandFailed
    from .parser import make_parser

    try:
        import shtab
    except ImportError:
        raise CommandFailed(
            "the package shtab is missing; run pip install 'horus-trio[cli]'"
        ) from None
    parser = make_parser()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command)
    sys.stdout.write(shtab.complete(parser, options.shell))
    return 0


def _complete_files(command: argparse.ArgumentParser) -> None:
    for action in command._actions:
        if action.metavar in ("TARGET", "PATH", "FILE"):
            action.complete = FILES  # type: ignore[attr-defined]
