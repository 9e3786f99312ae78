"""Every link of the pages leads somewhere: run as a program, it prints those that do not.

What is in the project is looked for, with its heading. What is outside is not asked, as the check
is made without a network; it only has to be an address, and safe to follow.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pages import PAGES, ROOT, anchors, blocks, links

__all__ = ["broken"]


def broken(page: Path) -> Iterator[str]:
    """What is wrong with the links of a page, a line for each."""
    for target, line in links(page):
        problem = _problem(page, target)
        if problem:
            yield f"{_name(page)}:{line}: {target}: {problem}"
    for block in blocks(page):
        if block.included is not None and not (page.parent / block.included).is_file():
            yield f"{_name(page)}:{block.line}: {block.included}: there is no such file"


def _problem(page: Path, target: str) -> str | None:
    try:
        parts = urlsplit(target)
    except ValueError as error:
        return str(error)
    if parts.scheme or parts.netloc:
        if parts.scheme != "https":
            return "expected an address that begins with https:"
        host = parts.hostname or ""
        return None if "." in host.strip(".") else "expected the name of a host"
    there = page if not parts.path else page.parent / unquote(parts.path)
    if not there.exists():
        return "there is no such file"
    if not there.resolve().is_relative_to(ROOT) and page.is_relative_to(ROOT):
        return "it is outside the project"
    if parts.fragment:
        if there.suffix != ".md":
            return "only a page has headings"
        if unquote(parts.fragment) not in anchors(there):
            return "there is no such heading"
    return None


def _name(page: Path) -> Path:
    return page.relative_to(ROOT) if page.is_relative_to(ROOT) else page


def main() -> int:
    """How many links lead nowhere."""
    found = [problem for page in PAGES for problem in broken(page)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
