"""The two functions through which text from anywhere goes to a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from security.terminal import EVIL, HARMLESS, forged_lines, obeyed

from horus_trio.printable import entry, one_line

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@pytest.mark.parametrize("kind", EVIL)
def test_what_a_terminal_obeys_is_escaped(kind: str) -> None:
    for made in (one_line(EVIL[kind]), entry(EVIL[kind])):
        assert not obeyed(made)
        assert not forged_lines(f"x{made}")
        assert "forged" in made  # it is shown
    assert len(one_line(EVIL[kind]).splitlines()) == 1


@pytest.mark.parametrize("name", HARMLESS)
def test_letters_of_all_languages_stay(name: str) -> None:
    assert one_line(name) == entry(name) == name


def test_spaces_that_are_seen_stay() -> None:
    assert one_line("10\xa0000\u3000km") == "10\xa0000\u3000km"


def test_it_is_escaped_as_python_does() -> None:
    text = "\x1b[m\n\r\t\x9b\u202e\U000e0041\udc9b\0"
    assert one_line(text) == repr(text)[1:-1]


def test_further_lines_are_indented() -> None:
    assert entry("a\nb\n\nc\td\r\n") == "a\n    b\n\n    c\td\\r\n"
    assert entry("a\n  b\n      c") == "a\n      b\n          c"  # what stands below stays there
    assert entry("a\nb", indent="") == "a\nb"


@given(ANYTHING)
def test_nothing_gets_through(text: str) -> None:
    line, whole = one_line(text), entry(text)
    assert not obeyed(line)
    assert "\n" not in line
    assert not obeyed(whole.replace("\t", ""))
    assert all(row.startswith("    ") for row in whole.split("\n")[1:] if row)
    line.encode()
    whole.encode()


@given(ANYTHING)
def test_what_they_return_they_leave_alone(text: str) -> None:
    assert one_line(one_line(text)) == one_line(text)
    assert entry(entry(text)) == entry(text)


@given(ANYTHING.filter(str.isprintable))
def test_what_is_printable_they_leave_alone(text: str) -> None:
    assert one_line(text) == entry(text) == text
