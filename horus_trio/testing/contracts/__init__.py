"""Contracts for what users write: one call tries every rule, and names the first that is broken."""

from .contract import ContractBroken
from .driver import DriverLike, PeerLike, check_driver
from .node import check_node

__all__ = ["ContractBroken", "DriverLike", "PeerLike", "check_driver", "check_node"]
