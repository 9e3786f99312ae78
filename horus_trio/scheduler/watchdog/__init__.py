"""A thread that looks at the run from outside: what it does, it does while the loop is blocked."""

from .blocked import Stall
from .dump import make_dump
from .lookout import Lookout
from .stops import HELD_UP

__all__ = ["HELD_UP", "Lookout", "Stall", "make_dump"]
