"""Completion in real shells, and the help that every command has."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import finished, write_program

from horus_trio.cli import main
from horus_trio.cli.parser import COMMANDS, make_parser

HOW = "pip install 'horus-trio[cli]'"

Require = Callable[[str, bool, str], None]


def has_shtab() -> bool:
    try:
        import shtab  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("horus-trio ", set(COMMANDS)),
        ("horus-trio do", {"doctor"}),
        ("horus-trio n", {"new", "nodes"}),
        ("horus-trio run --dur", {"--duration"}),
        ("horus-trio run ro", {"robot.py"}),
        ("horus-trio run --prof", {"--profile", "--profile-trace"}),
        ("horus-trio run robot.py --profile-trace ro", {"robot.py"}),
        ("horus-trio completion ", {"bash", "zsh", "tcsh"}),
        ("horus-trio hz --", {"--robot", "--json", "--count", "--help"}),
    ],
)
def test_bash_completes(tmp_path: Path, require: Require, line: str, expected: set[str]) -> None:
    require("shtab", has_shtab(), HOW)
    require("bash", shutil.which("bash") is not None, "apt install bash")
    write_program(tmp_path, "")
    code, script, _ = finished("completion", "bash")
    assert code == 0
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    # As bash itself does it: it calls the function that `complete` has registered.
    program = f"""
        {script}
        COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
        complete -p horus-trio >&2
        _shtab_horus_trio horus-trio '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    shown = subprocess.run(
        ["bash", "--norc", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "-F _shtab_horus_trio" in shown.stderr
    assert set(shown.stdout.split()) >= expected
    if line[-1] != " " and not line.endswith("--"):
        assert set(shown.stdout.split()) == expected


@pytest.mark.parametrize(("shell", "said"), [("zsh", "#compdef horus-trio"), ("tcsh", "complete ")])
def test_there_are_scripts_for_other_shells(
    shell: str, said: str, require: Require, capsys: pytest.CaptureFixture[str]
) -> None:
    require("shtab", has_shtab(), HOW)
    assert main(["completion", shell]) == 0
    assert said in capsys.readouterr().out


def test_without_the_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    said = "horus-trio completion: the package shtab is missing; run " + HOW
    assert capsys.readouterr().err == f"{said}\n"


# Help


def commands() -> dict[str, argparse.ArgumentParser]:
    [action] = [
        action
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(action.choices)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_are_right(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    _, _, examples = capsys.readouterr().out.partition("\nexamples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert len(lines) >= 2
    for line in lines:
        assert line.startswith(f"horus-trio {name}")
        # Without what the shell does with it, and without the remark beside it.
        command = line.partition("   ")[0].partition(" > ")[0].partition(" | ")[0]
        words = command.replace("'", "").split()[1:]
        if '"' not in command and "flight" not in command:
            assert make_parser().parse_args(words).command == name


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {name} " in shown or f"\n    {name}\n" in shown for name in COMMANDS)
    assert "exit codes:" in shown


@pytest.mark.slow
def test_help_imports_nothing_that_it_does_not_need() -> None:
    program = (
        "import sys; from horus_trio.cli import main; main([]); "
        "print(*[m for m in sys.modules if m.startswith('horus_trio.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    loaded = done.stdout.splitlines()[-1].split()
    heavy = {"demo.robot", "demo.world", "control.server", "examination", "session", "target"}
    heavy |= {"project.making", "project.robot"}
    assert not heavy & {name.removeprefix("horus_trio.cli.") for name in loaded}
