"""The pages of the project, taken apart as Markdown is: blocks of code, links, headings, prose.

`spelling` and `links` look at them when the documentation is built, the tests at every block.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin
from mdit_py_plugins.colon_fence import colon_fence_plugin

__all__ = ["PAGES", "ROOT", "Block", "Link", "anchors", "blocks", "links", "prose"]

ROOT = Path(__file__).resolve().parent.parent.parent

PAGES: list[Path] = sorted(
    page
    for page in [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *ROOT.glob("*.md"),
    ]
    if "_build" not in page.parts
)
"""All of them: those of `docs`, and those that are read where they lie."""


class Block(NamedTuple):
    """Something that is shown as code."""

    kind: str
    """The info string; ``"indented"`` for what is indented, ``"html"`` for HTML."""
    text: str
    line: int

    @property
    def included(self) -> str | None:
        """The file a ``literalinclude`` names."""
        kind, _, name = self.kind.partition(" ")
        return name if kind == "{literalinclude}" else None


class Link(NamedTuple):
    """Where a link or a picture leads."""

    target: str
    line: int


def tokens(page: Path) -> list[Token]:
    """What the page consists of."""
    return _tokens(page, page.stat().st_mtime_ns)


@functools.cache
def _tokens(page: Path, changed: int) -> list[Token]:
    markdown = MarkdownIt("commonmark").enable("table")
    markdown.use(colon_fence_plugin).use(anchors_plugin, max_level=6)
    return markdown.parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """The blocks of code, however they are written and whatever they are in."""
    found: list[Block] = []
    for token in tokens(page):
        line = 1 + (token.map or [0])[0]
        if token.type in ("fence", "colon_fence"):
            found.append(Block(token.info.strip(), token.content, line))
        elif token.type == "code_block":
            found.append(Block("indented", token.content, line))
        elif token.type == "html_block" or any(c.type == "html_inline" for c in children(token)):
            found.append(Block("html", token.content, line))
    return found


def links(page: Path) -> Iterator[Link]:
    """All links and pictures, but those in code."""
    for token in tokens(page):
        for child in children(token):
            target = child.attrGet("src" if child.type == "image" else "href")
            if child.type in ("link_open", "image"):
                yield Link(str(target), 1 + (token.map or [0])[0])


def anchors(page: Path) -> set[str]:
    """What ``#…`` may be behind the name of the page."""
    return {str(t.attrGet("id")) for t in tokens(page) if t.type == "heading_open"}


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """What is there to be read, by its line: no code, no addresses."""
    for token in tokens(page):
        text = ""
        for child in children(token):
            if child.type in ("text", "image"):
                text += child.content
            elif child.type in ("code_inline", "softbreak", "hardbreak"):
                text += " \N{MIDDLE DOT} " if child.type == "code_inline" else " "
        if text:
            yield 1 + (token.map or [0])[0], re.sub(r"https?://\S+", " ", text)


def children(token: Token) -> list[Token]:
    """What a line of text consists of."""
    return token.children or []
