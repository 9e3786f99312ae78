"""What the project does with its own code: `nox` runs the tests, `nox -s lint` the linters, …

Every session has an environment of its own under `.nox/` and uses the interpreter that runs nox.
"""

import os
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.sessions = ["tests"]
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.default_venv_backend = "uv|virtualenv"  # uv where it is installed: it is quicker
nox.options.error_on_external_run = True

PROJECT = nox.project.load_toml("pyproject.toml")

# What Ruff's ASYNC rules lack: yields inside cancel scopes (101, 119), swallowed cancellation (103)
# and functions that never checkpoint (900 to 913).
FLAKE8_ASYNC_RULES = "ASYNC101,ASYNC103,ASYNC104,ASYNC119,ASYNC900,ASYNC91"


def install(session: nox.Session, *groups: str, project: bool = True) -> None:
    """Install the dependency groups, and the project in editable form."""
    requirements = nox.project.dependency_groups(PROJECT, *groups) if groups else ()
    editable = ("-e", ".") if project else ()
    session.install("--quiet", *editable, *requirements)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo robot; `nox -s demo -- --json` passes options on."""
    install(session)
    session.run("horus-trio", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests: all of them, or those named after `--`.

    Branch coverage is that of the quick tests and of the commands; it would make the other slow
    ones slower. Much of a run is waiting, so three processes share the tests, and four the slow
    ones; what measures runs alone.
    """
    install(session, "tests")
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs)
        return
    session.run("coverage", "erase")
    traced, plain = ("coverage", "run", "-m", "pytest"), ("python", "-m", "pytest")
    shared = ("-n", "3", "--dist", "worksteal", "-m")
    waiting = ("-n", "4", *shared[2:])
    session.run(*plain, "-m", "alone")
    session.run(*traced, *shared, "not alone and not slow")
    session.run(*traced, *shared, "not alone and slow", "tests/cli")
    session.run(*plain, *waiting, "not alone and slow", "--ignore", "tests/cli")
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check layout, likely bugs, the rules of Trio, and that rooms import from floors below."""
    install(session, "lint", project=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    library = [str(path) for path in sorted(Path("horus_trio").rglob("*.py"))]
    session.run("flake8-async", f"--enable={FLAKE8_ASYNC_RULES}", *library)
    session.run("lint-imports", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types: strictly inside, and completely known outside."""
    install(session, "types")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "horus_trio", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning, a broken link or a word that is none is an error."""
    install(session, "docs")
    session.run("python", "docs/checks/links.py")
    session.run("python", "docs/checks/spelling.py")
    session.run(
        "sphinx-build", "-W", "-n", "-q", "-E", "--keep-going", "-b", "html", "docs", "docs/_build"
    )


# Rivals that have an environment of their own: what is imported to see whether a rival is there,
# and the variable that tells the measuring programs its interpreter.
RIVALS = {"rival_horus": ("horus", "HORUS_PYTHON"), "rival_dora": ("dora", "DORA_PYTHON")}


def install_rival(session: nox.Session, group: str) -> None:
    """Install a rival; where that fails, all the others are measured all the same."""
    requirements = nox.project.dependency_groups(PROJECT, group)
    session.install("--quiet", *requirements, success_codes=[0, 1])


@nox.session
def rival_horus(session: nox.Session) -> None:
    """Make the environment of HORUS's own package, for `bench` and `guard`."""
    install_rival(session, "rival-horus")


@nox.session
def rival_dora(session: nox.Session) -> None:
    """Make the environment of dora-rs, for `bench`."""
    install_rival(session, "rival-dora")


def rivals(session: nox.Session, *names: str) -> dict[str, str]:
    """The variables for those rivals whose environments have been made and hold them."""
    found: dict[str, str] = {}
    for name in names:
        module, variable = RIVALS[name]
        python = Path(session.virtualenv.location).resolve().with_name(name) / "bin" / "python"
        look = [str(python), "-c", f"import {module}"]
        if python.exists() and subprocess.run(look, check=False).returncode == 0:
            found[variable] = str(python)
        else:
            session.warn(f"{name} cannot be measured: {module} is not there")
    return found


@nox.session(requires=["rival_horus", "rival_dora"])
def bench(session: nox.Session) -> None:
    """Run the measuring programs and write docs/performance; `-- NAME …` runs only those."""
    install(session, "bench")
    environment = rivals(session, "rival_horus", "rival_dora")
    session.run("python", "tests/bench/_run.py", *session.posargs, env=environment)


@nox.session(requires=["rival_horus"])
def guard(session: nox.Session) -> None:
    """Measure what must not become slower; `--record` takes the figures as the new baseline."""
    install(session)
    environment = rivals(session, "rival_horus")
    session.run("python", "tests/bench/_guard.py", *session.posargs, env=environment)


@nox.session
def soak(session: nox.Session) -> None:
    """Let a robot of sixty nodes live, and judge it: `nox -s soak -- 600`; `--record` writes it.

    Ctrl-C ends it with what was found so far, for which it is given time.
    """
    install(session, "soak")
    session.run(
        "python",
        *("-m", "soak", *session.posargs),
        env={"PYTHONPATH": os.pathsep.join(("tests", "tests/bench"))},
        interrupt_timeout=60,
        terminate_timeout=60,
    )


@nox.session
def chaos(session: nox.Session) -> None:
    """Play generated robots in which everything happens at once, and hold them to the laws.

    `-- --robots 1000 --seed 7` plays others, `-- --replay 136` one again, `-- --planted` looks for
    defects that it plants.
    """
    install(session, "chaos")
    session.run("python", "-m", "chaos", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def first_hour(session: nox.Session) -> None:
    """Follow README and tutorial in an empty home; `--wheel`, `--quick` and `--record` pass on."""
    session.install("--quiet", "pip")
    session.run("python", "docs/first_hour/follow.py", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Put a sample of small faults into the engine: the tests are to notice 90 in 100 of them."""
    install(session, "tests")
    session.run("python", "-m", "mutation", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def shaken(session: nox.Session) -> None:
    """Run the quick tests, or those named after `--`, with threads that are slow by chance."""
    install(session, "tests")
    quick = ("-n", "6", "--dist", "worksteal", "-m", "not alone and not slow")
    session.run(
        "python",
        *("-m", "pytest", "-p", "shaken", *(session.posargs or quick)),
        env={"PYTHONPATH": "tests"},
    )


@nox.session
def breakers(session: nox.Session) -> None:
    """Break each promise on purpose, and expect its test module to notice."""
    install(session, "tests")
    session.run("python", "tests/guarantees/breakers.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz whatever takes bytes from outside, for ten minutes, or for `-- SECONDS`."""
    install(session, "tests")
    session.run("python", "tests/fuzz/session.py", *session.posargs)
