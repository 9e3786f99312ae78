"""The follower of README and tutorial: it types what stands there, and stops where it should.

That the transcripts are of the pages as they stand is held here, too; following them for real
takes minutes, and is `nox -s first_hour`.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "first_hour"

_spec = importlib.util.spec_from_file_location("follow", FOLDER / "follow.py")
assert _spec is not None
assert _spec.loader is not None
follow = importlib.util.module_from_spec(_spec)
sys.modules["follow"] = follow
_spec.loader.exec_module(follow)

PAGE = """\
# A page

```sh
echo one
printf 'two %d\\n' 2
```

It prints:

```text
one
two   7
```

```python
>>> 1 + 1
2
```

```sh
cat
```
"""


def typed(text: str) -> list[follow.Typed]:  # type: ignore[name-defined]
    return list(follow.read("page.md", text))


def session(text: str, home: Path, wheel: str = "") -> follow.Session:  # type: ignore[name-defined]
    return follow.follow([typed(text)], home, home, wheel)


def test_the_commands_of_a_page_and_what_it_says_of_them() -> None:
    first, second = typed(PAGE)
    assert first.commands == ("echo one", "printf 'two %d\\n' 2")
    assert first.said == "one\ntwo   7\n"
    assert (second.commands, second.said) == (("cat",), None)


class TestFollowing:
    def test_numbers_and_columns_may_differ_and_input_is_empty(self, tmp_path: Path) -> None:
        followed = session(PAGE, tmp_path)
        assert not followed.trouble
        assert followed.lines == [
            "$ echo one",
            "one",
            "$ printf 'two %d\\n' 2",
            "two 2",
            "",
            "$ cat",
            "",
        ]

    def test_it_stops_at_another_output(self, tmp_path: Path) -> None:
        followed = session(PAGE.replace("echo one", "echo three"), tmp_path)
        assert followed.trouble == "page.md: it says something else:\none\ntwo   7\n"
        assert "$ cat" not in followed.lines

    def test_it_stops_at_a_command_that_fails(self, tmp_path: Path) -> None:
        followed = session(PAGE.replace("echo one", "ls nothing"), tmp_path)
        assert followed.trouble == "page.md: 'ls nothing' exits with 2"
        assert len(followed.lines) == 2

    def test_it_stops_when_the_shell_is_gone(self, tmp_path: Path) -> None:
        followed = session(PAGE.replace("echo one", "exit 0"), tmp_path)
        assert followed.trouble == "page.md: 'exit 0' exits with 1"

    def test_what_runs_in_the_background_goes_on_and_the_folder_stays(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        followed = session(
            "```sh\ncd folder\nsleep 0.2 && echo x > late &\nwait\ncat late\n```\n", tmp_path
        )
        assert followed.lines[-2:] == ["x", ""]

    def test_the_environment_is_bare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", "/nowhere")
        followed = session("```sh\necho ${PYTHONPATH-none}\necho $HOME\npwd\n```\n", tmp_path)
        assert followed.lines == [
            "$ echo ${PYTHONPATH-none}",
            "none",
            "$ echo $HOME",
            "/home/you",
            "$ pwd",
            "/home/you",
            "",
        ]

    def test_a_wheel_takes_the_place_of_the_clone(self, tmp_path: Path) -> None:
        page = "```sh\necho -e '.[serial,pytest]'\necho -e . && true\n```\n"
        assert (
            session(page, tmp_path, "../h.whl").lines[1::2]
            == [
                "../h.whl[serial,pytest]",
                "../h.whl",
                "",
            ][:2]
        )


def test_what_a_reader_sees(tmp_path: Path) -> None:
    drawn = f"\x1b[31mred\x1b[0m\n 10%\r100%\nin {tmp_path}/x  \n\n"
    assert follow.plain(drawn, tmp_path) == "red\n100%\nin /home/you/x"


@pytest.mark.parametrize("transcript", ["clone.txt", "wheel.txt"])
def test_a_transcript_is_of_the_pages_as_they_stand(transcript: str) -> None:
    commands = [
        command
        for page in follow.PAGES
        for block in follow.read(page, (ROOT / page).read_text())
        for command in block.commands
        if transcript == "clone.txt" or not follow.TESTS.search(command)
    ]
    if transcript == "wheel.txt":
        [built] = set(
            re.findall(r"\.\./horus_trio-[\w.-]+\.whl", (FOLDER / transcript).read_text())
        )
        commands = [follow.EDITABLE.sub(rf"'{built}\g<extras>'", command) for command in commands]
    lines = (FOLDER / transcript).read_text().splitlines()
    assert [line[2:] for line in lines if line.startswith("$ ")] == commands
