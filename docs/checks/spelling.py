"""Every word of the pages and docstrings is one: run as a program, it prints those that are not.

A word is one if it is in the English dictionary of pyspellchecker, or in ``docs/words.txt``, where
the project's own words are, and British forms. What has capitals inside or digits, such as
``DriverNode`` or ``CAN``, is a name: those are in code, which the tests look after.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pages import PAGES, ROOT, prose
from spellchecker import SpellChecker

__all__ = ["docstrings", "misspelled", "unknown"]

WORDS = ROOT / "docs" / "words.txt"
"""The project's own words, one a line, in small letters."""

MODULES = sorted((ROOT / "horus_trio").rglob("*.py"))

WORD = re.compile(r"[^\W\d_]{2,}(?:['\N{RIGHT SINGLE QUOTATION MARK}](?:t|re|ve|ll|d|m)\b)?")

NAME = re.compile(r"[\d_]|\w[.@]\w")
"""In what is a name, whatever it consists of: of a file, of a machine, of a commit."""

NOT_PROSE = re.compile(
    r"""
      ``.+?``                            # code
    | :[\w:]+:`.+?` | `[^`]+?`_? | `     # references and names
    | https?://\S+
    | ^[ ]*(?:>>>|\.\.[ ]\w+::)[^\n]*    # sessions and directives
    | ^[ ]*\**\w+(?:,[ ]\**\w+)*:(?=\s)  # names of arguments
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)


@functools.cache
def dictionary() -> SpellChecker:
    """English, and the words of the project."""
    spelling = SpellChecker(distance=1)
    spelling.word_frequency.load_words(WORDS.read_text(encoding="utf-8").split())
    return spelling


def unknown(text: str) -> list[str]:
    """The words in a text that are none."""
    chunks = [chunk for chunk in text.split() if not NAME.search(chunk)]
    words = [
        word.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        for chunk in chunks
        for word in WORD.findall(chunk)
    ]
    plain = [word for word in words if word[1:].islower()]
    return [word for word in plain if word.lower() not in dictionary()]


def docstrings(module: Path) -> Iterator[tuple[int, str]]:
    """The prose of a module's docstrings, by its line."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, NOT_PROSE.sub(" ", _without_blocks(text))


def _without_blocks(text: str) -> str:
    """Without what is indented behind ``::``."""
    return re.sub(r"::\n\n((?:( +)\S.*\n)(?:\2.*\n|\n)*)", "\n", text)


def misspelled(file: Path) -> Iterator[str]:
    """What is wrong with a page or a module, a line for each word."""
    name = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
    for line, text in docstrings(file) if file.suffix == ".py" else prose(file):
        for word in unknown(text):
            nearest = dictionary().correction(word.lower())
            hint = f"; did you mean {nearest!r}?" if nearest not in (None, word.lower()) else ""
            yield f"{name}:{line}: {word!r} is in no dictionary{hint}"


def main() -> int:
    """How it ends."""
    found = [problem for file in (*PAGES, *MODULES) for problem in misspelled(file)]
    print(*found, sep="\n", end="\n" if found else "")
    if found:
        print("correct them, or put words that are right into docs/words.txt", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
