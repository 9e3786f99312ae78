"""Files as devices: a log that grows, a folder that things come into, an input that has edges."""

from .edge_input import Edge, EdgeInput
from .events import FileChange, FileEvent
from .position import TailPosition
from .tail import FileTail
from .watch import DirectoryWatch

__all__ = [
    "DirectoryWatch",
    "Edge",
    "EdgeInput",
    "FileChange",
    "FileEvent",
    "FileTail",
    "TailPosition",
]
