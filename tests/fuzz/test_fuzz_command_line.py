"""What is written after ``horus-trio``: targets, settings, and whole command lines."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzzing import fuzzed
from hypothesis import example
from hypothesis import strategies as st

import horus_trio as horus
from horus_trio.cli import main
from horus_trio.cli.errors import USAGE, CommandFailed
from horus_trio.cli.overrides import apply, parse_override
from horus_trio.cli.parser import COMMANDS
from horus_trio.cli.target import load

# Settings

ATOMS = [
    *("Restart", "CircuitBreaker", "Skip", "Fatal", "Ignore", "Pub", "Sub", "Miss", "Overflow"),
    *("max_restarts", "capacity", "within", "rate", "SKIP", "WARN", "LATEST", "None", "True"),
    *("nan", "inf", "-", "+", "~", "*", "**", "(", ")", "[", "]", "{", "}", ",", "=", ":", "."),
    *("'a'", "b'a'", "f'{x}'", "'\\d'", "1", "-1", "1e999", "1_0", "0x", "1j", "9" * 5000, "..."),
    *("lambda", "if", "else", "for", "in", "await", "yield", ":=", "\n", "\\", "#", ";", "\0"),
    *("__class__", "\ud800", "\u0661", " ", "cmd_vel", "/a/b"),
]
VALUES = (
    st.lists(st.sampled_from(ATOMS), max_size=8).map("".join)
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "Restart(max_restarts=2)",
            "Restart(**{'within': 1})",
            "Restart(*[1])",
            "Restart(Restart())",
            "{[]: 1}",
            "{**{}}",
            "(" * 5000,
            "[" * 90 + "]" * 90,
            "-" * 5000 + "1",
            "1" + "+1" * 5000,
            "'a' * 999999999",
            "9**9**9",
        ]
    )
)
PLACES = st.sampled_from(
    [
        *(f"camera.{name}" for name in (*horus.Node.__init__.__annotations__, "on", "x")),
        *("scheduler.tick_rate", "scheduler.limiter", "scheduler.x", "imu.rate", "camera", ".rate"),
        *("camera.", "..", "", "camera.rate.x", "camera.__init__", "a b.rate", "\ud800.rate"),
    ]
)


class Camera(horus.Node):
    def tick(self) -> None:
        """Nothing."""


@fuzzed(120, place=PLACES, value=VALUES)
@example(place="camera.failure_policy", value="Restart(**{'max_restarts': 0})")
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_a_setting_is_made_or_refused(place: str, value: str) -> None:
    scheduler = horus.Scheduler(signals=False).add(Camera("camera"))
    try:
        override = parse_override(f"{place}={value}")
    except argparse.ArgumentTypeError:
        return
    with contextlib.suppress(CommandFailed):
        apply(scheduler, [override])


def test_what_is_unpacked_is_not_passed_over_in_silence() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no value; write each one out"):
        parse_override("camera.failure_policy=Restart(**{'max_restarts': 0})")


# Targets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place with a robot in it, and what importing it changes is put right."""
    folder = tmp_path_factory.mktemp("robots")
    (folder / "good_robot_of_fuzz.py").write_text(
        "import horus_trio\n"
        "class Camera(horus_trio.Node):\n"
        "    def tick(self): pass\n"
        "    @property\n"
        "    def broken(self): raise RuntimeError('no')\n"
        "camera = Camera()\n"
        "number = 5\n"
        "def fails(): 1 / 0\n"
        "def none(): pass\n"
    )
    (folder / "bad.py").write_bytes(b"\xff\0 def")
    (folder / "folder.py").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "argv", list(sys.argv))
        patch.setattr(sys, "modules", sys.modules)
        patch.chdir(folder)
        known = set(sys.modules)
        yield folder
        for name in set(sys.modules) - known:
            if getattr(sys.modules[name], "__file__", None) is None or str(folder) in str(
                sys.modules[name].__file__
            ):
                del sys.modules[name]


TARGETS = st.lists(
    st.sampled_from(
        [
            *("good_robot_of_fuzz", "bad", "folder", "missing", ".py", ":", ".", "/", "..", "-"),
            *("camera", "number", "fails", "none", "broken", "Camera", "tick", "rate", "__class__"),
            *("a" * 300, "\0", "\n", " ", "\udcff", "\u00e9", "1", "class"),
        ]
    ),
    max_size=5,
).map("".join) | st.text(max_size=8)


@fuzzed(80, target=TARGETS)
@example(target="a" * 300 + ".py")  # the operating system says so, not Python
@example(target="a" * 5000)
@example(target="a" * 300 + "/\0")  # no file can be called so, and its folder's name is too long
@example(target="good_robot_of_fuzz:camera.broken")
def test_a_target_is_a_robot_or_refused(folder: Path, target: str) -> None:
    path, argv = list(sys.path), list(sys.argv)
    try:
        scheduler = load(target)
    except CommandFailed as error:
        assert error.code in (1, USAGE)
        assert str(error)
    else:
        assert isinstance(scheduler, horus.Scheduler)
    finally:
        sys.path[:], sys.argv[:] = path, argv


# Whole lines

WORDS = st.sampled_from(
    [
        *COMMANDS,
        *("--set", "--duration", "--json", "--robot", "--count", "--name", "--profile", "--help"),
        *("--version", "--interval", "--as-horus", "--", "-", "-x", "", "1", "-1", "nan", "1e999"),
        *("missing.py", "\udcff", "x.y=z", "9" * 5000),
    ]
)


@fuzzed(40, words=st.lists(WORDS, max_size=5))
def test_a_command_line_is_done_or_refused(folder: Path, words: list[str]) -> None:
    if {"demo", "doctor"} & set(words):  # they do what they say
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HORUS_TRIO_RUNTIME_DIR", str(folder / "nobody"))
        path, argv = list(sys.path), list(sys.argv)
        try:
            code = main(words)
        except SystemExit as end:
            assert end.code in (0, USAGE)
        else:
            assert code in (0, 1, USAGE)
        finally:
            sys.path[:], sys.argv[:] = path, argv
