"""End to end: what users install is complete, and works where nothing else is installed."""

from __future__ import annotations

import shlex
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest

import horus_trio

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent

Run = Callable[..., str]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    finished = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)
    assert finished.returncode == 0, f"{command}:\n{finished.stdout}{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The `bin` of a virtual environment that has the wheel and what the wheel asks for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=True)
    run(folder / "bin" / "pip", "install", "--quiet", wheel)
    return folder / "bin"


def test_the_wheel_is_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [info] = {name.split("/")[0] for name in names if name.split("/")[0] != "horus_trio"}
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))

    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "horus_trio").rglob("*.py")}
    assert modules <= names
    assert {"horus_trio/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert metadata["Name"] == "horus-trio"
    assert metadata["Version"] == horus_trio.__version__
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_demo_runs_in_an_empty_environment(empty_environment: Path, tmp_path: Path) -> None:
    command = empty_environment / "horus-trio"
    assert "demo" in run(command, "--help", cwd=tmp_path)
    printed = run(command, "demo", "--duration", "2", "--plain", cwd=tmp_path)
    assert "The control loop" in printed
    assert ": equal" in printed


def test_a_new_project_runs_in_an_empty_environment(
    empty_environment: Path, tmp_path: Path
) -> None:
    said = run(empty_environment / "horus-trio", "new", "my-robot", cwd=tmp_path)
    install, run_it, test_it = said.partition("next:\n")[2].splitlines()
    assert "pip install 'horus-trio[pytest]'" in install
    command = shlex.split(run_it.replace("--duration 5", "--duration 0.5"))
    assert "ended: its duration of 0.5 s was over" in run(*command, cwd=tmp_path)
    assert test_it.split()[1:] == ["-m", "pytest", "my-robot"]


def test_every_public_name_is_there_in_an_empty_environment(
    empty_environment: Path, tmp_path: Path
) -> None:
    python = empty_environment / "python"
    program = (
        "import horus_trio; print(horus_trio.__file__); from horus_trio import *; "
        "from horus_trio.testing import *"
    )
    [location] = run(python, "-W", "error", "-c", program, cwd=tmp_path).splitlines()
    assert Path(location).is_relative_to(empty_environment.parent)
