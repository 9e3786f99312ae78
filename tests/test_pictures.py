"""The timelines of the guide show what the engine does now, and can be read by everybody."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "guide" / "pictures"
PICTURES = sorted(FOLDER.glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def check(folder: Path) -> tuple[int, str]:
    """The exit code and the output of the script's check, in a process of its own."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(folder / "timelines.py"), "--check"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not finished.stderr
    return finished.returncode, finished.stdout


@pytest.mark.slow
def test_every_picture_is_as_it_would_be_drawn_now() -> None:
    assert check(FOLDER) == (0, "")


@pytest.mark.slow
def test_what_differs_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(FOLDER, folder)
    restart, ignore = folder / "restart.svg", folder / "ignore.svg"
    restart.write_text(
        restart.read_text("utf-8").replace("backing off 0.5 s", "backing off 0.6 s"), "utf-8"
    )
    ignore.unlink()
    (folder / "forgotten.svg").write_text("<svg/>")
    code, output = check(folder)
    assert code == 1
    assert re.search(r"(?m)^-<.*>backing off 0\.6 s<.*\n\+<.*>backing off 0\.5 s<", output)
    assert re.findall(r"^(\S+\.svg) ", output, re.MULTILINE) == [
        "forgotten.svg",
        "ignore.svg",
        "restart.svg",
    ]


@pytest.mark.slow
def test_an_engine_that_does_otherwise_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(FOLDER, folder)
    script = folder / "timelines.py"
    patch = "import horus_trio.policies\nhorus_trio.policies.CATCH_UP_BOUND = 1\n"
    patch += "import horus_trio.executor.mailbox\nhorus_trio.executor.mailbox.CATCH_UP_BOUND = 1\n"
    script.write_text(script.read_text().replace("import sys\n", f"import sys\n{patch}", 1))
    code, output = check(folder)
    assert code == 1
    assert re.findall(r"^(\S+\.svg) ", output, re.MULTILINE) == ["miss-catch-up.svg"]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_small_and_says_what_it_shows(picture: Path) -> None:
    assert picture.stat().st_size < 10_000
    root = ElementTree.fromstring(picture.read_text("utf-8"))
    assert root.get("role") == "img"
    names = (root.get("aria-labelledby") or "").split()
    found = {element.get("id"): element for element in root.iter()}
    title, description = (found[name] for name in names)
    assert title.tag == f"{SVG}title"
    assert description.tag == f"{SVG}desc"
    assert title.text
    assert (description.text or "").startswith("Node ")


def test_every_picture_is_on_the_page_with_words_for_those_who_listen() -> None:
    page = (ROOT / "docs" / "guide" / "failures.md").read_text()
    shown = re.findall(r"^!\[([^\]]+)\]\(pictures/([^)]+\.svg)\)$", page, re.MULTILINE)
    assert sorted(name for _, name in shown) == [picture.name for picture in PICTURES]
    for words, _ in shown:
        assert len(words) > 20
