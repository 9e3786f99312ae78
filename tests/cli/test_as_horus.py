"""End to end: ``horus-trio run --as-horus`` with programs as HORUS's users write them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import COMMAND, finished, started, wait_for_socket, write_program

from horus_trio.cli import main

pytestmark = pytest.mark.slow

APP = """
    import sys
    import horus
    import beside

    def tick(node):
        if node.info.tick_count() == 3:
            if "fail" in sys.argv:
                open_camera()
            if "forever" not in sys.argv:
                node.request_stop()

    def open_camera():
        raise OSError("no camera")

    if __name__ == "__main__":
        print(sys.argv[0], *sys.argv[1:], beside.HERE)
        horus.run(horus.Node(name="camera", tick=tick, rate=100, failure_policy="fatal"))
        print("done")
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    write_program(tmp_path, "HERE = True", "beside.py")
    return write_program(tmp_path, APP, "app.py")


def test_a_program_and_its_arguments(app: Path) -> None:
    assert finished("run", "--as-horus", app, "--speed", "2", "--quiet") == (
        0,
        f"{app} --speed 2 --quiet True\ndone\n",
        "",
    )
    assert finished("run", app, "--as-horus", "x")[:2] == (0, f"{app} x True\ndone\n")


def test_a_failure_is_shown_without_our_frames(app: Path) -> None:
    code, out, err = finished("run", "--quiet", "--as-horus", app, "fail")
    assert code == 1
    assert "done" not in out
    shown = err[err.index("Scheduler: node 'camera' failed") :]
    assert "OSError: no camera\n    in node 'camera', tick 4, failure 1" in shown
    assert "in open_camera" in shown
    assert "horus_trio/" not in shown
    code, out, err = finished("run", "--traceback", "--as-horus", app, "fail")
    assert code == 1
    assert "FAILED camera (ended the run): OSError: no camera" in out
    assert "horus_trio/bridges/horus" in err


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import sys; sys.exit(7)", 7, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import horus.library", 1, "horus.library is out of scope"),
        ("def (", 1, "SyntaxError"),
    ],
)
def test_how_programs_end(tmp_path: Path, program: str, code: int, said: str) -> None:
    returned, out, err = finished("run", "--as-horus", write_program(tmp_path, program))
    assert (returned, out) == (code, "")
    assert said in err
    assert "horus_trio/cli" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--as-horus"], "--as-horus: expected a program, as in --as-horus app.py"),
        (["--as-horus", "ap.py"], "ap.py: there is no such file; did you mean 'app.py'?"),
        (["--duration", "3", "--as-horus", "app.py"], "--duration has no effect with --as-horus"),
        (["--set", "a.rate=3", "--as-horus", "app.py"], "--set has no effect with --as-horus"),
        (["--json", "--as-horus", "app.py"], "--json has no effect with --as-horus"),
    ],
)
def test_wrong_usage(
    app: Path,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(app.parent)
    assert main(["run", *words]) == 2
    assert f"horus-trio run: {said}" in capsys.readouterr().err


def test_horus_itself_is_in_the_way(app: Path) -> None:
    program = (
        "import sys, types; sys.modules['horus'] = types.ModuleType('horus');"
        "from horus_trio.cli import main;"
        f"sys.exit(main(['run', '--as-horus', {str(app)!r}]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "horus is imported already" in ended.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_one_can_look_into_it_and_stop_it(app: Path, runtime: Path, signum: signal.Signals) -> None:
    with started("run", "--as-horus", app, "forever") as process:
        wait_for_socket(runtime)
        looked = subprocess.run(
            [*COMMAND, "nodes"], capture_output=True, text=True, timeout=60, check=False
        )
        assert "camera" in looked.stdout
        process.send_signal(signum)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("done\n")


def test_no_socket_if_it_is_not_wanted(app: Path, runtime: Path) -> None:
    write_program(app.parent, APP.replace("node.request_stop()", "look(node)").replace(
        "def open_camera", """def look(node):
        import os
        print(os.listdir(os.environ["HORUS_TRIO_RUNTIME_DIR"]))
        node.request_stop()

    def open_camera"""), "look.py")  # fmt: skip
    _, out, _ = finished("run", "--no-control", "--as-horus", app.parent / "look.py")
    assert "\n[]\n" in out
    _, out, _ = finished("run", "--as-horus", app.parent / "look.py")
    assert "\n[]\n" not in out
