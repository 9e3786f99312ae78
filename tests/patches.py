"""Defects to plant: a small patch of one place of the sources, applied to a copy of them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGE", "PROJECT", "Patch", "copy_package", "find"]

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = "horus_trio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One defect.

    Attributes:
        breaks: What is no longer true.
        search: Text that occurs exactly once in the package's sources.
        replace: What is put in its place.
    """

    breaks: str
    search: str
    replace: str

    def apply(self, package: Path) -> None:
        """Plant it in a copy of the package.

        Raises:
            LookupError: Its text is there more than once, or not at all.
        """
        source = find(package, self.search)
        source.write_text(source.read_text().replace(self.search, self.replace))


def find(package: Path, search: str) -> Path:
    """The one source file that has the text once.

    Raises:
        LookupError: It is there more than once, or not at all.
    """
    found = {path: path.read_text().count(search) for path in sorted(package.rglob("*.py"))}
    total = sum(found.values())
    if total != 1:
        raise LookupError(f"its text occurs {total} times in {package.name}, expected once")
    return next(path for path, count in found.items() if count)


def copy_package(to: Path) -> Path:
    """Copy the package, and what is compiled of it: that is as new as its source."""
    # Not shutil: it takes ten times as long, and the interpreter's lock with it.
    subprocess.run(["cp", "-Rp", str(PROJECT / PACKAGE), str(to / PACKAGE)], check=True)
    return to / PACKAGE
