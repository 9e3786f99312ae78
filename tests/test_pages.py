"""What `nox -s docs` looks for on pages: links that lead nowhere, and words that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from links import broken
from spelling import misspelled, unknown

LINKS = {
    "a page": "[a](missing.md)",
    "a folder above": "[a](../missing/)",
    "a heading": "[a](#missing)",
    "a heading of a page": "[a](other.md#missing)",
    "a picture": "![a](missing.svg)",
    "a reference": "[a][b]\n\n[b]: missing.md",
    "in a table": "| a |\n|---|\n| [a](missing.md) |",
    "in a list": "- one\n  - [a](missing.md)",
    "in bold": "**[a](missing.md)**",
    "an included file": "```{literalinclude} missing.py\n```",
    "not encrypted": "[a](http://trio.readthedocs.io)",
    "no host": "[a](https:///index.html)",
    "no address": "<https://[a>",
    "another scheme": "[a](ftp://example.org/a)",
    "a heading of a file": "[a](other.py#missing)",
}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "other.md").write_text("# Other\n\n## The `second` part\n\n## The second part\n")
    (tmp_path / "other.py").touch()
    return tmp_path / "page.md"


@pytest.mark.parametrize("text", LINKS.values(), ids=LINKS)
def test_a_link_that_leads_nowhere_is_noticed(text: str, page: Path) -> None:
    page.write_text(f"# Page\n\n{text}\n")
    assert len([*broken(page)]) == 1


def test_other_links_are_fine(page: Path) -> None:
    page.write_text(
        "# Page\n\n[a](other.md) [b](#page) [c](other.md#the-second-part) [d](other.py)\n"
        "[e](other.md#the-second-part-1) <https://trio.readthedocs.io/en/stable/>\n"
        "`[f](missing.md)`\n"
    )
    assert [*broken(page)] == []


@pytest.mark.parametrize(
    "text",
    [
        "The schedueler ticks.",
        "# The schedueler",
        "- The *schedueler* ticks.",
        "| a |\n|---|\n| the schedueler |",
        "[the schedueler](page.md)",
        "![the schedueler](page.md)",
        "> Schedueler!",
        "The schedueler's tick, `def schedueler`.",
        "An on-schedueler/tick",
    ],
)
def test_a_word_that_is_none_is_noticed(text: str, page: Path) -> None:
    page.write_text(f"{text}\n")
    (problem,) = misspelled(page)
    assert "chedueler' is in no dictionary" in problem


def test_a_suggestion_is_made(page: Path) -> None:
    page.write_text("It is occured.\n")
    (problem,) = misspelled(page)
    assert problem.endswith("page.md:1: 'occured' is in no dictionary; did you mean 'occurred'?")


def test_words_of_docstrings_are_looked_up_and_names_are_not(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""A schedueler of `schedueler` and ``schedueler``::\n\n    schedueler()\n"""\n'
        'def schedueler():\n    """It is `Schedueler.schedueler`.\n\n    Arguments:\n'
        '        schedueler: A number.\n\n    >>> schedueler()\n    """\n'
        'speed = 0\n"""What is true: of the wehicle, and its whels: all."""\n'
    )
    problems = [problem.partition(" is in")[0].rpartition("/")[2] for problem in misspelled(module)]
    assert problems == [
        "module.py:1: 'schedueler'",
        "module.py:14: 'wehicle'",
        "module.py:14: 'whels'",
    ]


def test_words_of_the_project_and_of_britain_are_known() -> None:
    assert (
        unknown("It doesn't initialise the timerfd, SIGTERM, DriverNode or x86_64's robot.py.")
        == []
    )
