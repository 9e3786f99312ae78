"""The guide's program for HORUS, on HORUS's own package and on the facade."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from bridges.differential import ROOT, Both, Observed

ROVER = ROOT / "docs" / "guide" / "programs" / "as_horus" / "rover.py"

# HORUS's `async` node ticks for the first time when half a second is over, and then the rover may
# have stopped.
SAID = re.compile(
    r"^nearest obstacle: (-?\d\.\d) m\n"
    r"stopped for it: True\n"
    r"speeds that were reported: \[(?:0\.5, )?0\.0\]$",
    re.MULTILINE,
)


def nearest(observed: Observed) -> float:
    said = SAID.search(observed.out)
    assert said is not None, observed.out
    return float(said[1])


@pytest.mark.slow
def test_the_rover_runs_unchanged_on_both(on_both: Callable[[str], Both]) -> None:
    both = on_both(ROVER.read_text(encoding="utf-8"))
    assert both.original.code == both.facade.code == 0
    assert nearest(both.facade) == pytest.approx(nearest(both.original), abs=0.6)
