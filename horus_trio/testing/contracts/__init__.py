"""Contracts for what users write: one call tries every rule, and names the first that is broken."""

from .contract import ContractBroken
from .driver import AblePeer, DriverLike, PeerLike, SpeakingPeer, check_driver
from .node import check_node
from .report import DriverReport, RuleNotTried, RuleTried

__all__ = [
    "AblePeer",
    "ContractBroken",
    "DriverLike",
    "DriverReport",
    "PeerLike",
    "RuleNotTried",
    "RuleTried",
    "SpeakingPeer",
    "check_driver",
    "check_node",
]
