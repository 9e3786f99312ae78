"""Nodes: what users write. The engine calls them; they know only their `Seat`."""

from .hooks import Hook, Hooks, find_hooks
from .node import AsyncNode, Node, gather_options
from .options import NodeOptions, OptionKeywords, resolve_options
from .seat import Engine, Seat

__all__ = [
    "AsyncNode",
    "Engine",
    "Hook",
    "Hooks",
    "Node",
    "NodeOptions",
    "OptionKeywords",
    "Seat",
    "find_hooks",
    "gather_options",
    "resolve_options",
]
