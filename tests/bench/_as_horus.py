"""Runs ``_rival_horus.py``, a program of HORUS's, on this engine's facade of HORUS."""

import runpy
from pathlib import Path

from horus_trio.bridges.horus import install

install()
runpy.run_path(str(Path(__file__).with_name("_rival_horus.py")), run_name="__main__")
