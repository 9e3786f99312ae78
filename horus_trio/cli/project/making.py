"""Makes the folder of a new project, completely or not at all.

Nothing that is there is touched: the folder is new or was empty. The name is one for a distribution
and, with underscores, for a module that hides no other.
"""

from __future__ import annotations

import contextlib
import importlib.util
import keyword
import re
import shlex
import shutil
import sys
from importlib import resources
from pathlib import Path

from ..errors import USAGE, CommandFailed

__all__ = ["make_project", "module_of"]

LONGEST = 64
"""Characters of a name."""

RESERVED = ("conftest", "horus", "horus_trio", "pytest", "setup", "trio")
"""Modules whose names mean something to the tools around a project, or to the robot in it."""

PYPROJECT = """\
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["horus-trio"]

[project.optional-dependencies]
test = ["horus-trio[pytest]"]

[tool.setuptools]
py-modules = ["{module}"]

[tool.pytest.ini_options]
required_plugins = ["pytest-trio"]
trio_mode = true
"""


def make_project(name: str) -> int:
    """Make a project in the current folder, and say what to do next; returns the exit code.

    Raises:
        CommandFailed: The name is none for a project, or its folder cannot be made.
    """
    module = module_of(name)
    folder = Path(name)
    _make(
        folder,
        {
            "pyproject.toml": PYPROJECT.format(name=name, module=module),
            f"{module}.py": _template("robot.py"),
            f"test_{module}.py": _template("robot_tests.py").replace(
                "from .robot import", f"from {module} import"
            ),
        },
    )
    lines = [f"made {name}: {module}.py, test_{module}.py, pyproject.toml", "", "next:"]
    if missing := _missing_for_tests():
        install = f"{_program('python')} -m pip install 'horus-trio[pytest]'"
        lines.append(f"  {install}    for the tests: {missing} is missing")
    robot = folder / f"{module}.py"
    lines.append(f"  {_program('horus-trio', 'horus_trio.cli')} run {robot} --duration 5")
    lines.append(f"  {_program('python')} -m pytest {folder}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def module_of(name: str) -> str:
    """The module's name for a project's.

    Raises:
        CommandFailed: It is no name for a project, or for a module of its own.
    """
    if "/" in name or "\\" in name or name in (".", ".."):
        raise CommandFailed(
            f"{name!r} is a path; expected a name, such as my-robot: the project is made in the "
            "current folder",
            USAGE,
        )
    if not re.fullmatch(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise CommandFailed(
            f"{name!r} is no name for a project; expected letters, digits, and between them "
            "dashes, dots and underscores, with a letter first, such as my-robot",
            USAGE,
        )
    if len(name) > LONGEST:
        raise CommandFailed(
            f"{name[:20]!r}… has {len(name)} characters; expected {LONGEST} at most", USAGE
        )
    module = re.sub(r"[-._]+", "_", name).lower()
    if reason := _not_ours(module):
        raise CommandFailed(
            f"{name!r} would be the module {module!r}, {reason}; expected another name, such as "
            f"my-{module.replace('_', '-')}",
            USAGE,
        )
    return module


def _not_ours(module: str) -> str | None:
    """Why no project's module may be called so, or None."""
    if keyword.iskeyword(module):
        return "which is a keyword"
    if module in sys.stdlib_module_names:
        return "which is one of Python's own"
    if module in RESERVED:
        return "which has a meaning of its own"
    spec = importlib.util.find_spec(module)
    # A folder without a module in it, and what lies beside the new folder, hide nothing.
    if spec is None or spec.origin is None or Path(spec.origin).parent == Path.cwd():
        return None
    return "which is installed already"


def _template(name: str) -> str:
    package = resources.files(__name__.rpartition(".")[0])
    return package.joinpath(name).read_text(encoding="utf-8")


def _make(folder: Path, files: dict[str, str]) -> None:
    """Make a folder with these files; what is made is removed again if it cannot be complete."""
    made: list[Path] = []
    complete = False
    try:
        if folder.exists():
            _expect_empty(folder)
        else:
            folder.mkdir()
            made.append(folder)
        for name, text in files.items():
            path = folder / name
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
        complete = True
    except OSError as error:
        raise CommandFailed(
            f"{error.filename or folder} cannot be made: {error.strerror}; the project is made in "
            "the current folder, which has to be yours and to have room"
        ) from None
    finally:
        for path in () if complete else reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path == folder else path.unlink()


def _expect_empty(folder: Path) -> None:
    if not folder.is_dir():
        raise CommandFailed(f"{folder} is there, and is no folder; expected a new or an empty one")
    if found := sorted(path.name for path in folder.iterdir()):
        raise CommandFailed(
            f"the folder {folder} is not empty: {found[0]!r} is there; expected a new or an empty "
            "one"
        )


def _missing_for_tests() -> str | None:
    """A package that the tests need and that is not here, by the name that it is known by."""
    for package in ("pytest", "pytest_trio"):
        if importlib.util.find_spec(package) is None:
            return package.replace("_", "-")
    return None


def _program(name: str, module: str | None = None) -> str:
    """How a program of this environment is called in a shell: shortly, if that finds it."""
    here = Path(sys.executable)
    found = shutil.which(name)
    if found is not None and Path(found).parent == here.parent:
        return name
    beside = here.with_name(name)
    if beside.is_file():
        return shlex.quote(_from_here(beside))
    python = shlex.quote(_from_here(here))
    return python if module is None else f"{python} -m {module}"


def _from_here(path: Path) -> str:
    """Its path, relative to the current folder if it lies in it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
